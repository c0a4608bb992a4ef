"""Threat reports out of STIX 2 bundles: what is taken, what is refused and where, and that nothing breaks the reader."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.base.errors import ContentError
from tocsin.incidents.stix import MOST_INDICATORS, read_reports

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def uid(n: int) -> str:
    return str(UUID(int=n, version=4))


def technique(n: int, code: str) -> dict[str, Any]:
    known = {"source_name": "mitre-attack", "external_id": code}
    return {"type": "attack-pattern", "id": f"attack-pattern--{uid(n)}", "name": code, "external_references": [known]}


def indicator(n: int, pattern: str, **more: Any) -> dict[str, Any]:
    return {"type": "indicator", "id": f"indicator--{uid(n)}", "pattern": pattern, "pattern_type": "stix", **more}


def report(n: int, *objects: dict[str, Any], **more: Any) -> dict[str, Any]:
    made = {
        "type": "report", "id": f"report--{uid(n)}", "spec_version": "2.1", "name": "Sea Turtle",
        "published": "2026-01-02T00:00:00Z", "modified": "2026-01-02T00:00:00Z",
        "object_refs": [o["id"] for o in objects],
    }  # fmt: skip
    return {**made, **more}


def bundle(*objects: Any) -> str:
    return json.dumps({"type": "bundle", "id": f"bundle--{uid(1)}", "objects": list(objects)})


ACTOR = {"type": "intrusion-set", "id": f"intrusion-set--{uid(2)}", "name": "Sea Turtle"}
LOCKER = {
    "type": "malware",
    "id": f"malware--{uid(3)}",
    "name": "Locker",
    "malware_types": ["ransomware"],
    "is_family": True,
}
MAKER = {"type": "identity", "id": f"identity--{uid(4)}", "name": "CERT of Utopia"}
ONE = indicator(10, "[ipv4-addr:value = '203.0.113.9'] OR [domain-name:value = 'Evil.example']")
TWO = indicator(11, "[file:hashes.'SHA-256' = '" + "AB" * 32 + "']", valid_until="2027-01-01T00:00:00Z")
TECHNIQUES = [technique(20 + n, t) for n, t in enumerate(("T1566.001", "T1059", "T1105", "T1486", "T1490"))]


def test_a_report_is_what_it_refers_to() -> None:
    parts = (ACTOR, LOCKER, ONE, TWO, *TECHNIQUES)
    other = indicator(12, "[ipv4-addr:value = '198.51.100.1']")  # in the bundle, but not of the report
    more = {"created_by_ref": MAKER["id"], "description": "They come\nby mail.", "external_references": [
        {"source_name": "a", "url": "https://example.org/a"}, {"source_name": "b", "url": "javascript:alert(1)"}]}  # fmt: skip
    found = read_reports(bundle(report(5, *parts, **more), MAKER, other, *parts), NOW)
    assert (found.refused, found.notes, found.withdrawn) == ([], [], [])
    assert found.reports == [
        {
            "id": f"stix-report-{uid(5)}",
            "kind": "report",
            "name": "Sea Turtle",
            "threat": "ransomware",
            "description": "They come\nby mail.",
            "about": ["Intrusion set: Sea Turtle", "Malware: Locker"],
            "indicators": ["203.0.113.9", "ab" * 32, "evil.example"],
            "until": {"ab" * 32: "2027-01-01T00:00:00+00:00"},
            "for": ["T1059", "T1105", "T1486", "T1490", "T1566.001"],
            "least": 4,
            "references": ["https://example.org/a"],
            "author": "CERT of Utopia",
            "published": "2026-01-02T00:00:00Z",
            "modified": "2026-01-02T00:00:00Z",
        }
    ]


def test_few_techniques_alone_recognise_nothing() -> None:
    few = TECHNIQUES[:3]
    with_indicator = read_reports(bundle(report(5, ONE, *few), ONE, *few), NOW).reports
    assert [(r["for"], r["least"]) for r in with_indicator] == [(["T1059", "T1105", "T1566.001"], 0)]
    assert "only 3 techniques" in read_reports(bundle(report(5, *few), *few), NOW).refused[0][1]
    asked = read_reports(bundle(report(5, *few), *few), NOW, least=2)
    assert [r["least"] for r in asked.reports] == [2]


@pytest.mark.parametrize(
    ("changed", "place", "why"),
    [
        ({"name": " "}, "objects[1].name", "no name"),
        ({"id": "report--../../x"}, "objects[1].id", "no id of a report"),
        ({"object_refs": []}, "objects[1].object_refs", "refers to no objects"),
        ({"object_refs": [ONE["id"], 7]}, "objects[1].object_refs[1]", "no id: 7"),
        ({"object_refs": [ACTOR["id"]]}, "objects[1]", "no indicator and no technique"),
    ],
)  # fmt: skip
def test_a_bad_report_is_refused_by_its_place_and_the_others_are_taken(changed: Any, place: str, why: str) -> None:
    good = report(6, ONE, name="Good")
    found = read_reports(bundle(ACTOR, report(5, ONE, **changed), ONE, good), NOW)
    ((at, reason),) = found.refused
    assert at == place
    assert why in reason
    assert [r["name"] for r in found.reports] == ["Good"]


def test_what_of_a_report_is_left_out_is_said() -> None:
    parts = [
        ONE,
        indicator(30, "[file:name = 'a.exe']"),
        indicator(31, "[ipv4-addr:value = '203.0.113.1' AND domain-name:value = 'a.example']"),
        indicator(32, "[ipv4-addr:value = '203.0.113.2']", revoked=True),
        indicator(33, "[ipv4-addr:value = '203.0.113.3']", valid_until="2026-04-30T00:00:00Z"),
        indicator(34, "alert tcp any any", pattern_type="snort"),
        {"type": "attack-pattern", "id": f"attack-pattern--{uid(35)}", "name": "Own way"},
    ]
    refs = [*(p["id"] for p in parts), f"malware--{uid(99)}"]
    found = read_reports(bundle(*parts, report(5, object_refs=refs, description="x" * 6000)), NOW)
    assert found.reports[0]["indicators"] == ["203.0.113.9", "evil.example"]
    said = "\n".join(f"{p}: {w}" for p, w in found.notes)
    for wanted in (
        "1 of the objects", "recognised by file:name", "more than single values", f"{uid(32)}: the indicator is revoked",
        "expired", "type snort", "no ATT&CK technique", "first 5,000 of 6,000",
    ):  # fmt: skip
        assert wanted in said


def test_of_several_versions_the_latest_speaks() -> None:
    newer = report(5, ONE, name="Newer", modified="2026-03-01T00:00:00Z")
    found = read_reports(bundle(newer, ONE, report(5, ONE, name="Older")), NOW)
    assert [r["name"] for r in found.reports] == ["Newer"]
    gone = read_reports(bundle({**newer, "revoked": True}), NOW)
    assert (gone.reports, gone.withdrawn) == ([], [f"stix-report-{uid(5)}"])


def test_more_indicators_than_a_report_may_have_are_refused() -> None:
    many = [
        indicator(
            1000 + n,
            f"[ipv4-addr:value IN ({', '.join(repr(f'10.{n}.{a}.{b}') for a in range(26) for b in range(100))})]",
        )
        for n in range(4)
    ]
    found = read_reports(bundle(report(5, *many), *many), NOW)
    assert found.reports == []
    assert f"at most {MOST_INDICATORS:,}" in found.refused[0][1]


@pytest.mark.parametrize(
    "text", ["", "<stix:STIX_Package/>", "[1", '{"objects": 3}', '{"type": "bundle"}', bundle(ONE), "[" * 5000]
)
def test_what_is_no_bundle_of_reports(text: str) -> None:
    with pytest.raises(ContentError) as caught:
        read_reports(text, NOW)
    assert caught.value.code == "CNT0060"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["report", ONE["id"], "x", "T1059", "2026-99-99"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([
        "type", "id", "name", "object_refs", "external_references", "source_name", "external_id", "pattern", "valid_until", "modified"]), inner),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(sorted(report(5, ONE))), JSON), st.lists(JSON, max_size=4))
def test_whatever_a_member_is_the_reader_says_so(changed: dict[str, Any], others: list[Any]) -> None:
    found = read_reports(bundle({**report(5, ONE), **changed, "type": "report"}, ONE, *others), NOW)
    for made in found.reports:
        assert made["indicators"] or made.get("for")
