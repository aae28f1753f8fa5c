"""The SQL console."""

from conftest import no_serious_fault
from playwright.sync_api import expect


def run(page, sql):
    page.get_by_label("SQL", exact=True).fill(sql)
    page.get_by_label("SQL", exact=True).press("Control+Enter")


def test_sql_runs_and_null_looks_unlike_the_empty_text(ada):
    page = ada.page
    page.goto("/sql")
    page.get_by_label("SQL").fill("select 1 as one, null as nothing, '' as empty, 'x' as one")
    page.get_by_role("button", name="Run").click()
    table = page.get_by_role("table", name="Result")
    expect(table.get_by_role("columnheader")).to_have_text(["oneinteger", "nothingtext", "emptytext", "one_2text"])
    expect(table.get_by_role("cell")).to_have_text(["1", "NULL", "", "x"])
    run(page, "select 2 as two")
    expect(table.get_by_role("cell")).to_have_text(["2"])
    page.get_by_role("button", name="History").click()
    page.get_by_role("button", name="select 1 as one").click()
    expect(page.get_by_label("SQL")).to_have_value("select 1 as one, null as nothing, '' as empty, 'x' as one")


def test_numbers_are_shown_digit_for_digit(ada):
    page = ada.page
    page.goto("/sql")
    run(page, """select 9007199254740993 as big, 1.50 as money, 12345678901234567890.12345678901234567890 as wide, 1e400::numeric::text as far,
        '{"2": 9007199254740993, "1": [1.50, 1e2, "a\\"b"]}'::jsonb as doc, array[9007199254740993, 2] as list, array[1.10, 2.00] as sums,
        7 as small, 0.1::float8 as half, null as nothing, '' as empty, true as yes, '{}'::jsonb as blank""")
    cells = page.get_by_role("table", name="Result").get_by_role("cell")
    expect(cells.nth(0)).to_have_text("9007199254740993")
    expect(cells.nth(1)).to_have_text("1.50")
    expect(cells.nth(2)).to_have_text("12345678901234567890.12345678901234567890")
    for part in ['"2"', "9007199254740993", "1.50", "100", 'a\\"b']:
        expect(cells.nth(4)).to_contain_text(part)
    expect(cells.nth(5)).to_contain_text("9007199254740993")
    expect(cells.nth(6)).to_contain_text("1.10")
    expect(cells.nth(6)).to_contain_text("2.00")
    expect(cells.nth(7)).to_have_text("7")
    expect(cells.nth(8)).to_have_text("0.1")
    expect(cells.nth(9)).to_have_text("NULL")
    expect(cells.nth(10)).to_have_text("")
    expect(cells.nth(11)).to_have_text("true")
    expect(cells.nth(12)).to_have_text("{}")
    ada.api("POST", "/v1/contacts", {"first_name": "Ingrid", "custom": {"n": 1}})
    page.get_by_label("Dry run").check()
    run(page, """update contacts set custom = '{"n": 9007199254740993}'""")
    expect(page.get_by_role("main")).to_contain_text("9007199254740993")
    expect(page.get_by_text("nothing was kept")).to_be_visible()


def test_an_error_names_its_place(ada):
    page = ada.page
    page.goto("/sql")
    run(page, "select id,\n  nope\nfrom contacts")
    expect(page.get_by_role("alert")).to_contain_text('column "nope" does not exist')
    expect(page.get_by_role("alert")).to_contain_text("Line 2, column 3")
    expect(page.get_by_role("alert")).to_contain_text("42703")


def test_a_cut_result_says_so(ada):
    page = ada.page
    page.goto("/sql")
    run(page, "select g from generate_series(1, 600) g")
    expect(page.get_by_text("The result is cut")).to_contain_text("500")
    expect(page.get_by_role("table", name="Result").get_by_role("row")).to_have_count(501)
    run(page, "select g from generate_series(1, 20000) g")
    expect(page.get_by_text("The result is cut")).to_contain_text("10,000")


def test_a_dry_run_keeps_nothing(ada):
    ada.api("POST", "/v1/contacts", {"first_name": "Ingrid"})
    page = ada.page
    page.goto("/sql")
    page.get_by_label("Dry run").check()
    run(page, "update contacts set title = 'Boss'")
    expect(page.get_by_text("nothing was kept")).to_contain_text("contacts: 1 updated")
    assert ada.api("GET", "/v1/contacts")["data"][0]["title"] is None
    page.get_by_label("Dry run").uncheck()
    run(page, "update contacts set title = 'Boss'")
    expect(page.get_by_text("UPDATE: 1 row.")).to_be_visible()
    expect(page.get_by_text("nothing was kept")).to_have_count(0)
    assert ada.api("GET", "/v1/contacts")["data"][0]["title"] == "Boss"


def test_the_history_is_a_persons_own_and_goes_when_they_log_out(ada, people):
    bob = people(name="Bob", workspace=None)
    invited = ada.kith.call("POST", "/v1/members/invite", {"workspace_id": ada.workspace, "email": bob.email, "role": "member"}, ada.token)["data"]
    ada.kith.call("POST", f"/v1/members/accept/{invited['token']}", {}, bob.token)
    page = ada.page
    history = lambda: page.evaluate("() => Object.values(localStorage).join()")

    def sign_in(person):
        page.context.add_cookies([{"name": "kith_session", "value": person.token, "url": ada.kith.base}])
        page.goto("/sql")

    page.goto("/sql")
    run(page, "select 'of Ada'")
    expect(page.get_by_role("table", name="Result")).to_be_visible()
    assert "of Ada" in history()
    # The same browser and workspace, another person, as after a session that ran out.
    sign_in(bob)
    page.get_by_role("button", name="History").click()
    expect(page.get_by_text("Nothing yet.")).to_be_visible()
    sign_in(ada)
    page.get_by_role("button", name="History").click()
    expect(page.get_by_role("button", name="select 'of Ada'")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Account").click()
    page.get_by_role("menuitem", name="Log out").click()
    page.wait_for_url("**/login")
    assert "of Ada" not in history()


def test_the_console_is_accessible(ada):
    for scheme in ["light", "dark"]:
        page = ada.open(color_scheme=scheme)
        page.goto("/sql")
        run(page, "select null as nothing, id from pipelines")
        expect(page.get_by_role("table", name="Result")).to_be_visible()
        no_serious_fault(page)


def test_a_statement_that_is_sent_while_another_runs_follows_it(ada):
    page = ada.page
    page.goto("/sql")
    page.get_by_label("SQL").fill("select pg_sleep(1), 1 as one")
    page.get_by_label("SQL").press("Control+Enter")
    expect(page.get_by_text("Running…")).to_be_visible()
    page.get_by_label("SQL").fill("select 2 as two")
    page.get_by_label("SQL").press("Control+Enter")
    expect(page.get_by_text("The next statement follows")).to_be_visible()
    expect(page.get_by_role("table", name="Result").get_by_role("columnheader", name="two")).to_be_visible()
