"""The lake's pages in a real browser on a real server: tables and how long rows stay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.api.conftest import Served, open_served
from tests.portal.lakehouse import Opener, days_of_syslog, opener
from tocsin.portal.files import PortalFiles

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that has forty days of Syslog, a hundred rows a day."""
    for served in open_served(tmp_path_factory.mktemp("lake") / "data", start=True):
        served.app.mount("/", PortalFiles(), name="portal")
        days_of_syslog(served, days=40, each=100)
        yield served


@pytest.fixture(scope="module")
def open_page(browser: Browser, house: Served) -> Iterator[Opener]:
    with opener(browser, house) as made:
        yield made


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_tables_are_shown_and_accessible(open_page: Opener, theme: str) -> None:
    portal = open_page("/tables?table=Syslog", theme=theme)
    page = portal.page
    page.wait_for_selector("text=Rows received by day, the last 30 days")
    row = page.locator("tbody tr").filter(has_text="Syslog").first
    expect(row).to_contain_text("4,000")
    expect(row).to_contain_text("90 days")
    portal.shot(f"tables-{theme}")
    portal.accessible()


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
    expect(found).to_contain_text("3,000 rows of Syslog are older than 10 days today")
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
    portal.accessible()
    page.get_by_role("button", name="Keep 90 days").click()
    page.wait_for_selector("text=Syslog keeps its rows as before")
    assert not house.workspace.lake.book.shortened
    page.get_by_role("button", name="Back to the settings").click()
    page.wait_for_selector("text=by the settings, for all tables")
    assert not house.workspace.lake.book.own


def test_a_reader_is_offered_nothing_that_would_be_refused(open_page: Opener) -> None:
    portal = open_page("/tables?table=Syslog", role="reader")
    page = portal.page
    page.wait_for_selector("text=How long rows stay")
    expect(page.get_by_role("button", name="Change")).to_have_count(0)
    page.get_by_label("Filter tables").fill("zebra")
    page.wait_for_selector("text=No table matches")
    assert "q=zebra" in page.url
    page.get_by_label("Filter tables").fill("")
    page.get_by_role("link", name="Newest rows").click()
    page.wait_for_selector("[role=gridcell]")
