"""YAML text: values, places, bounds."""

from __future__ import annotations

import pytest

from tocsin.base.errors import ContentError
from tocsin.content.yamltext import Limits, parse_one, parse_yaml


def refusal(text: str, **limits: int) -> ContentError:
    with pytest.raises(ContentError) as caught:
        parse_one(text, "f.yaml", Limits(**limits) if limits else None)
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", {"a": 1}),
        ("a: 0x1F", {"a": 31}),
        ("a: 010", {"a": "010"}),
        ("a: 1:30", {"a": "1:30"}),
        ("a: 1.10", {"a": 1.1}),
        ("a: 1.2.3", {"a": "1.2.3"}),
        ("a: 1e5", {"a": "1e5"}),
        ("a: -3", {"a": -3}),
        ("a: '1'", {"a": "1"}),
        ("a: yes\nb: null\nc: ~\nd:\n", {"a": True, "b": None, "c": None, "d": None}),
        ("a: 2021-08-02T13:05:32Z", {"a": "2021-08-02T13:05:32Z"}),
        ("a: !!str 5", {"a": "5"}),
        ("1: x", {"1": "x"}),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ("- [a, b]\n- {c: d}", [["a", "b"], {"c": "d"}]),
        ("x: &x [1]\ny: *x", {"x": [1], "y": [1]}),
        ("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}", {"x": {"a": 1, "b": 2}, "y": {"b": 3, "a": 1}}),
        ("a: '-'", {"a": "-"}),
        ("a: .5\nb: .\nc: +", {"a": 0.5, "b": ".", "c": "+"}),
        ("a: " + "9" * 500, {"a": "9" * 500}),
    ],
)
def test_values(text: str, value: object) -> None:
    got = parse_one(text, "f.yaml").value
    assert got == value
    assert repr(got) == repr(value)


def test_places_and_raw_text() -> None:
    document = parse_one("name: x\nlist:\n  - a: 1.10\n    b: two\n", "f.yaml")
    assert str(document.place(("list", 0, "b"))) == "f.yaml:4:8"
    assert str(document.place(("list", 0, "b"), key=True)) == "f.yaml:4:5"
    assert str(document.place(("list", 0, "nothing"))) == "f.yaml:3:5"
    assert document.raw(("list", 0, "a")) == "1.10"
    assert document.raw(("list",)) is None


def test_duplicate_key_names_both_lines() -> None:
    error = refusal("a: 1\nb: 2\na: 3\n")
    assert (error.code, str(error.place)) == ("CNT0005", "f.yaml:3:1")
    assert "line 1" in error.hint


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("a: [1, 2", "CNT0003", "f.yaml:2"),
        ("a:\n\tb: 1", "CNT0003", "f.yaml:2:1"),
        ("a: b: c", "CNT0003", "f.yaml:1:5"),
        ("a: *nope", "CNT0003", "f.yaml:1:4"),
        ("a: &a [*a]", "CNT0003", "f.yaml:1:8"),
        ("", "CNT0003", "f.yaml:1:1"),
        ("a: 1\n---\nb: 2", "CNT0003", "f.yaml:3:1"),
        ("[" * 5000, "CNT0004 CNT0003", "f.yaml:1:"),
        ("? [a]\n: b", "CNT0003", "f.yaml:1:3"),
        ("a: \x01", "CNT0003", "f.yaml"),
        ("\x7fELF\x00\x01", "CNT0003", "f.yaml"),
        ("a: \ud800", "CNT0003", "f.yaml"),
    ],
)
def test_refusals(text: str, code: str, place: str) -> None:
    error = refusal(text)
    assert error.code in code
    assert str(error.place).startswith(place) or str(error.place).startswith("f.yaml:1:9")


def test_anchor_bomb_is_bounded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    error = refusal("\n".join(lines))
    assert error.code == "CNT0004"
    assert "nodes" in error.message


def test_limits() -> None:
    assert refusal("a: " + "x" * 100, characters=50).code == "CNT0004"
    assert refusal("a: {b: {c: {d: 1}}}", depth=2).code == "CNT0004"


def test_several_documents() -> None:
    assert [d.value for d in parse_yaml("a: 1\n---\nb: 2\n", "f")] == [{"a": 1}, {"b": 2}]
