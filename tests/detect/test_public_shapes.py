"""Shapes that public rules have: columns that only the data makes, unions of tables that aren't there, mappings of columns that aren't given."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tocsin.content import is_warning
from tocsin.detect.check import check_rule, prevents
from tocsin.detect.run import run_rule

from .test_on_the_lake import START, House, house, rule, scheduler  # noqa: F401 - a fixture

SYSMON = """
Event
| where Source == "Microsoft-Windows-Sysmon"
| extend Pairs = parse_xml(EventData).DataItem.EventData.Data
| mv-expand bagexpansion=array Pairs
| evaluate bag_unpack(Pairs)
| extend Key = tostring(['@Name']), Value = tostring(['#text'])
| evaluate pivot(Key, take_any(Value), TimeGenerated, Computer, EventID, UserName, MG)
| where Image endswith "lamp.exe"
"""
XML = '<DataItem><EventData><Data Name="Image">C:\\{image}</Data><Data Name="User">ann</Data></EventData></DataItem>'


def sysmon(minute: float, image: str) -> dict[str, Any]:
    return {
        "TimeGenerated": START + timedelta(minutes=minute),
        "Source": "Microsoft-Windows-Sysmon",
        "Computer": "pc1",
        "EventID": 1,
        "EventData": XML.format(image=image),
    }


def test_columns_that_only_the_data_makes(house: House) -> None:  # noqa: F811
    plain = rule(SYSMON)
    assert check_rule(plain, house.queries) == []
    end = START + timedelta(minutes=30)
    assert run_rule(plain, house.queries, end) == []  # there are no rows, so there are no columns, and nothing to say
    house.write(sysmon(1, "bulb.exe"), sysmon(2, "lamp.exe"), table="Event")
    (alert,) = run_rule(plain, house.queries, end)
    assert (alert.time, alert.count) == (START + timedelta(minutes=2), 1)
    assert alert.events[0].row["User"] == "ann"


def test_the_scheduler_runs_them_too(house: House) -> None:  # noqa: F811
    made, ledger = scheduler(house, [rule(SYSMON)])
    house.write(sysmon(0, "lamp.exe"), table="Event")
    for _ in range(4):
        house.clock.advance(timedelta(minutes=10))
        made.tick()
    assert [a.events[0].row["Image"] for a in ledger.alerts] == ["C:\\lamp.exe"]


def test_a_mapping_of_such_a_column_is_no_complaint(house: House) -> None:  # noqa: F811
    from tocsin.detect.rule import EntityMapping

    mapped = EntityMapping("Account", (("Name", "User"),))
    assert check_rule(rule(SYSMON, entity_mappings=(mapped,)), house.queries) == []
    closed = rule(SYSMON + "| project TimeGenerated, Image", entity_mappings=(mapped,))
    assert [p.code for p in check_rule(closed, house.queries)] == ["DET0011"]


def test_a_part_without_a_table_is_a_warning_and_the_other_part_fires(house: House, tmp_path: Path) -> None:  # noqa: F811
    query = 'union isfuzzy=true\n  (SecurityEvent | where EventID == 4625),\n  (LampLog_CL\n  | where Lamp_s == "on")'
    text = "id: r\nname: R\nquery: |\n" + "".join(f"  {line}\n" for line in query.splitlines())
    both = rule(query, text=text, path=tmp_path / "R.yaml")
    (problem,) = check_rule(both, house.queries)
    assert (problem.code, is_warning(problem), prevents(problem)) == ("DET0015", True, False)
    assert "'LampLog_CL'" in problem.message
    assert problem.place is not None
    assert problem.place.line == 6
    house.write({"TimeGenerated": START, "EventID": 4625, "Computer": "pc1"})
    assert len(run_rule(both, house.queries, START + timedelta(minutes=5))) == 1


def test_a_column_that_is_not_given_is_left_out_of_the_alert(house: House) -> None:  # noqa: F811
    from tocsin.detect.rule import AlertDetails, EntityMapping

    lacking = rule(
        "SecurityEvent | where EventID == 4625 | project TimeGenerated, Computer",
        entity_mappings=(
            EntityMapping("Account", (("Name", "User"),)),
            EntityMapping("Host", (("HostName", "Computer"),)),
        ),
        custom_details={"Who": "User", "Where": "Computer"},
        alert_details=AlertDetails(name_format="{{User}} on {{Computer}}", severity_column="Level"),
    )
    problems = check_rule(lacking, house.queries)
    assert {p.code for p in problems} == {"DET0011"}
    assert not any(map(prevents, problems))
    house.write({"TimeGenerated": START, "EventID": 4625, "Computer": "pc1"})
    (alert,) = run_rule(lacking, house.queries, START + timedelta(minutes=5))
    assert [(e.type, e.label) for e in alert.entities] == [("Host", "pc1")]
    assert alert.severity == "Medium"
    assert alert.custom_details == {"Where": ["pc1"]}


@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_watchlist_that_nobody_made_is_named(house: House, quote: str) -> None:  # noqa: F811
    query = f"_GetWatchlist({quote}Lamps{quote}) | where Room == 'hall'"
    (problem,) = check_rule(rule(query), house.queries)
    assert problem.code == "DET0003"
    assert "There is no watchlist 'Lamps'" in problem.hint
