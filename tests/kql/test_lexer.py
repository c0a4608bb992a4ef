"""Text to tokens: every spelling, and linear time."""

from __future__ import annotations

import time

import pytest

from tocsin.kql.lexer import BAD, END, NAME, NUMBER, PUNCTUATION, STRING, comments, tokenize, unquote


def words(text: str) -> list[str]:
    tokens = tokenize(text)
    assert tokens.kinds[-1] == END
    return tokens.values[:-1]


def kinds(text: str) -> list[int]:
    return tokenize(text).kinds[:-1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a==b", ["a", "==", "b"]),
        ("a=~'x'", ["a", "=~", "'x'"]),
        ("a!in~(b)", ["a", "!in~", "(", "b", ")"]),
        ("a in~ (b)", ["a", "in~", "(", "b", ")"]),
        ("x !has y", ["x", "!has", "y"]),
        ("1..5", ["1", "..", "5"]),
        ("1.5..2.5", ["1.5", "..", "2.5"]),
        ("ago(1d)..now()", ["ago", "(", "1d", ")", "..", "now", "(", ")"]),
        ("1.5e-3+2", ["1.5e-3", "+", "2"]),
        ("0x1e-5", ["0x1e", "-", "5"]),
        ("1e3", ["1e3"]),
        ("1.", ["1."]),
        ("x.[0].y", ["x", ".", "[", "0", "]", ".", "y"]),
        ("3rdParty", ["3rdParty"]),
        ("$left.a", ["$left", ".", "a"]),
        ("project-away a", ["project", "-", "away", "a"]),
        ("=>", ["=>"]),
        ("a--b", ["a", "-", "-", "b"]),
        ("café", ["café"]),
        ('has"x"', ["has", '"x"']),
        ("h'x' H@\"y\"", ["h'x'", 'H@"y"']),
        ("hx", ["hx"]),
    ],
)
def test_tokens(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_white_space_is_kustos() -> None:
    assert words("\ufeffa\u00a0|\u200b\u202fwhere\u3000b // c\n//d\r\n|e") == ["a", "|", "where", "b", "|", "e"]


def test_places_are_offsets() -> None:
    tokens = tokenize("a  // x\n| b")
    assert list(zip(tokens.starts, tokens.ends, strict=True)) == [(0, 1), (8, 9), (10, 11), (11, 11)]
    assert comments("a  // x\n| b", 1, 8) == [(3, 7)]


@pytest.mark.parametrize(
    ("token", "value"),
    [
        ('"a"', "a"),
        ("'a\"b'", 'a"b'),
        (r'"a\\b\n\t\"\x41é\U0001F600\101"', 'a\\b\n\t"Aé\U0001f600A'),
        (r'@"c:\dir"', r"c:\dir"),
        ('@"a""b"', 'a"b'),
        ("@'a''b'", "a'b"),
        ('h"secret"', "secret"),
        ("h@'c:\\x'", "c:\\x"),
        ("```a\n\"'`b```", "a\n\"'`b"),
        ("~~~a~~b~~~", "a~~b"),
        (r'"\ud800"', "\ufffd"),
    ],
)
def test_strings(token: str, value: str) -> None:
    assert words(token) == [token]
    assert kinds(token) == [STRING]
    assert unquote(token) == value


@pytest.mark.parametrize("text", ['"abc', "'abc", '@"a""', '"a\\"', "```a``", 'h"', "~~~"])
def test_unclosed_strings_are_bad_to_the_end(text: str) -> None:
    assert kinds(text)[-1] == BAD
    assert words(text)[-1].strip("h") == text.strip("h")


def test_an_unclosed_string_ends_with_its_line() -> None:
    assert words("print 'a\n| where b") == ["print", "'a", "|", "where", "b"]


def test_kinds() -> None:
    assert kinds("a 1 'x' ( 3d @") == [NAME, NUMBER, STRING, PUNCTUATION, NUMBER, BAD]


@pytest.mark.parametrize(
    "text", ['"' * 999_999, "'a" * 300_000, "`" * 500_000, "1." * 300_000, "//" + "/" * 500_000, "\\" * 300_000]
)
def test_linear(text: str) -> None:
    started = time.perf_counter()
    tokenize(text)
    assert time.perf_counter() - started < 10
