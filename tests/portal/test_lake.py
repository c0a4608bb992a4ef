"""The lake's pages in a real browser on a real server: tables, jobs over old rows, summary rules, deletions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.api.conftest import Served, open_served
from tests.e2e.server import until
from tests.portal.lakehouse import Opener, days_of_syslog, opener
from tocsin.access import system
from tocsin.ingest.decoders.body import frame_syslog
from tocsin.lake import Body
from tocsin.lake.settings import ArchiveSettings, LakeSettings, TableRetention
from tocsin.portal.files import PortalFiles

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive's folder."""
    return tmp_path_factory.mktemp("cold")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, cold: Path) -> Iterator[Served]:
    """A server that has forty days of Syslog, a hundred rows a day; the ten oldest days are in the archive."""
    lake = LakeSettings(compact_files=0, archive=ArchiveSettings(folder=str(cold), cache_bytes=0))
    for served in open_served(tmp_path_factory.mktemp("lake") / "data", start=True, lake=lake):
        served.app.mount("/", PortalFiles(), name="portal")
        days_of_syslog(served, days=40, each=100)
        served.workspace.lake.keep("Syslog", TableRetention(archive_days=30))
        served.workspace.lake.move_to_archive()
        served.workspace.lake.keep("Syslog", None)
        yield served


@pytest.fixture(scope="module")
def open_page(browser: Browser, house: Served) -> Iterator[Opener]:
    with opener(browser, house) as made:
        yield made


def test_tables_are_shown_and_accessible(open_page: Opener) -> None:
    portal = open_page("/tables?table=Syslog")
    page = portal.page
    page.wait_for_selector("text=Rows received by day, the last 30 days")
    row = page.locator("tbody tr").filter(has_text="Syslog").first
    expect(row).to_contain_text("3,000")
    expect(row).to_contain_text("Archive")
    expect(row).to_contain_text("90 days")
    portal.shot("tables-light")
    page.emulate_media(color_scheme="dark")
    portal.accessible()
    portal.shot("tables-dark")
    page.emulate_media(color_scheme="light")


def test_a_shorter_time_is_previewed_waits_and_is_put_back(open_page: Opener, house: Served) -> None:
    portal = open_page("/tables?table=Syslog")
    page = portal.page
    page.get_by_role("button", name="Change").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Save")).to_be_disabled()
    dialog.get_by_role("combobox", name="Rows stay").click()
    page.get_by_role("option", name="After days of its own").click()
    dialog.get_by_label("Days", exact=True).fill("0")
    expect(dialog.get_by_role("button", name="Preview")).to_be_disabled()
    dialog.get_by_label("Days", exact=True).fill("10")
    dialog.get_by_role("button", name="Preview").click()
    found = dialog.get_by_label("Preview")
    expect(found).to_contain_text("2,000 rows of Syslog are older than 10 days today")
    portal.shot("table-retention-light")
    portal.accessible()
    # What was previewed is what is saved: another number asks for another preview.
    dialog.get_by_label("Days", exact=True).fill("20")
    expect(dialog.get_by_role("button", name="Save")).to_be_disabled()
    dialog.get_by_label("Days", exact=True).fill("10")
    dialog.get_by_role("button", name="Save").click()
    page.wait_for_selector("text=10 days not in force yet")
    assert house.workspace.lake.retention.days_of("Syslog") == 10
    assert house.workspace.lake.book.shortened["Syslog"].days == 90
    page.get_by_role("button", name="Keep 90 days").click()
    page.wait_for_selector("text=Syslog keeps its rows as before")
    assert not house.workspace.lake.book.shortened
    page.get_by_role("button", name="Back to the settings").click()
    page.wait_for_selector("text=by the settings, for all tables")
    assert not house.workspace.lake.book.own


def day(ago: int) -> str:
    """The date of that many days ago."""
    return (datetime.now(UTC) - timedelta(days=ago)).strftime("%Y-%m-%d")


def editor_is_there(page: Page) -> None:
    """Waits for the form's editor, which is loaded when the form opens. Its box is drawn before the page listens to it."""
    page.wait_for_selector("[data-testid=editor] .view-line", state="attached")
    until(lambda: page.evaluate("Boolean(document.querySelector('[data-testid=editor]').editor)"), 60)


def write_kql(page: Page, text: str) -> None:
    """Puts a text into the form's editor, as its own history would."""
    editor_is_there(page)
    page.evaluate("text => document.querySelector('[data-testid=editor]').editor.setValue(text)", text)


def test_a_search_job_is_estimated_run_and_opened(open_page: Opener, house: Served, cold: Path) -> None:
    portal = open_page("/search-jobs", wait="text=No job yet")
    portal.allowed.add(422)
    page = portal.page
    page.get_by_role("button", name="New search job").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("Odd")
    dialog.get_by_label("First day (UTC)").fill(day(42))
    write_kql(page, "Syslog | summarize count()")
    dialog.get_by_role("button", name="Estimate").click()
    expect(dialog.get_by_role("alert")).to_contain_text("USE0034")
    expect(dialog.get_by_role("button", name="Start")).to_be_disabled()
    write_kql(page, "Syslog\n| where SyslogMessage has 'odd'")
    dialog.get_by_role("button", name="Estimate").click()
    found = dialog.get_by_label("Estimate", exact=True).and_(page.locator("section"))
    expect(found).to_contain_text("up to 3,000 rows")
    expect(found).to_contain_text("up to 1,000 rows")
    portal.shot("search-job-light")
    portal.accessible()
    dialog.get_by_role("button", name="Start").click()
    row = page.locator("tbody tr").filter(has_text="Odd_SRCH").first
    expect(row).to_contain_text("Done")
    expect(row).to_contain_text("400")
    portal.shot("search-jobs-light")

    # One object of the archive is gone: the job says so by name, and what to do.
    victim = cold / house.workspace.lake.archive.entries("Syslog")[0].key
    kept = victim.read_bytes()
    page.goto(f"{house.url}/search-jobs?new=restore&table=Syslog")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("First day (UTC)").fill(day(42))
    dialog.get_by_label("Last day (UTC)").fill(day(37))
    dialog.get_by_role("button", name="Estimate").click()
    dialog.get_by_text("files to be fetched").wait_for()
    victim.write_bytes(b"PAR1 nothing PAR1")
    dialog.get_by_role("button", name="Start").click()
    row = page.locator("tbody tr").filter(has_text="Syslog_RST").first
    expect(row).to_contain_text("Failed")
    expect(page.get_by_role("alert")).to_contain_text("LAK0031")
    page.emulate_media(color_scheme="dark")
    portal.accessible()
    page.emulate_media(color_scheme="light")
    victim.write_bytes(kept)
    page.get_by_role("button", name="Remove the rows of Syslog_RST").click()
    expect(row).to_contain_text("Rows removed")
    page.get_by_role("link", name="Open Odd_SRCH").click()
    page.wait_for_selector("[role=gridcell]")


def test_a_summary_rule_is_tried_saved_and_run(open_page: Opener, house: Served) -> None:
    portal = open_page("/summary-rules")
    portal.allowed.add(400)
    page = portal.page
    page.get_by_role("button", name="New summary rule").click()
    dialog = page.get_by_role("dialog")
    # The editor comes later than the form, and takes the keys from nobody who writes in it by then.
    dialog.get_by_label("Name").press_sequentially("Rows by")
    editor_is_there(page)
    page.keyboard.type(" host")
    expect(dialog.get_by_label("Name")).to_have_value("Rows by host")
    dialog.get_by_label("Table for its rows").fill("RowsByHost")
    expect(dialog.get_by_role("button", name="Save")).to_be_disabled()
    dialog.get_by_label("Table for its rows").fill("RowsByHost_CL")
    write_kql(page, "Syslog\n| summarise Rows = count() by Computer")
    dialog.get_by_role("button", name="Try it").click()
    dialog.get_by_text("Line 2, column").wait_for()
    write_kql(page, "Syslog\n| summarize Rows = count() by Computer")
    dialog.get_by_role("combobox", name="Each bin is").click()
    page.get_by_role("option", name="1 d").click()
    dialog.get_by_role("button", name="Try it").click()
    expect(dialog.get_by_label("Trial").get_by_role("figure")).to_contain_text("3 rows of")
    portal.shot("summary-rule-light")
    dialog.get_by_role("button", name="Save").click()
    page.wait_for_selector("text=Rows by host saved")
    made = next(r for r in house.workspace.summaries.rules() if r.name == "Rows by host")
    yesterday = datetime.now(UTC) - timedelta(days=1)
    house.workspace.summaries.rerun(made.id, yesterday, by=system("tester", "rules.write"))
    page.goto(f"{house.url}/summary-rules?rule={made.id}")
    panel = page.get_by_label("Chosen summary rule")
    panel.get_by_text("Run again by hand").wait_for()
    portal.shot("summary-rules-light")
    page.emulate_media(color_scheme="dark")
    portal.accessible()
    page.emulate_media(color_scheme="light")
    page.get_by_label("Rows by host on").click()
    page.wait_for_selector("text=Rows by host is off")
    panel.get_by_role("button", name="Edit").click()
    dialog.get_by_label("Wait after its end (minutes)").fill("30")
    dialog.get_by_role("button", name="Save").click()
    panel.get_by_text("30 min after it ended").wait_for()
    panel.get_by_role("button", name="Remove").click()
    panel.get_by_role("button", name="Remove it").click()
    page.wait_for_selector("text=Rows by host removed")


def test_rows_are_deleted_put_back_and_purged_after_approval(open_page: Opener, house: Served) -> None:
    portal = open_page("/tables?tab=deletions&table=Syslog")
    portal.allowed.add(400)
    page = portal.page
    page.get_by_role("textbox", name="Condition").fill("Nothing == 1")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing")
    page.get_by_role("textbox", name="Condition").fill("SyslogMessage has 'odd' and SyslogMessage has 'day 3'")
    page.get_by_role("button", name="Preview").click()
    found = page.get_by_label("Preview").and_(page.locator("section"))
    expect(found).to_contain_text("10 rows of Syslog")
    expect(found.get_by_role("figure")).to_contain_text("odd message")
    portal.shot("delete-rows-light")
    portal.accessible()
    found.get_by_role("button", name="Delete 10 rows").click()
    page.wait_for_selector("text=10 rows of Syslog deleted")
    deleted = page.get_by_label("Deleted rows", exact=True)
    expect(deleted.locator("tbody tr")).to_have_count(1)
    deleted.get_by_role("button", name="Put back").click()
    page.wait_for_selector("text=10 rows are back in Syslog")
    page.get_by_role("button", name="Preview").click()
    purge = found.get_by_role("button", name="Propose to purge 10 rows")
    expect(purge).to_be_disabled()
    found.get_by_label("Why").fill("A secret in clear text")
    found.get_by_label("Type Syslog to be sure").fill("Syslog")
    purge.click()
    page.get_by_role("button", name="Approve: Purge 10 rows of Syslog").click()
    page.get_by_role("dialog").get_by_role("button", name="Approve").click()
    page.wait_for_selector("text=Approved: Purge 10 rows of Syslog")
    trail = page.get_by_label("Audit trail")
    expect(trail).to_contain_text("purged 10 rows of Syslog")
    expect(trail).to_contain_text("put back 10 rows of Syslog")
    page.emulate_media(color_scheme="dark")
    portal.accessible()
    page.emulate_media(color_scheme="light")
    left = house.workspace.queries.run("Syslog | where SyslogMessage has 'odd' and SyslogMessage has 'day 3' | count")
    assert left.rows() == [[0]]


def test_a_source_in_depth_its_letters_and_its_transform(open_page: Opener, house: Served) -> None:
    intake, clock = house.workspace._intake, house.workspace.clock
    lines = [f"<34>1 2026-05-01T10:00:00Z web01 app 1 - - try {n}".encode() for n in range(20)]
    bodies = [Body("syslog", frame_syslog(lines), clock.now(), {"peer": "192.0.2.9"})]
    bodies += [Body("jsonl", b'{"broken": "' + x, clock.now(), {"token": "sender"}) for x in (b"one", b"two")]
    assert intake.wait_visible(intake.submit(bodies).result(60), 60)
    house.workspace.health.sources(clock.now())
    assert intake.wait_visible(intake.durable, 60)
    portal = open_page("/sources")
    page = portal.page
    card = page.get_by_label("192.0.2.9", exact=True)
    card.get_by_role("button", name="The last day").click()
    expect(card.get_by_role("figure")).to_contain_text("20 events, 0 errors")
    expect(page).to_have_url(re.compile("source=syslog"))
    page.emulate_media(color_scheme="dark")
    portal.accessible()
    page.emulate_media(color_scheme="light")

    # From what a source could not deliver to its letters, and one of them by its reason.
    page.get_by_label("sender", exact=True).get_by_role("link", name="dead letters of sender").click()
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="Replay these (2)").click()
    page.wait_for_selector("text=2 of them became dead letters again")
    expect(rows).to_have_count(2)
    search = page.get_by_label("Search in reasons and bytes")
    search.fill("nothing like it")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=No letter matches")
    page.get_by_role("button", name="Show all").click()
    expect(rows).to_have_count(2)

    by = system("tester", "sources.write")
    book = house.workspace.transforms
    form = {
        "name": "Quiet",
        "stream": "syslog",
        "flows": [{"transformKql": "source | where SyslogMessage has 'first'"}],
    }
    made = book.save({**form, "enabled": True, "on_error": "pass", "description": ""}, by=by)
    form["flows"] = [{"transformKql": "source | where SyslogMessage has 'second'"}]
    book.save({**form, "id": made["id"], "enabled": False, "on_error": "pass", "description": ""}, by=by)
    page.goto(f"{house.url}/sources?tab=transforms")
    page.get_by_role("button", name="Versions").click()
    versions = page.get_by_label("Versions of Quiet")
    expect(versions.locator("li")).to_have_count(2)
    versions.get_by_role("button", name="Put back version 1").click()
    page.wait_for_selector("text=Quiet is as in version 1")
    expect(versions.locator("li")).to_have_count(3)
    assert "first" in book.get(str(made["id"]))["flows"][0]["transformKql"]
    book.remove(str(made["id"]), by=by)


def test_a_reader_is_offered_nothing_that_would_be_refused(open_page: Opener, house: Served) -> None:
    portal = open_page("/tables?table=Syslog", role="reader")
    page = portal.page
    page.wait_for_selector("text=How long rows stay")
    expect(page.get_by_role("button", name="Change")).to_have_count(0)
    page.get_by_label("Filter tables").fill("zebra")
    page.wait_for_selector("text=No table matches")
    expect(page).to_have_url(re.compile("q=zebra"))
    page.get_by_label("Filter tables").fill("")
    expect(page.get_by_role("tab", name="Delete rows")).to_have_count(0)
    for path in ("/search-jobs", "/summary-rules", "/tables?tab=deletions"):
        page.goto(house.url + path)
        page.wait_for_selector("h1")
        page.wait_for_selector("table tbody tr, h2")
        for name in ("New search job", "Restore archived rows", "New summary rule", "Preview"):
            expect(page.get_by_role("button", name=name)).to_have_count(0)
    # Nothing sticks out of a narrow screen.
    portal = open_page("/tables?tab=deletions&table=Syslog")
    page = portal.page
    page.set_viewport_size({"width": 390, "height": 844})
    for path in ("/tables?tab=deletions", "/tables?table=Syslog", "/search-jobs", "/summary-rules", "/sources"):
        page.goto(house.url + path)
        page.wait_for_selector("main h1")
        page.wait_for_selector("main h2, main table tbody tr")
        page.wait_for_function(
            "document.querySelector('main').scrollWidth <= document.querySelector('main').clientWidth + 1"
        )
    page.set_viewport_size({"width": 1500, "height": 940})
