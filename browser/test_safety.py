"""What pages keep from others: their tokens, their frames, foreign content in messages, ways out of Kith, secrets."""

import re

import pytest
from conftest import PASSWORD, Refused
from playwright.sync_api import expect

SENT = """async (headers) => (await fetch("/app/v1/companies", {method: "POST", headers: {"content-type": "application/json",
    "x-kith-workspace": document.body.dataset.workspace, ...headers}, body: '{"name": "A"}'})).status"""


def test_the_token_of_another_session_is_refused(ada, people):
    bob = people(name="Bob")
    again = ada.kith.call("POST", "/v1/auth/login", {"email": ada.email, "password": PASSWORD})["data"]["session_token"]
    token = lambda page: page.locator("body").get_attribute("data-csrf")
    ada.page.goto("/companies")
    bob.page.goto("/companies")
    context = ada.open(signed_in=False)
    context.context.add_cookies([{"name": "kith_session", "value": again, "url": ada.kith.base}])
    context.goto("/companies")
    assert token(ada.page) != token(context)
    for other in [token(bob.page), token(context), "", token(ada.page)[:-1]]:
        assert ada.page.evaluate(SENT, {"x-csrf-token": other}) == 403
    # It holds for the session, whatever the page.
    first = token(ada.page)
    ada.page.goto("/contacts")
    assert token(ada.page) == first
    assert ada.page.evaluate(SENT, {"x-csrf-token": first}) == 201


def test_a_foreign_origin_is_refused_by_all_that_writes(ada):
    ada.page.goto("/")
    token = ada.page.locator("body").get_attribute("data-csrf")
    for origin in ["https://evil.example", "null", ada.kith.base + ".evil.example"]:
        headers = {"origin": origin, "x-csrf-token": token, "x-kith-workspace": ada.workspace, "content-type": "application/json"}
        for path in ["/app/v1/contacts", "/app/place", "/app/v1/auth/logout", "/app/v1/keys?ws=" + ada.workspace, "/v1/workspaces"]:
            reply = ada.page.context.request.post(path, headers=headers, data="{}")
            assert 400 <= reply.status < 500, (origin, path, reply.status)
    assert ada.page.goto("/members").status == 200, "the session goes on"


@pytest.mark.parametrize("target", ["//evil.example", "/\\evil.example", "\\\\evil.example", "/%5Cevil.example", "/%2F/evil.example", "%2F%2Fevil.example", "https:evil.example", "/\t/evil.example", "/\n/evil.example", "javascript:alert(1)", "data:text/html,x", "///evil.example", "/.//evil.example", "https://evil.example@127.0.0.1/"])
def test_a_sign_in_leads_nowhere_else(ada, target):
    from urllib.parse import quote
    page = ada.open(signed_in=False)
    left = []
    page.route("**/*evil.example*/**", lambda route: (left.append(route.request.url), route.abort()))
    page.goto("/login?next=" + quote(target, safe="%"))
    page.get_by_label("E-mail address").fill(ada.email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).not_to_have_text("Sign in")
    assert page.url.startswith(ada.kith.base + "/") and not left, (page.url, left)


def test_a_message_can_do_nothing(ada):
    """Scripts, frames, forms, refreshes, bases and remote content of a message are left out, in whatever way they are written."""
    nasty = """
      <base href="https://evil.example/"><meta http-equiv="refresh" content="0;url=https://evil.example/refresh">
      <script>fetch("https://evil.example/script")</script><img src=x onerror="fetch('https://evil.example/onerror')">
      <svg><script>fetch("https://evil.example/svg")</script><image href="https://evil.example/i.png"/></svg>
      <link rel="stylesheet" href="https://evil.example/s.css"><style>@import "https://evil.example/import.css"; p { background: url(https://evil.example/bg.png) }</style>
      <p style="background-image: url('https://evil.example/inline.png')">Hello there</p>
      <iframe src="https://evil.example/frame"></iframe><object data="https://evil.example/object"></object><embed src="https://evil.example/embed">
      <form action="https://evil.example/form"><input name="password"><button>Send</button></form>
      <video poster="https://evil.example/poster.png"><source src="https://evil.example/v.mp4"></video><audio src="https://evil.example/a.mp3"></audio>
      <picture><source srcset="https://evil.example/set.png"><img srcset="https://evil.example/set2.png 1x"></picture><table background="https://evil.example/t.png"><tr><td>x</td></tr></table>
      <a href="javascript:alert(1)">one</a><a href="https://good.example/">two</a><input type="image" src="https://evil.example/input.png">"""
    email = ada.api("POST", "/v1/emails", {"direction": "inbound", "from_addr": "a@x.example", "to_addrs": ["b@x.example"], "subject": "Nasty", "body_html": nasty})["data"]["id"]
    page, asked = ada.page, []
    page.route("**/*evil.example/**", lambda route: (asked.append(route.request.url), route.abort()))
    page.goto(f"/emails/{email}")
    frame = page.frame_locator("iframe")
    expect(frame.get_by_text("Hello there")).to_be_visible()
    expect(frame.locator("script, form, input, button, object, embed, iframe, meta[http-equiv], link")).to_have_count(0)
    expect(frame.get_by_text("one")).not_to_have_attribute("href", re.compile("javascript"))
    expect(frame.get_by_text("two")).to_have_attribute("href", "https://good.example/")
    page.wait_for_load_state("networkidle")
    assert not asked and page.url.endswith(email)
    assert page.locator("iframe").get_attribute("sandbox") == "allow-popups allow-popups-to-escape-sandbox"
    answer = page.request.get(f"/app/mail/{email}")
    for directive in ["default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'self'", "sandbox "]:
        assert directive in answer.headers["content-security-policy"]
    assert "evil.example" not in answer.text()


def test_no_page_can_be_framed_or_kept(ada):
    for path in ["/", "/contacts", "/settings", "/api-keys", "/login", "/signup", "/claim/ws_1"]:
        headers = ada.page.request.get(path).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"], path
        for word in ["unsafe-inline", "unsafe-eval", "*", "http:"]:
            assert word not in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff", path
        if path not in ["/login", "/signup"]:
            assert "no-store" in headers["cache-control"], path


def test_no_secret_is_in_a_page(ada):
    made = ada.api("POST", "/v1/webhooks", {"url": "http://127.0.0.1:9/hook", "events": ["*"]})["data"]
    with pytest.raises(Refused):
        ada.api("GET", f"/v1/contacts/{ada.key}?q={ada.key}")
    for path in ["/", "/contacts", "/api-keys", "/settings", "/members", "/logs", "/webhooks", f"/webhooks/{made['id']}", "/sql"]:
        source = ada.page.request.get(path, headers={"accept": "text/html"}).text()
        for secret in [ada.key, ada.token, made["secret"], PASSWORD]:
            assert secret not in source, path
