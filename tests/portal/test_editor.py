"""The query editor: names from Microsoft's worker, everything else from the server's language service; and changes that came too late."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from playwright.sync_api import TimeoutError as Late
from playwright.sync_api import expect

from tests.portal.conftest import Server, Watched

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.system

EDITOR = "document.querySelector('[data-testid=editor]').editor"


def editor(portal: Watched, text: str = "") -> Page:
    """The hunting page with that text, its schema loaded, the cursor at the end."""
    page = portal.open("/hunting")
    page.wait_for_selector("[data-testid=editor][data-schema]", state="attached")
    page.locator(".monaco-editor .view-lines").click()
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    if text:
        page.keyboard.insert_text(text)
    return page


def suggestions(page: Page, wanted: str) -> list[str]:
    """Labels that the open list shows, once it shows that one."""
    page.wait_for_selector(f".suggest-widget.visible .monaco-list-row[aria-label^='{wanted}']")
    page.wait_for_timeout(300)
    return [str(row.get_attribute("aria-label")) for row in page.locator(".suggest-widget .monaco-list-row").all()]


def value(page: Page) -> str:
    """The editor's text."""
    return str(page.evaluate(f"{EDITOR}.getValue()"))


def marked(page: Page) -> list[dict[str, Any]]:
    """What is marked, once anything is: at one look, since Microsoft's worker takes the marks off again and again and they are put back. Asks the
    editor's model, at intervals: the page's frames may come late on a busy machine."""
    asked: list[str] = []
    page.on("response", lambda r: asked.append(f"{r.status} {r.url}") if "/api/" in r.url else None)
    try:
        found = page.wait_for_function(
            f"""() => {{ const model = {EDITOR}.getModel();
                const found = model.getAllDecorations().filter(d => /squiggly/.test(d.options.className ?? ''));
                return found.length && found.map(d => ({{ kind: d.options.className, text: model.getValueInRange(d.range) }})) }}""",
            polling=100,
        )
    except Late as late:
        shown = page.evaluate("document.body.innerText")
        raise AssertionError(
            f"Nothing is marked in {value(page)!r}; answers {asked}; the page says:\n{shown}"
        ) from late
    return list(found.json_value())


def test_a_custom_table_and_its_columns_are_completed_once(portal: Watched) -> None:
    page = editor(portal)
    page.keyboard.type("Firew", delay=40)
    assert [s for s in suggestions(page, "Firewall_CL") if s.startswith("Firewall_CL")] == ["Firewall_CL"]
    portal.shot("hunting-completion-custom-light")
    page.keyboard.press("Escape")
    page.keyboard.insert_text("all_CL\n| where ")
    page.keyboard.type("Zon", delay=40)
    assert [s for s in suggestions(page, "Zone_s") if s.startswith("Zone_s")] == ["Zone_s"]


def test_watchlists_are_completed_in_quotes(portal: Watched) -> None:
    page = editor(portal, "DeviceInfo\n| where DeviceName in ((_GetWatchlist(")
    page.keyboard.type("'V", delay=60)
    page.wait_for_selector(".suggest-widget.visible .monaco-list-row >> text=VIPs")
    portal.shot("hunting-completion-watchlist-light")
    page.keyboard.press("Enter")
    page.wait_for_function(f'() => {EDITOR}.getValue().includes("_GetWatchlist(\'VIPs")')


def test_the_servers_findings_are_the_only_ones_and_bring_their_fix(portal: Watched) -> None:
    page = editor(
        portal, "// the second query is wrong\nprint 1\n\nFirewall_CL\n| extend Icon = '😀', n = strlenn(Zone_s)"
    )
    marked(page)
    page.wait_for_timeout(1200)  # Microsoft's worker has had its say by now
    assert marked(page) == [{"kind": "squiggly-error", "text": "strlenn"}]
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(1200)  # it judges again at each move of the cursor
    assert marked(page) == [{"kind": "squiggly-error", "text": "strlenn"}]
    page.evaluate(f"{EDITOR}.setPosition({{ lineNumber: 5, column: 30 }})")
    page.keyboard.press("F8")
    page.wait_for_selector("text=There is no function named 'strlenn' here. Did you mean 'strlen'?")
    portal.shot("hunting-finding-light")
    page.keyboard.press("Escape")
    page.evaluate(f"{EDITOR}.setPosition({{ lineNumber: 5, column: 30 }})")
    page.keyboard.press("Control+.")
    page.wait_for_selector("text=Write strlen")
    portal.shot("hunting-fix-light")
    page.keyboard.press("Enter")
    page.wait_for_selector(".squiggly-error", state="detached")
    assert value(page).endswith("n = strlen(Zone_s)")


def test_where_microsofts_service_fails_the_servers_fix_is_offered_and_nothing_is_an_error(portal: Watched) -> None:
    """It does where the cursor is in no block of the text that it has by then."""
    failing: list[int] = []

    def fails(route: Route) -> None:
        answer = route.fetch()
        made, times = re.subn(
            r"(getResultActions\(\w+,\w+,\w+\)\{)", r"\1throw new TypeError('no block');", answer.text()
        )
        failing.append(times)
        route.fulfill(response=answer, body=made)

    portal.page.route("**/assets/kusto.worker*.js", fails)
    said: list[str] = []
    portal.page.on("console", lambda message: said.append(message.text))
    page = editor(portal, "print strlenn('x')")
    marked(page)
    page.keyboard.press("Home")
    page.evaluate(f"{EDITOR}.setPosition({{ lineNumber: 1, column: 9 }})")
    page.keyboard.press("Control+.")
    page.wait_for_selector("text=Write strlen")
    assert sum(failing), "the worker is written otherwise now"
    assert any("offers no fix" in s for s in said), said


def test_what_policy_refuses_is_marked_though_microsofts_language_knows_it(portal: Watched) -> None:
    page = editor(portal, "cluster('a').database('b').T\n| take 1")
    assert [m["kind"] for m in marked(page)] == ["squiggly-error"]


def test_hover_tells_what_our_engine_knows(portal: Watched) -> None:
    page = editor(portal, "Firewall_CL\n| where Zone_s startswith 'dmz'\n| extend Day = startofday(TimeGenerated)")
    page.locator(".view-line span", has_text="startofday").last.hover()
    page.wait_for_selector(".monaco-hover:visible >> text=startofday(")
    expect(page.locator(".monaco-hover:visible")).to_have_count(1)
    assert "startofday" in page.locator(".monaco-hover:visible").inner_text()
    portal.shot("hunting-hover-light")


def test_the_signature_of_the_call_is_shown(portal: Watched) -> None:
    page = editor(portal, "Firewall_CL\n| extend n = substring")
    page.keyboard.type("(Zone_s, ", delay=40)
    page.wait_for_selector(".parameter-hints-widget.visible >> text=substring")
    assert "start" in page.locator(".parameter-hints-widget .parameter.active").inner_text()


def test_format_lays_out_each_query_and_says_what_it_cannot(portal: Watched) -> None:
    portal.allowed.add(400)
    page = editor(portal, "Firewall_CL|where Zone_s=='dmz'|take 5\n\n// kept\nDeviceInfo|count")
    page.get_by_role("button", name="Format").click()
    deadline = time.monotonic() + 90
    while "| take 5" not in value(page) and time.monotonic() < deadline:
        page.wait_for_timeout(100)
    assert value(page) == "Firewall_CL\n| where Zone_s == 'dmz'\n| take 5\n\n// kept\nDeviceInfo\n| count"
    page.locator(".monaco-editor .view-lines").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text("Firewall_CL | wher x")
    page.get_by_role("button", name="Format").click()
    page.wait_for_selector("text=The query can't be laid out")
    assert value(page) == "Firewall_CL | wher x"


def test_an_incident_that_somebody_decided_meanwhile_is_not_overwritten(portal: Watched, server: Server) -> None:
    portal.allowed.add(409)
    page = portal.open("/incidents/inc-7f3a9c21")
    page.get_by_role("button", name="Resolve", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("True positive").click()
    dialog.get_by_role("combobox").click()
    page.get_by_role("option").first.click()
    dialog.get_by_label("Note").fill("It was the printer.")
    found = server.world.incidents["inc-7f3a9c21"]
    seen = found["version"]
    found.update(classification="FalsePositive", determination="Clean", owner="r.haddad", version=seen + 1)
    # The page behind the dialog asks again: what was seen at its opening is still what counts, and what became of it is told.
    dialog.get_by_text("It was classified as False positive, Not malicious. r.haddad has it now.").wait_for()
    dialog.get_by_role("button", name="Resolve").click()
    page.wait_for_selector("text=was changed by somebody else meanwhile")
    assert server.world.patched[-1]["version"] == seen
    assert found["status"] != "Resolved"
    portal.accessible()
    portal.shot("incident-conflict-light")
    dialog.get_by_role("button", name="Reload").click()
    page.wait_for_selector("text=was changed by somebody else meanwhile", state="detached")
    found["version"] += 1  # that it grew once more is no conflict
    dialog.get_by_role("button", name="Resolve").click()
    page.wait_for_selector("text=Incident resolved")
    assert (found["status"], found["owner"], found["classification"]) == ("Resolved", "r.haddad", "TruePositive")
    assert found["activity"][-1]["text"] == "It was the printer."


def test_tags_add_up_whoever_else_works_on_the_incident(portal: Watched, server: Server) -> None:
    page = portal.open("/incidents/inc-7f3a9c21")
    server.world.incidents["inc-7f3a9c21"]["version"] += 1
    page.get_by_role("button", name="Add a tag").click()
    page.get_by_label("New tag").fill("mine")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Tagged mine")


def test_an_incident_that_only_grew_meanwhile_is_assigned_all_the_same(portal: Watched, server: Server) -> None:
    portal.allowed.add(409)  # the first attempt
    found = server.world.incidents["inc-7f3a9c21"]
    found["owner"] = None
    page = portal.open("/incidents/inc-7f3a9c21")
    page.get_by_role("button", name="Assign", exact=True).click()
    found["version"] += 1
    page.get_by_role("menuitem", name="Assign to me").click()
    page.wait_for_selector("text=Assigned to")
    assert found["owner"] == "admin"


def test_a_late_assignment_offers_to_reload(portal: Watched, server: Server) -> None:
    portal.allowed.add(409)
    server.world.incidents["inc-7f3a9c21"]["owner"] = None
    page = portal.open("/incidents/inc-7f3a9c21")
    page.get_by_role("button", name="Assign", exact=True).click()
    server.world.incidents["inc-7f3a9c21"].update(
        owner="r.haddad", version=server.world.incidents["inc-7f3a9c21"]["version"] + 1
    )
    page.get_by_role("menuitem", name="Assign to me").click()
    page.wait_for_selector("text=was changed by somebody else meanwhile")
    page.get_by_text("Reload", exact=True).click()
    page.get_by_role("button", name="Assigned to r.haddad").click()
    page.get_by_role("menuitem", name="Assign to me").click()
    page.wait_for_selector("text=Assigned to")


def test_a_link_opens_a_query_whose_run_tells_places_in_utf16(portal: Watched) -> None:
    portal.allowed.add(400)
    page = portal.open("/hunting?range=all&run=true&query=" + quote("DeviceProcessEvents\n| where Nope == 1"))
    page.wait_for_selector("[data-testid=editor][data-schema]", state="attached")
    assert [m["text"] for m in marked(page)] == ["Nope"]
