"""Which hosts and accounts matter: each shipped rule finds its own and nothing beside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.workspace.conftest import BEGINS as NOW
from tests.workspace.house import House, table

from tocsin.content import load_packs, packs_dir
from tocsin.incidents.judging import AssetRow
from tocsin.lake import TableBatch
from tocsin.workspace.assets import find_assets

AT = {"TimeGenerated": NOW.replace(tzinfo=None)}
CONTENT = load_packs([packs_dir()], only=("functions", "incidents"))
ROWS: dict[str, list[dict[str, Any]]] = {
    "SecurityEvent": [
        {"EventID": 4769, "Computer": "dc1.contoso.com"},
        {"EventID": 4776, "Computer": "files.contoso.com"},  # any machine says so of its local accounts
        {"EventID": 1200, "EventSourceName": "AD FS Auditing", "Computer": "adfs1.contoso.com"},
        {"EventID": 1200, "EventSourceName": "Another", "Computer": "other.contoso.com"},
    ],
    "DeviceInfo": [
        {"DeviceName": "pay1.contoso.com", "DeviceManualTags": "Critical", "MachineGroup": "Berlin"},
        {"DeviceName": "pc1.contoso.com", "DeviceManualTags": "test", "MachineGroup": ""},
    ],
    "IdentityInfo": [
        {"AccountUpn": "root@contoso.com", "AssignedRoles": '["Global Administrator"]'},
        {"AccountName": "ops", "AccountDomain": "CONTOSO", "GroupMembership": '["Domain Admins"]'},
        {"AccountUpn": "ann@contoso.com", "AssignedRoles": '["Reports Reader"]'},
    ],
}
WATCHLISTS: dict[str, list[dict[str, str]]] = {
    "HighValueAssets": [
        {"Asset Type": "Device", "Asset Name": "erp", "Asset FQDN": "erp.contoso.com"},
        {"Asset Type": "", "Asset Name": " crm ", "Asset FQDN": ""},
        {"Asset Type": "Azure resource", "Asset Name": "vault", "Asset FQDN": ""},
    ],
    "VIPUsers": [
        {"User Identifier": "", "User Principal Name": "ceo@contoso.com"},
        {"User Identifier": "CONTOSO\\cfo"},
    ],
}
FOUND = {
    ("Host", "dc1.contoso.com", "veryHigh", ""),
    ("Host", "adfs1.contoso.com", "veryHigh", ""),
    ("Host", "pay1.contoso.com", "high", "Berlin"),
    ("Host", "pay1.contoso.com", "", "Berlin"),  # by the rule for groups
    ("Account", "root@contoso.com", "veryHigh", ""),
    ("Account", "CONTOSO\\ops", "veryHigh", ""),
    ("Host", "erp.contoso.com", "high", ""),
    ("Host", "crm", "high", ""),
    ("Account", "ceo@contoso.com", "high", ""),
    ("Account", "CONTOSO\\cfo", "high", ""),
}


def test_the_shipped_rules_find_what_matters_and_nothing_beside(house: House) -> None:
    assert find_assets(house.queries, CONTENT) == [], "nothing is there"
    house.lake.write([TableBatch(name, table([{**AT, **r} for r in rows])) for name, rows in ROWS.items()])
    house.lake.flush()
    house.queries.set_watchlists({n: table(rows) for n, rows in WATCHLISTS.items()})
    found = find_assets(house.queries, CONTENT)
    assert {(a.kind, a.name, a.level, a.group) for a in found} == FOUND


def test_a_rule_that_fails_keeps_what_it_found(house: House, tmp_path: Path) -> None:
    (tmp_path / "own/incidents").mkdir(parents=True)
    (tmp_path / "own/pack.yaml").write_text("id: own\nname: Own\nversion: 1.0.0\n")
    rule = "id: mine\nkind: asset\nname: Mine\nentity: Host\nlevel: high\nquery: NoTable | project Name\n"
    (tmp_path / "own/incidents/mine.yaml").write_text(rule)
    content = load_packs([tmp_path / "own"])
    known = [AssetRow("Host", "old.contoso.com", "Mine", "high"), AssetRow("Host", "x", "Gone", "high")]
    assert find_assets(house.queries, content, known) == [known[0]], "of a rule that is still there"
