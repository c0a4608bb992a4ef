"""Entity pages in a browser, on a real workspace behind a real server: from an incident, from a query's row, and by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pyarrow as pa
import pytest
from playwright.sync_api import expect

from tests.api.conftest import PHRASE, Served, open_served
from tests.portal.conftest import PATIENCE, Watched, watch
from tocsin.detect.alert import Alert, Evidence
from tocsin.lake import TableBatch
from tocsin.portal import PortalFiles
from tocsin.tables import Entity

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.system

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


def at(minute: float) -> datetime:
    return (NOW + timedelta(minutes=minute)).replace(tzinfo=None)


def table(rows: list[dict[str, Any]]) -> pa.Table:
    columns = dict.fromkeys(c for r in rows for c in r)
    return pa.Table.from_pylist([{c: r.get(c) for c in columns} for r in rows])


LOGONS = [
    {
        "TimeGenerated": at(n), "DeviceName": "ws1.contoso.com", "ActionType": "LogonSuccess", "AccountDomain": "CONTOSO", "AccountName": "ann",
        "AccountSid": "S-1-5-21-1-2-3-1001", "LogonType": "RemoteInteractive", "RemoteDeviceName": "ws2", "RemoteIP": "10.0.0.7",
    }
    for n in range(3)
]  # fmt: skip
ROWS: dict[str, list[dict[str, Any]]] = {
    "DeviceLogonEvents": LOGONS,
    "DeviceInfo": [
        {"TimeGenerated": at(-60), "DeviceName": "ws1.contoso.com", "DeviceId": "d1", "OSPlatform": "Windows11", "MachineGroup": "Finance"}
    ],
    "DeviceNetworkInfo": [
        {"TimeGenerated": at(-10), "DeviceName": "ws1.contoso.com", "MacAddress": "00:11", "IPAddresses": '[{"IPAddress": "10.0.0.5"}]'}
    ],
    "DeviceProcessEvents": [
        {"TimeGenerated": at(5), "DeviceName": "ws1.contoso.com", "AccountDomain": "CONTOSO", "AccountName": "ann", "FileName": "tool.exe",
         "ProcessCommandLine": "tool.exe --dump", "ProcessId": 4312}
    ],
    "SigninLogs": [
        {"TimeGenerated": at(8), "UserPrincipalName": "ann@contoso.com", "UserId": "aad-1", "AppDisplayName": "Mail", "ResultType": "0",
         "IPAddress": "198.51.100.7", "Location": "DE"}
    ],
    "IdentityInfo": [
        {"TimeGenerated": at(-30), "AccountUpn": "ann@contoso.com", "OnPremSid": "S-1-5-21-1-2-3-1001", "AccountName": "ann",
         "AccountDomain": "CONTOSO", "AccountDisplayName": "Ann Example", "Department": "Finance", "AccountObjectId": "aad-1"}
    ],
}  # fmt: skip


def alert(name: str, minute: float, *entities: Entity | None) -> Alert:
    moment = NOW + timedelta(minutes=minute)
    row = {
        "TimeGenerated": moment.isoformat(),
        "DeviceName": "ws1.contoso.com",
        "AccountName": "ann",
        "AccountDomain": "CONTOSO",
    }
    return Alert(
        id=f"al_{name}", rule_id=name, rule=name, title=name, time=moment, end=moment, created=moment, severity="High", tactics=("Execution",),
        entities=tuple(e for e in entities if e), events=(Evidence("DeviceProcessEvents", row),),
    )  # fmt: skip


@pytest.fixture(scope="module")
def house(_built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    for served in open_served(tmp_path_factory.mktemp("data"), start=False):
        served.app.mount("/", PortalFiles(), name="portal")
        workspace = served.workspace
        batches = [
            TableBatch(name, table([{**r, "_TimeReceived": r["TimeGenerated"]} for r in rows]))
            for name, rows in ROWS.items()
        ]
        workspace.lake.write(batches)
        assert workspace.aliases.learn() > 0
        workspace.incidents.add(
            [
                alert("Program reads passwords", 5, Entity.host("ws1.contoso.com"), Entity.account("CONTOSO\\ann")),
                alert(
                    "Connection to a bad address",
                    9,
                    Entity("IP", {"Address": "10.0.0.5"}),
                    Entity("IP", {"Address": "198.51.100.9"}),
                ),
            ]
        )
        yield served


@pytest.fixture(scope="module")
def state(house: Served, browser: Browser) -> dict[str, Any]:
    """The responder, signed in once for the module."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(house.url)
    page.get_by_label("User name").fill("responder")
    page.locator("input[type=password]").fill(PHRASE)
    page.keyboard.press("Enter")
    page.wait_for_selector("h1 >> text=Incidents", timeout=PATIENCE)
    kept: Any = context.storage_state()
    context.close()
    return dict(kept)


@pytest.fixture
def portal(house: Served, browser: Browser, state: dict[str, Any]) -> Iterator[Watched]:
    context = browser.new_context(
        viewport={"width": 1500, "height": 940},
        reduced_motion="reduce",
        locale="en-GB",
        storage_state=state,  # type: ignore[arg-type]
    )
    watched = Watched(context.new_page(), house.url)
    watch(watched)
    yield watched
    context.close()
    watched.check()


def test_a_device_is_shown_with_all_that_is_known(portal: Watched) -> None:
    page = portal.open("/entities?type=Host&name=WS1", signed_in=False)
    expect(page.get_by_role("region", name="Facts")).to_contain_text("Windows11")
    known = page.get_by_role("region", name="Known as")
    expect(known).to_contain_text("10.0.0.5")
    expect(known).to_contain_text("DeviceNetworkInfo, confidence 1")
    timeline = page.get_by_role("region", name="Timeline")
    expect(timeline).to_contain_text("Started tool.exe")
    expect(timeline).to_contain_text("Logon of ann")
    expect(page.get_by_role("region", name="Incidents")).to_contain_text("2 alerts")
    # The alert that names only the address was joined because the address was the device's.
    page.get_by_role("tab", name=re.compile("^Alerts")).click()
    expect(timeline.get_by_role("link")).to_have_count(2)
    portal.accessible()
    portal.shot("entity-light")
    portal.dark()
    portal.accessible()
    portal.shot("entity-dark")


def test_pages_lead_to_pages_incidents_and_hunts(portal: Watched) -> None:
    page = portal.open("/entities?type=Host&name=ws1.contoso.com", signed_in=False)
    page.get_by_role("region", name="Related entities").get_by_role("link", name=re.compile("ann")).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("ann"))
    expect(page.get_by_role("region", name="Facts")).to_contain_text("Ann Example")
    expect(page.get_by_role("region", name="Timeline")).to_contain_text("Sign-in to Mail")
    portal.accessible()
    page.get_by_role("link", name="Devices that it reached, in order").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Advanced hunting")
    expect(page.get_by_role("grid", name="Query results")).to_contain_text("ws1.contoso.com")
    page.go_back()
    page.get_by_role("region", name="Incidents").get_by_role("link").first.click()
    expect(page).to_have_url(re.compile("/incidents/inc_"))


def test_an_entity_is_found_by_name_with_the_keyboard(portal: Watched) -> None:
    page = portal.open("/entities", signed_in=False)
    expect(page.get_by_text("Which one?")).to_be_visible()
    name = page.get_by_role("textbox", name="Name")
    name.focus()
    page.keyboard.type("nobody.example")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing tells of it")).to_be_visible()
    portal.accessible()


def test_incidents_alerts_and_rows_lead_to_the_page(portal: Watched, house: Served) -> None:
    (incident,) = house.workspace.incidents.page()["items"]
    page = portal.open(f"/incidents/{incident['id']}?tab=assets", signed_in=False)
    page.get_by_role("link", name="Page of ws1").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("ws1.contoso.com")
    query = quote("DeviceProcessEvents | take 1")
    page = portal.open(f"/hunting?query={query}&range=all&run=true", signed_in=False)
    page.get_by_role("grid", name="Query results").get_by_text("tool.exe").first.click()
    row = page.get_by_role("group", name="Entities in this row")
    row.get_by_role("link", name=re.compile("ws1.contoso.com")).click()
    expect(page.get_by_role("region", name="Timeline")).to_contain_text("Started tool.exe")
    page = portal.open(f"/incidents/{incident['id']}?tab=alerts&alert=al_Program reads passwords", signed_in=False)
    expect(page.get_by_role("link", name=re.compile("User .*ann: its page"))).to_be_visible()
