"""The pages of rules, coverage, watchlists and anomalies in a browser, on a real workspace behind a real server.

One server for the module: rows in its lake, alerts of real runs, anomalies of a real baseline. Tests don't depend on what others changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pyarrow as pa
import pytest
from playwright.sync_api import expect

from tests.api.conftest import PHRASE, Served, open_served
from tests.incidents.test_correlate import alert
from tests.incidents.test_stix import ACTOR, ONE, bundle, report
from tests.portal.conftest import PATIENCE, Watched, watch
from tocsin.detect.alert import Alert, iso
from tocsin.lake import TableBatch
from tocsin.portal import PortalFiles
from tocsin.state import LedgerRow
from tocsin.tables import Entity

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.system

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
RULE = {
    "name": "Failed sign-ins on watched hosts",
    "description": "Somebody fails to sign in on a host of the list.",
    "query": "SecurityEvent | where EventID == 4625 | join kind=inner (_GetWatchlist('Watched')) on $left.Computer == $right.SearchKey "
    "| project TimeGenerated, Computer, TargetUserName, Note",
    "tactics": ["CredentialAccess"],
    "techniques": ["T1110"],
    "frequency": "1h",
    "period": "1h",
    "entity_mappings": [{"type": "Account", "fields": [{"identifier": "Name", "column": "TargetUserName"}]}],
}


def stamps(times: list[datetime]) -> pa.Array:
    return pa.array([t.replace(tzinfo=None) for t in times], pa.timestamp("us"))


def fill(served: Served) -> None:
    """Sign-ins that fail for some hours, and a month of sign-ins of which the last is unusual."""
    times = [NOW - timedelta(minutes=20 * n) for n in range(1, 13)]
    failed = pa.table(
        {
            "TimeGenerated": stamps(times),
            "_TimeReceived": stamps(times),
            "Computer": [f"host{n % 3}" for n in range(12)],
            "TargetUserName": ["ann" if n % 2 else "svc_scan" for n in range(12)],
            "EventID": pa.array([4625] * 12, pa.int32()),
        }
    )
    people = [f"{name}@contoso.com" for name in ("ann", "bob", "eve", "joe")]
    history = [(NOW - timedelta(days=n // 4 + 1, hours=n % 4), who, "DE") for n in range(40) for who in people]
    history += [
        (NOW - timedelta(minutes=90), people[0], "KP"),
        (NOW - timedelta(minutes=80), "new@contoso.com", "KP"),
    ]
    signed = pa.table(
        {
            "TimeGenerated": stamps([t for t, _, _ in history]),
            "_TimeReceived": stamps([t for t, _, _ in history]),
            "UserPrincipalName": [u for _, u, _ in history],
            "Location": [c for _, _, c in history],
            "ResultType": ["0"] * len(history),
            "AADTenantId": ["t"] * len(history),
        }
    )
    served.workspace.lake.write([TableBatch("SecurityEvent", failed), TableBatch("SigninLogs", signed)])


@pytest.fixture(scope="module")
def house(_built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    for served in open_served(tmp_path_factory.mktemp("data"), start=False):
        served.app.mount("/", PortalFiles(), name="portal")
        intake = served.workspace._intake
        intake.start()
        try:
            fill(served)
            # The next windows are those before the last full hour: over, however late in the hour it is.
            with served.workspace.state.write() as unit:
                for anomaly in served.workspace.anomalies.known():
                    unit.rules.succeeded(anomaly.id, NOW - timedelta(hours=2))
            assert served.workspace.anomalies.run_due() > 0
            assert intake.wait_visible(intake.durable, 60)
            yield served
        finally:
            intake.stop()


@pytest.fixture(scope="module")
def client(house: Served) -> Iterator[httpx.Client]:
    with house.client("contributor") as made:
        yield made


@pytest.fixture(scope="module")
def rule(client: httpx.Client) -> str:
    made = client.put(
        "/api/v1/watchlists/Watched", json={"csv": "Host,Note\nhost0,db\nhost1,web\n", "search_key": "Host"}
    )
    assert made.status_code == 200, made.text
    rule_id = str(client.post("/api/v1/rules", json=RULE).json()["id"])
    span = {"first": (NOW - timedelta(hours=6)).isoformat(), "last": NOW.isoformat()}
    ran = client.post(f"/api/v1/rules/{rule_id}/runs", json=span)
    assert len(ran.json()["alerts"]) > 2, ran.text
    return rule_id


@pytest.fixture(scope="module")
def state(house: Served, browser: Browser) -> dict[str, Any]:
    """The contributor, signed in once for the module."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(house.url)
    page.get_by_label("User name").fill("contributor")
    page.locator("input[type=password]").fill(PHRASE)
    page.keyboard.press("Enter")
    page.wait_for_selector("h1 >> text=Incidents", timeout=PATIENCE)
    kept: Any = context.storage_state()
    context.close()
    return dict(kept)


@pytest.fixture
def portal(house: Served, browser: Browser, state: dict[str, Any]) -> Iterator[Watched]:
    given: Any = state
    context = browser.new_context(
        viewport={"width": 1500, "height": 940}, reduced_motion="reduce", locale="en-GB", storage_state=given
    )
    context.set_default_timeout(PATIENCE)
    watched = Watched(context.new_page(), house.url)
    watch(watched)
    yield watched
    context.close()
    watched.check()


def test_a_rule_s_page_tells_noise_simulation_and_tests(
    portal: Watched, house: Served, client: httpx.Client, rule: str
) -> None:
    page = portal.open(f"/rules/{rule}", signed_in=False)
    page.get_by_role("heading", name=RULE["name"]).wait_for()
    page.get_by_text("Within its budget").wait_for()
    page.get_by_role("button", name="Change the budget").click()
    page.get_by_label("Alerts a week that nobody confirms").fill("1")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Over its budget").wait_for()
    assert client.get(f"/api/v1/rules/{rule}").json()["budget"]["exceeded"] is True
    page.get_by_text("SecurityEvent: has rows").wait_for()
    page.get_by_text("Numbers by week").click()
    portal.accessible()
    portal.shot("rule-page-light")

    page.get_by_role("tab", name="Simulation").click()
    page.get_by_role("button", name="Simulate the last 50 windows").click()
    simulated = client.post(f"/api/v1/rules/{rule}/simulation").json()["windows"]
    page.get_by_test_id("simulation").get_by_text(f"{sum(w['triggers'] for w in simulated)} of 50").wait_for()
    page.get_by_test_id("would-join").get_by_text("holds it already").first.wait_for()
    portal.dark()
    portal.accessible()
    portal.shot("rule-simulation-dark")

    shipped = next(
        r for r in client.get("/api/v1/rules").json()["items"] if r["pack"] == "core" and r["kind"] != "Sigma"
    )
    page = portal.open(f"/rules/{shipped['id']}?tab=tests", signed_in=False)
    page.get_by_text("not run yet").wait_for()
    page.get_by_role("button", name="Run the tests").click()
    page.get_by_text("all passed").wait_for()
    portal.accessible()
    page.get_by_role("tab", name="Runs").click()
    page.get_by_text("No run yet").wait_for()


def test_rows_are_left_out_like_those_of_an_alert_and_that_is_taken_back(
    portal: Watched, client: httpx.Client, rule: str
) -> None:
    alert = next(
        a
        for a in client.get(f"/api/v1/rules/{rule}/alerts").json()["items"]
        if a["rows"][0]["TargetUserName"] == "svc_scan"
    )
    page = portal.open(f"/rules/{rule}?tab=tuning&alert={alert['id']}", signed_in=False)
    column = page.get_by_label("Rows whose column")
    expect(column).to_have_value("TargetUserName")
    expect(page.get_by_label("value", exact=True)).to_have_value("svc_scan")
    page.get_by_role("button", name="What would it have hidden?").click()
    body = {"conditions": [{"column": "TargetUserName", "values": ["svc_scan"]}]}
    told = client.post(f"/api/v1/rules/{rule}/exclusions/preview", json=body).json()
    said = page.get_by_test_id("exclusion-preview")
    said.get_by_text(f"Of {told['alerts']} alerts in 30 days it would have hidden {told['alerts_hidden']}").wait_for()
    assert told["alerts_hidden"] > 0
    # A column that the rule doesn't give is refused in the server's words.
    portal.allowed.add(422)
    column.fill("TargetUser")
    page.get_by_label("Why").fill("The scanner signs in everywhere")
    page.get_by_role("button", name="Leave them out").click()
    page.get_by_role("alert").get_by_text("CNT0020").wait_for()
    column.fill("TargetUserName")
    page.get_by_role("button", name="Leave them out").click()
    page.get_by_role("rowheader", name="TargetUserName is svc_scan").wait_for()
    (kept,) = client.get(f"/api/v1/rules/{rule}").json()["exclusions"]
    assert (kept["reason"], kept["created_by"]) == ("The scanner signs in everywhere", "contributor")
    assert kept["expires"] is not None
    portal.accessible()
    page.get_by_role("tab", name="Changes").click()
    page.get_by_role("button", name="Undo: left rows out").first.click()
    page.get_by_text("took an exclusion back").wait_for()
    assert client.get(f"/api/v1/rules/{rule}").json()["exclusions"] == []


@pytest.mark.usefixtures("rule")
def test_a_watchlist_is_made_of_csv_edited_and_seen_by_the_next_query(portal: Watched, client: httpx.Client) -> None:
    def asked() -> list[list[str]]:
        query = "_GetWatchlist('Scanners') | project SearchKey, Why | sort by SearchKey asc"
        return list(client.post("/api/v1/query", json={"query": query}).json()["rows"])

    page = portal.open("/watchlists", signed_in=False)
    page.get_by_role("link", name="Watched").wait_for()
    page.get_by_role("button", name="New watchlist").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("Scanners")
    dialog.get_by_label("CSV with a header").fill("Address,Why\n10.0.0.1,nessus\n10.0.0.2\n")
    dialog.get_by_text("Line 3: It has 1 values instead of 2.").wait_for()
    expect(dialog.get_by_role("button", name="Make it")).to_be_disabled()
    dialog.get_by_label("CSV with a header").fill("Address,Why\n10.0.0.1,nessus\n10.0.0.2,qualys\n")
    dialog.get_by_role("cell", name="qualys").wait_for()
    portal.accessible()
    dialog.get_by_role("button", name="Make it").click()
    page.get_by_role("heading", name="Scanners").wait_for()
    assert asked() == [["10.0.0.1", "nessus"], ["10.0.0.2", "qualys"]]

    page.get_by_role("button", name="Edit 10.0.0.2").click()
    page.get_by_role("dialog").get_by_label("Why").fill("qualys, retired")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    page.get_by_role("cell", name="qualys, retired").wait_for()
    page.get_by_role("button", name="Add an item").click()
    page.get_by_role("dialog").get_by_label("Address").fill("10.0.0.9")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    page.get_by_role("cell", name="10.0.0.9", exact=True).wait_for()
    assert asked() == [["10.0.0.1", "nessus"], ["10.0.0.2", "qualys, retired"], ["10.0.0.9", ""]]
    page.get_by_label("Find items").fill("NESSUS")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Remove 10.0.0.1").click()
    page.get_by_role("button", name="Remove it").click()
    page.get_by_text("No item matches").wait_for()
    assert [row[0] for row in asked()] == ["10.0.0.2", "10.0.0.9"]
    page.get_by_role("tab", name="History").click()
    page.get_by_text("removed an item").wait_for()
    expect(page.locator("tbody tr")).to_have_count(4)
    portal.dark()
    portal.accessible()


def test_coverage_as_a_matrix_and_as_a_table(portal: Watched, client: httpx.Client, rule: str) -> None:
    page = portal.open("/coverage?technique=T1110", signed_in=False)
    panel = page.get_by_role("region", name="Chosen technique")
    panel.get_by_role("link", name=RULE["name"]).wait_for()
    panel.get_by_text("its tables have rows, proven").first.wait_for()
    found = client.get("/api/v1/rules/coverage").json()
    page.get_by_label("Filter techniques").fill("T1048.003")
    cell = page.get_by_role("button", name="T1048.003").first
    expect(cell).to_have_accessible_name(
        re.compile(r"^T1048\.003 .*Over Unencrypted Non-C2 Protocol ?: a rule is on, no rows in its tables")
    )
    portal.accessible()  # of a few cells: axe takes seconds for all of them
    # What no rule names stands at the foot of its column, and is found by its name too.
    gap = next(g for g in found["gaps"] if "." in g["technique"])
    page.get_by_label("Filter techniques").fill(gap["name"])
    page.get_by_text("1 without a rule").first.wait_for()
    page.get_by_text(gap["technique"], exact=True).first.wait_for()
    page.get_by_label("Filter techniques").fill("")
    with page.expect_download() as download:
        page.get_by_role("link", name="ATT&CK Navigator layer").click()
    layer = json.loads(download.value.path().read_text("utf-8"))
    assert {t["techniqueID"] for t in layer["techniques"]} == {t["technique"] for t in found["techniques"]}
    portal.shot("coverage-light")
    portal.dark()
    page.get_by_role("tab", name="Table").click()
    expect(page.locator("tbody tr")).to_have_count(len(found["techniques"]) + len(found["gaps"]))
    page.get_by_role("button", name="Source: All").click()
    page.get_by_role("menuitemcheckbox", name="SecurityEvent", exact=True).click()
    page.keyboard.press("Escape")
    of_source = [t for t in found["techniques"] if any("SecurityEvent" in r["tables"] for r in t["rules"])]
    expect(page.locator("tbody tr")).to_have_count(len(of_source))
    expect(page).to_have_url(re.compile("source=SecurityEvent"))
    portal.accessible()


def test_anomalies_with_reasons_and_what_a_baseline_lacks(portal: Watched) -> None:
    page = portal.open("/anomalies", signed_in=False)
    page.get_by_role("heading", name="ann@contoso.com").first.wait_for()
    page.get_by_text("First time user connected from country").first.wait_for()
    page.get_by_text("KP: seen 0 times in").first.wait_for()
    portal.accessible()
    portal.shot("anomalies-light")
    page.get_by_role("tab", name="Behaviour").click()
    page.get_by_role("rowheader", name="ann@contoso.com").first.wait_for()
    page.get_by_label("Find an entity").fill("new@")
    page.get_by_text("not known").first.wait_for()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("tab", name="Baselines").click()
    page.get_by_role("link", name="Sign-in from a country").click()
    row = page.get_by_role("row").filter(has_text="new@contoso.com")
    row.get_by_text("lacks 6 days, 19 events").wait_for()
    page.get_by_role("row").filter(has_text="ann@contoso.com").get_by_text("Ready", exact=True).wait_for()
    portal.dark()
    portal.accessible()
    portal.shot("baseline-dark")


def test_rules_are_filtered_and_switched_together(
    portal: Watched, house: Served, client: httpx.Client, rule: str
) -> None:
    client.put("/api/v1/watchlists/Broken", json={"csv": "Host,Note\nhost0,db\n"})
    query = "_GetWatchlist('Broken') | project Note, Host"
    body = {**RULE, "name": "Lacks a column", "query": query, "entity_mappings": []}
    broken = client.post("/api/v1/rules", json=body).json()["id"]
    client.put("/api/v1/watchlists/Broken", json={"csv": "Host,Remark\nhost0,db\n"})
    page = portal.open("/rules?missing=column", signed_in=False)
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_text("can't run: a column is missing").wait_for()
    page.get_by_role("tab", name="Load report").click()
    page.get_by_role("row").filter(has_text="Lacks a column").get_by_text("KQL0101").wait_for()
    portal.accessible()
    # The scheduler gave it up, and suppression had left out an hour before.
    given_up = LedgerRow(
        broken,
        window_end=NOW,
        last_status="Failure",
        failures=5,
        runs=7,
        disabled_reason="5 runs in a row failed: there is no Note.",
        payload={"blind": [[iso(NOW - timedelta(hours=2)), iso(NOW - timedelta(hours=1))]]},
    )
    with house.workspace.state.write() as unit:
        unit.rules.put(given_up)
    page.get_by_role("link", name="Lacks a column").click()
    page.get_by_role("alert").get_by_text("KQL0101").wait_for()
    page.get_by_role("alert").filter(has_text="AUTO DISABLED").get_by_text("there is no Note").wait_for()
    page.get_by_role("heading", name="Not evaluated").wait_for()
    page.get_by_text("7, the last 5 failed").wait_for()

    page = portal.open("/rules?tactic=Exfiltration&kind=Scheduled&format=sentinel", signed_in=False)
    shown = [
        r["id"]
        for r in client.get("/api/v1/rules").json()["items"]
        if "Exfiltration" in r["tactics"] and r["kind"] == "Scheduled" and r["format"] == "sentinel"
    ]
    expect(page.locator("tbody tr")).to_have_count(len(shown))
    page.get_by_label("Choose all rules that match").check()
    page.get_by_label("Reason, for the audit trail").fill("maintenance")
    portal.accessible()
    page.get_by_role("button", name="Switch off").click()
    page.get_by_text(f"{len(shown)} rules switched off").first.wait_for()
    state = {r["id"]: r["enabled"] for r in client.get("/api/v1/rules").json()["items"]}
    assert not any(state[r] for r in shown)
    assert state[rule]
    change = client.get(f"/api/v1/rules/{shown[0]}/changes").json()["items"][0]
    assert (change["detail"], change["actor"]) == ({"reason": "maintenance"}, "contributor")
    assert client.post("/api/v1/rules/switch", json={"ids": shown, "enabled": True}).status_code == 200


def test_a_threat_report_is_imported_and_its_incident_printed(portal: Watched, house: Served, tmp_path: Path) -> None:
    turned = Entity("File", {"Name": "invoice\u202efdp.exe", "Directory": "C:\\"})
    house.workspace.incidents.add([alert("turtle", 0, Entity("IP", {"Address": "203.0.113.9"}), turned)])
    path = tmp_path / "turtle.json"
    path.write_text(bundle(ACTOR, ONE, report(5, ACTOR, ONE), report(6, name="Broken", object_refs=[])))
    page = portal.open("/threat-reports", signed_in=False)
    page.get_by_role("link", name="Human-operated ransomware").wait_for()
    page.get_by_role("button", name="Import").click()
    dialog = page.get_by_role("dialog")
    dialog.locator("input[type=file]").set_input_files(path)
    dialog.get_by_text("the report refers to no objects").wait_for()
    portal.accessible()
    dialog.get_by_role("button", name="Import 1 report").click()
    page.get_by_role("link", name="Sea Turtle").click()
    page.get_by_role("heading", name="Sea Turtle").wait_for()
    page.get_by_role("cell", name="evil.example").wait_for()
    portal.dark()
    portal.accessible()
    page.locator("tbody th a").click()
    page.get_by_text("By indicators: 203.0.113.9").wait_for()
    # What turns the direction of writing is shown.
    expect(page.get_by_text("⟨U+202E⟩").first).to_be_attached()
    # Paper is white whatever the screen is, and has the picture whole.
    page.wait_for_selector("[data-ready=true]")
    page.emulate_media(media="print")
    root = page.locator(":root")
    expect(root).to_have_attribute("data-theme", "light")
    page.locator("canvas[data-drawn]").wait_for()
    drawn = "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v)"
    assert page.locator("canvas[data-drawn]").evaluate(drawn)
    page.emulate_media(media="screen")
    expect(root).to_have_attribute("data-theme", "dark")


def test_nothing_sticks_out_of_a_narrow_page(portal: Watched, rule: str) -> None:
    portal.page.set_viewport_size({"width": 390, "height": 844})
    for path in (
        f"/rules/{rule}",
        f"/rules/{rule}?tab=tuning",
        "/coverage?technique=T1110",
        "/watchlists/Watched",
        "/threat-reports",
        "/threat-reports/report-web-shell",
        "/anomalies",
    ):
        page = portal.open(path, signed_in=False)
        page.wait_for_selector("main section")
        inside = "(() => { const m = document.getElementById('main'); return m.scrollWidth <= m.clientWidth + 1 })()"
        assert page.evaluate(inside), path


def test_who_may_only_read_is_offered_no_change(house: Served, browser: Browser, rule: str) -> None:
    context = browser.new_context(viewport={"width": 1500, "height": 940}, reduced_motion="reduce", locale="en-GB")
    context.set_default_timeout(PATIENCE)
    token = httpx.post(
        f"{house.url}/api/v1/session",
        json={"username": "reader", "password": PHRASE},
        headers={"X-Tocsin-Request": "1"},
    )
    context.add_cookies([{"name": n, "value": v, "url": house.url} for n, v in token.cookies.items()])
    watched = Watched(context.new_page(), house.url)
    watch(watched)
    try:
        page = watched.open(f"/rules/{rule}?tab=tuning", signed_in=False)
        page.get_by_role("heading", name="Overrides").wait_for()
        expect(page.get_by_role("button", name="Leave them out")).to_have_count(0)
        page = watched.open("/watchlists/Watched", signed_in=False)
        page.get_by_role("cell", name="host0", exact=True).first.wait_for()
        expect(page.get_by_role("button", name="Add an item")).to_have_count(0)
        page = watched.open("/rules", signed_in=False)
        page.locator("tbody tr").first.wait_for()
        expect(page.get_by_label("Choose all rules that match")).to_have_count(0)
        watched.allowed.add(404)
        page = watched.open("/rules/nowhere", signed_in=False)
        page.get_by_role("alert").get_by_text("there is no rule 'nowhere'").wait_for()
    finally:
        context.close()
    watched.check()


def test_a_simulation_shows_what_its_alerts_would_join_and_why(
    portal: Watched, house: Served, client: httpx.Client, rule: str
) -> None:
    hosts = [{"type": "Host", "fields": [{"identifier": "FullName", "column": "Computer"}]}]
    made = client.post("/api/v1/rules", json={**RULE, "name": "Watched machines", "entity_mappings": hosts}).json()
    newest = client.post(f"/api/v1/rules/{made['id']}/simulation").json()["alerts"][0]
    seen, named = datetime.fromisoformat(newest["time"]), tuple(Entity.host(e["label"]) for e in newest["entities"])
    other = Alert("al_near", "other", "Tool dropped", seen, seen, "High", seen, tactics=("Execution",), entities=named)
    house.workspace.incidents.add([other])
    page = portal.open(f"/rules/{made['id']}?tab=simulation", signed_in=False)
    page.get_by_role("button", name="Simulate the last 50 windows").click()
    first = page.get_by_test_id("would-join").get_by_role("listitem").first
    first.get_by_text("It joins").wait_for()
    first.get_by_text("Why").click()
    first.get_by_text("same host").first.wait_for()
    portal.accessible()
    first.get_by_role("link").first.click()
    page.get_by_role("heading", name="Tool dropped").first.wait_for()
