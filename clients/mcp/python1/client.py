"""Calls a running Kith with the first generation of the official Python client, which shakes hands, with a key of each dialect."""

import asyncio
import json
import os

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

BASE = os.environ["KITH_BASE"]


async def use(dialect: str, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    async with streamablehttp_client(f"{BASE}/mcp", headers=headers) as (read, write, _), ClientSession(read, write) as session:
        hello = await session.initialize()
        assert hello.protocolVersion == "2025-11-25" and hello.serverInfo.name == "kith", hello
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        assert tools["get_contact"].annotations.readOnlyHint is True

        async def call(name: str, progress=None, **arguments):
            result = await session.call_tool(name, arguments, progress_callback=progress)
            assert json.loads(result.content[0].text) == result.structuredContent, result
            return result

        email = f"first@{dialect}.example"
        made = (await call("create_contact", email=email)).structuredContent
        assert made["outcome"] == "Created 1 contact.", made
        told = []

        async def tell(progress, total, message):
            told.append((progress, total, message))

        operations = [{"method": "GET", "path": f"/v1/contacts/{made['id']}"}] * 4
        batch = (await call("batch", progress=tell, operations=operations)).structuredContent
        assert [answer["body"]["email"] for answer in batch["data"]] == [email] * 4, batch
        assert told and told == sorted(told) and all(total == 4 for _, total, _ in told), told
        assert (await call("query_sql", sql="select 7 as n")).structuredContent["rows"] == [{"n": 7}]
        resources = {it.uri: it for it in (await session.list_resources()).resources}
        schema = await session.read_resource(next(iter(resources)))
        assert "contacts" in schema.contents[0].text
        prompt = await session.get_prompt("prepare_meeting", {"contact": email})
        assert email in prompt.messages[0].content.text
        refused = await call("create_contact", email=email)
        assert refused.isError and made["id"] in refused.content[0].text, refused


async def main() -> None:
    for dialect in ["agentcrm", "relm"]:
        await use(dialect, os.environ[f"KITH_KEY_{dialect.upper()}"])


asyncio.run(main())
