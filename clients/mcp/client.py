"""Calls a running Kith with the official Python client, in the old and the new way of the protocol, with a key of each dialect."""

import asyncio
import json
import os

from mcp import Client
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client
from mcp_types import ElicitResult

BASE = os.environ["KITH_BASE"]
VERSIONS = {"legacy": "2025-11-25", "auto": "2026-07-28", "2026-07-28": "2026-07-28"}


async def use(mode: str, dialect: str, key: str) -> None:
    http = create_mcp_http_client(headers={"Authorization": f"Bearer {key}"})
    async with http, Client(streamable_http_client(f"{BASE}/mcp", http_client=http), mode=mode) as client:
        assert client.protocol_version == VERSIONS[mode], client.protocol_version
        # A client that is told the version asks for nothing before its first call.
        assert mode == client.protocol_version or "search" in client.instructions, client.instructions
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert {"create_contact", "get_contact", "search", "query_sql"} <= tools.keys(), tools.keys()
        assert tools["get_contact"].annotations.read_only_hint is True

        async def call(name: str, **arguments):
            result = await client.call_tool(name, arguments)
            # The client has checked the object against the output schema.
            assert json.loads(result.content[0].text) == result.structured_content, result
            return result

        email = f"{mode}@{dialect}.example"
        made = (await call("create_contact", email=email, first_name="Ada")).structured_content
        assert made["outcome"] == "Created 1 contact.", made
        got = (await call("get_contact", id=made["id"])).structured_content
        assert got["email"] == email and got["activities"] == [], got
        listed = (await call("list_contacts", email=email)).structured_content
        assert [row["id"] for row in listed["data"]] == [made["id"]], listed
        counted = (await call("query_sql", sql="select count(*)::int as n from contacts where email = $1", params=[email])).structured_content
        assert counted["rows"] == [{"n": 1}], counted
        told = []

        async def tell(progress, total, message):
            told.append((progress, total))

        operations = [{"method": "GET", "path": f"/v1/contacts/{made['id']}"}] * 4
        batch = await client.call_tool("batch", {"operations": operations}, progress_callback=tell)
        assert len(batch.structured_content["data"]) == 4, batch
        assert told and told == sorted(told) and all(total == 4 for _, total in told), told
        await call("search", query=email)
        await call("describe_schema")
        refused = await call("create_contact", email=email)
        assert refused.is_error and made["id"] in refused.content[0].text, refused
        refused = await call("get_contact", id=made["id"], respose_format="detailed")
        assert refused.is_error and "response_format" in refused.content[0].text, refused


async def remove(mode: str, dialect: str, key: str) -> None:
    """Removes a contact for good. A client of the new way asks the person, who agrees; one of the old way can't."""
    asked = []

    async def agree(_context, question):
        asked.append(question.message)
        return ElicitResult(action="accept", content={"confirm": True})

    http = create_mcp_http_client(headers={"Authorization": f"Bearer {key}"})
    transport = streamable_http_client(f"{BASE}/mcp", http_client=http)
    async with http, Client(transport, mode=mode, elicitation_callback=agree) as client:
        email = f"gone-{mode}@{dialect}.example"
        made = (await client.call_tool("create_contact", {"email": email})).structured_content
        hard = {"table": "contacts", "id": made["id"], "hard": True}
        removed = await client.call_tool("delete_record", hard)
        if mode == "legacy":
            assert removed.is_error and "confirmation_required" in removed.content[0].text and not asked, removed
            removed = await client.call_tool("delete_record", hard | {"confirm": True})
        else:
            assert len(asked) == 1 and email in asked[0], asked
        assert removed.structured_content["outcome"] == f'Removed 1 contact "{email}" for good.', removed


async def main() -> None:
    for dialect in ["agentcrm", "relm"]:
        for mode in VERSIONS:
            key = os.environ[f"KITH_KEY_{dialect.upper()}"]
            await use(mode, dialect, key)
            await remove(mode, dialect, key)


asyncio.run(main())
