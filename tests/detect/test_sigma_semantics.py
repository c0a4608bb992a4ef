"""What Sigma's values and modifiers mean, one fact a line, judged by the matcher and by the naive oracle alike."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sigma.rule import SigmaRule

from tocsin.detect.sigma.checks import Check, Glob, Regex, Text
from tocsin.detect.sigma.fields import FieldTable
from tocsin.detect.sigma.matcher import SigmaMatcher

from .sigma_oracle import Oracle
from .support import SYSMON, detection, sigma, windows

LONE = "(?:^|a)"


def fires(
    selection: str, data: dict[str, Any], condition: str = "s", logsource: str | None = None, **event: Any
) -> bool:
    """Whether a rule with that selection fires; the matcher and the oracle must agree."""
    text = detection(
        f"  s:\n    {selection}\n  condition: {condition}", **({"logsource": logsource} if logsource else {})
    )
    rules = sigma(text)
    assert rules.problems == ()
    batch = windows({"data": data, **event})
    got = bool(SigmaMatcher(rules.rules).hits(batch))
    system = {k: v for k, v in batch.rows.to_pylist()[0].items() if k != "EventData"}
    assert Oracle(SigmaRule.from_dict(yaml.safe_load(text))).matches("windows.event", system, data) == got
    return got


@pytest.mark.parametrize(
    ("selection", "value", "expected"),
    [
        # text is compared without case, as a whole
        ("Image: C:\\X.exe", "c:\\x.EXE", True),
        ("Image: x", "xy", False),
        ("Image|contains: Y", "xyz", True),
        ("Image|startswith: 'C:\\'", "c:\\a", True),
        ("Image|startswith: x", "ax", False),
        ("Image|endswith: \\cmd.exe", "C:\\CMD.EXE", True),
        ("Image|endswith: \\cmd.exe", "cmd.exe", False),
        ("Image|cased: Ab", "ab", False),
        ("Image|cased: Ab", "Ab", True),
        ("Image|contains|cased: Ab", "xAbx", True),
        ("Image|contains|cased: Ab", "xabx", False),
        # wildcards and escapes
        ("Image: a*c", "abbbc", True),
        ("Image: a*c", "abbb", False),
        ("Image: a?c", "abc", True),
        ("Image: a?c", "ac", False),
        ("Image: a\\*c", "a*c", True),
        ("Image: a\\*c", "abc", False),
        ("Image: a\\\\*c", "a\\xyzc", True),
        ("Image: '*'", "", True),
        ("Image: a*c", "a\nc", True),
        ("Image|contains: 'a*c'", "xxaYYcxx", True),
        ("Image|endswith: '\\*'", "x*", True),
        ("Image|contains: '\\\\'", "a\\b", True),
        # empty, null, missing
        ("Image: ''", "", True),
        ("Image: ''", None, False),
        ("Image: null", None, True),
        ("Image: null", "", False),
        ("Image|exists: true", "", True),
        ("Image|exists: true", None, False),
        ("Image|exists: false", None, True),
        # numbers and booleans
        ("Image: 5", "5", True),
        ("Image: 5", "50", False),
        ("Image: true", "True", True),
        ("Image|lt: 10", "9", True),
        ("Image|lte: 10", "10", True),
        ("Image|gt: 10", "9", False),
        ("Image|gte: 10", "10", True),
        ("Image|gt: 10", "eleven", False),
        # expressions are found anywhere, with case unless i
        ("Image|re: b+", "abbc", True),
        ("Image|re: B", "abc", False),
        ("Image|re|i: B", "abc", True),
        ("Image|re: ^abc$", "abc", True),
        ("Image|re: a.c", "a\nc", False),
        ("Image|re|s: a.c", "a\nc", True),
        ("Image|re|m: ^c", "a\nc", True),
        ("Image|re: ^c", "a\nc", False),
        # networks
        ("Image|cidr: 10.0.0.0/8", "10.1.2.3", True),
        ("Image|cidr: 10.0.0.0/8", "11.1.2.3", False),
        ("Image|cidr: fe80::/10", "fe80::1", True),
        ("Image|cidr: 10.0.0.0/8", "fe80::1", False),
        ("Image|cidr: 10.0.0.0/8", "-", False),
        # dashes
        ("Image|contains|windash: ' -f '", "x /f y", True),
        ("Image|contains|windash: ' -f '", "x \u2013f y", True),
        ("Image|contains|windash: ' -f '", "x +f y", False),
        # encodings
        ("Image|base64: foo", "Zm9v", True),
        ("Image|base64offset|contains: foobar", "xxZvb2Jhcyy", True),
        ("Image|utf16le|base64offset|contains: foo", "xZgBvAG8A", True),
        ("Image|wide|base64offset|contains: foo", "xZgBvAG8A", True),
        # lists
        ("Image: [a, b]", "B", True),
        ("Image|contains: [a, b]", "zz", False),
        ("Image|contains|all: [a, b]", "xbxa", True),
        ("Image|contains|all: [a, b]", "xb", False),
        # not equal
        ("Image|neq: a", "b", True),
        ("Image|neq: a", "A", False),
    ],
)  # fmt: skip
def test_values(selection: str, value: str | None, expected: bool) -> None:
    data = {} if value is None else {"Image": value}
    assert fires(selection, {"Other": "o", **data}) is expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("not s", True),
        ("s or not s", True),
        ("s and not s", False),
        ("1 of s*", False),
        ("not 1 of s*", True),
        ("all of them", False),
    ],
)
def test_not_over_a_missing_field(condition: str, expected: bool) -> None:
    assert fires("Image: x", {"Other": "o"}, condition) is expected


def test_selections_of_several_maps_are_or() -> None:
    assert fires("- Image: a\n    - Other: o", {"Other": "o"})
    assert not fires("- Image: a\n    - Other: p", {"Other": "o"})


@pytest.mark.parametrize(
    ("one", "other", "modifier", "expected"),
    [
        ("abc", "ABC", "fieldref", True),
        ("abc", "ab", "fieldref", False),
        ("abc", "ab", "fieldref|startswith", True),
        ("abc", "bc", "fieldref|endswith", True),
        ("abc", "b", "fieldref|contains", True),
        ("abc", None, "fieldref", False),
        (None, None, "fieldref", False),
    ],
)
def test_field_references(one: str | None, other: str | None, modifier: str, expected: bool) -> None:
    data = {k: v for k, v in (("A", one), ("B", other)) if v is not None}
    assert fires(f"A|{modifier}: B", {"Z": "z", **data}) is expected


def test_keywords_look_at_every_value_and_the_message() -> None:
    source = "{product: windows, service: system}"
    for selection, data, message, expected in (
        ("- mimi", {"A": "xMIMIx"}, None, True),
        ("- mimi", {"A": "x"}, "a mimi b", True),
        ("- mimi", {"A": "x"}, None, False),
        ("'|all': [a1, b2]", {"A": "a1", "B": "b2"}, None, True),
        ("'|all': [a1, b2]", {"A": "a1"}, None, False),
        ("- 'm*i'", {"A": "xmabcix"}, None, True),
        ("- 4711", {"A": "no 4711"}, None, True),
    ):
        got = fires(selection, data, logsource=source, Channel="System", EventID=7, Message=message)
        assert got is expected, (selection, data)


def test_log_sources_choose_events() -> None:
    creation = "{product: windows, category: process_creation}"
    security = {"NewProcessName": "C:\\x.exe", "CommandLine": "x -a", "MandatoryLabel": "S-1-16-12288", "SubjectUserName": "ann",
                "SubjectDomainName": "CONTOSO", "TargetUserName": "-"}  # fmt: skip
    assert fires("Image|endswith: x.exe", {"Image": "C:\\x.exe"}, logsource=creation)
    assert not fires("Image|endswith: x.exe", {"Image": "C:\\x.exe"}, logsource=creation, EventID=3)
    assert not fires("Image|endswith: x.exe", {"Image": "C:\\x.exe"}, logsource=creation, Channel="Other")
    for selection in (
        "Image|endswith: x.exe",
        "IntegrityLevel: High",
        "User: contoso\\ann",
        "CommandLine|contains: ' -a'",
    ):
        assert fires(selection, security, logsource=creation, Channel="Security", EventID=4688), selection
    script = "{product: windows, category: ps_script}"
    assert fires("ScriptBlockText|contains: iex", {"ScriptBlockText": "IEX x"}, logsource=script,
                 Channel="Microsoft-Windows-PowerShell/Operational", EventID=4104)  # fmt: skip
    registry = {"ObjectName": "\\REGISTRY\\MACHINE\\SYSTEM\\ControlSet001\\Services\\x", "ObjectValueName": "Start",
                "OperationType": "%%1905", "NewValue": "4", "NewValueType": "%%1876"}  # fmt: skip
    change = "{product: windows, category: registry_set}"
    assert fires("TargetObject: HKLM\\SYSTEM\\CurrentControlSet\\Services\\x\\Start", registry, logsource=change,
                 Channel="Security", EventID=4657)  # fmt: skip
    assert fires("Details: DWORD (0x00000004)", registry, logsource=change, Channel="Security", EventID=4657)


def test_field_names_without_blanks() -> None:
    data = {"Threat Name": "EICAR", "Process Name": "x"}
    assert fires("ThreatName: EICAR", data, logsource="{product: windows, service: windefend}",
                 Channel="Microsoft-Windows-Windows Defender/Operational", EventID=1119)  # fmt: skip
    assert fires("Provider_Name: p", {"A": "b"}, logsource="{product: windows, service: sysmon}", Channel=SYSMON)


def test_event_id_is_constant_and_compares_as_a_number() -> None:
    service = "{product: windows, service: security}"
    for expected, number in ((True, 4625), (False, 4624)):
        assert (
            fires("EventID: [4625, 4771]", {"A": "b"}, logsource=service, Channel="Security", EventID=number)
            is expected
        )


def test_classic_events_have_many_unnamed_values() -> None:
    data = {"Data": "one", "Data_1": "HostName=Two"}
    assert fires("Data|contains: hostname=two", data, logsource="{product: windows, category: ps_classic_start}",
                 Channel="Windows PowerShell", EventID=400)  # fmt: skip


# ------------------------------------------------------------------ many checks at once

TEXTS = st.text(st.sampled_from("abAB\\*. é"), max_size=8)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.builds(lambda how, text, cased: Text(how, text if cased else text.lower(), cased),
                      st.sampled_from(["eq", "start", "end", "in"]), TEXTS, st.booleans()),
            st.builds(lambda parts, cased: Glob(tuple(p if cased or not isinstance(p, str) else p.lower() for p in parts), cased),
                      st.lists(st.one_of(st.none(), st.just(True), TEXTS), min_size=1, max_size=4), st.booleans()),
            st.sampled_from([Regex("a+b"), Regex("(?i)^A"), Regex("b$"), Regex("[a-b]{3}")]),
        ),
        max_size=30,
        unique=True,
    ),
    st.lists(st.text(st.sampled_from("abAB\\*. éx"), max_size=20), max_size=10),
)  # fmt: skip
def test_a_field_table_agrees_with_its_checks(checks: list[Check], values: list[str]) -> None:
    table = FieldTable({c: i for i, c in enumerate(checks)})
    for value in [*values, *values]:
        assert table[value] == {i for i, c in enumerate(checks) if c.holds(value)}
    assert table[None] == frozenset()


def test_a_field_table_forgets_within_its_limit() -> None:
    table = FieldTable({Text("in", "needle"): 7}, limit=10_000)
    for number in range(2_000):
        assert table[f"value {number}"] == frozenset()
        assert table[f"needle {number}"] == {7}
    assert len(table) < 300


def test_lists_match_by_any_element() -> None:
    table = FieldTable({Text("eq", "a"): 1, Text("eq", "b"): 2})
    assert table["a", "b", "c"] == {1, 2}
    assert table[()] == frozenset()
