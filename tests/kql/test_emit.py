"""What the emitter makes: fused blocks, escaped text, flags of the compiled query, and the rules for large plans."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import pytest

from tests.kql.executor import NOW, Executor, rows
from tocsin.kql import Column, KqlType, MappingCatalog, TableSchema, compile_query
from tocsin.kql.emit import physical_names
from tocsin.kql.emit.duckdb.regex import RegexError, escape, translate, translate_rewrite
from tocsin.kql.emit.duckdb.udfs import has_term

T = TableSchema(
    "T",
    (
        Column("TimeGenerated", KqlType.DATETIME),
        Column("s", KqlType.STRING),
        Column("n", KqlType.LONG),
        Column("N", KqlType.LONG),
        Column("d", KqlType.DYNAMIC),
    ),
)
CATALOG = MappingCatalog({"T": T, "U": TableSchema("U", (Column("s", KqlType.STRING),))})


def compiled(text: str):
    """Compile against T and U."""
    return compile_query(text, CATALOG, now=NOW)


def test_columns_that_differ_by_case_have_their_own_physical_names() -> None:
    """DuckDB folds case, KQL does not."""
    assert physical_names(T.columns) == ["TimeGenerated", "s", "n", "N__2", "d"]
    executor = Executor(CATALOG)
    executor.add_table(T, [[datetime(2024, 1, 1), "x", 1, 2, "{}"]])  # noqa: DTZ001 - the physical form has no zone
    assert executor.run("T | project n, N") == (["n", "N"], [[1, 2]])


def test_a_run_of_filters_and_columns_is_one_select() -> None:
    """where, extend and project fuse; unread columns are not computed."""
    sql = compiled("T | where n > 1 | extend m = n + 1 | extend unused = strlen(s) | where m > 2 | project m").sql
    assert sql.count("SELECT") == 2
    assert "length" not in sql
    assert '"d"' not in sql


@pytest.mark.parametrize(
    "text", ["it's", 'a"b', "x\\y", "new\nline", "nul\0byte", "$p1 ${x} {0}", "'; DROP TABLE T; --", "😀ẞ\u202e"]
)
def test_text_survives_as_a_literal(text: str) -> None:
    """Values of a query's text are escaped in one place."""
    escaped = "".join(f"\\u{ord(c):04x}" if ord(c) < 32 or c in "\\'\"" else c for c in text)
    assert rows(f"print x = '{escaped}'") == [[text]]
    assert rows(f"print x = '{escaped}' | where x has '{escaped}' or x contains '{escaped}' | count") == [[1]]


def test_flags() -> None:
    """row_wise, uses_now, ordered, tables and render."""
    simple = compiled("T | where n > 1 | extend m = n * 2 | mv-expand d | parse s with a ':' b | project m, d, a")
    assert (simple.row_wise, simple.uses_now, simple.ordered, simple.tables) == (True, False, False, frozenset({"T"}))
    assert not compiled("T | where TimeGenerated > ago(1d)").row_wise
    assert compiled("T | where TimeGenerated > ago(1d)").uses_now
    assert not compiled("T | summarize count()").row_wise
    assert not compiled("T | take 5").row_wise
    assert not compiled("T | join U on s").row_wise
    assert compiled("T | sort by n").ordered
    assert compiled("union T, U").tables == {"T", "U"}
    shown = compiled("T | summarize count() by s | render piechart with (title='x')").render
    assert shown is not None
    assert shown.visualization == "piechart"
    assert shown.properties["title"] == "x"


def test_the_moment_is_an_argument() -> None:
    """now() and ago() are constants of the compilation."""
    at = datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)
    sql = compile_query("print now(), ago(1d)", CATALOG, now=at).sql
    assert "2020-02-03 04:05:06" in sql
    assert "2020-02-02 04:05:06" in sql
    assert "now()" not in sql


def test_parameters_are_constants() -> None:
    """declare query_parameters takes values from outside, typed."""
    text = "declare query_parameters(who:string, least:long = 5); print who, least"
    executor = Executor()
    assert executor.run(text, parameters={"who": "o'neil"})[1] == [["o'neil", 5]]


def test_large_lists_are_one_parameter() -> None:
    """A list of hundreds of values is bound, not spelled."""
    values = ", ".join(f"'v{i}'" for i in range(500))
    query = compiled(f"T | where s in ({values})")
    assert len(query.parameters) == 1
    assert "v499" not in query.sql


def test_reused_expressions_do_not_explode() -> None:
    """Each level doubles its use of the one below: neither the text nor the engine's plan may double with it."""
    text = (
        "T | extend a0 = n + N"
        + "".join(f" | extend a{i + 1} = a{i} * a{i} + a{i}" for i in range(25))
        + " | where a25 > 1 | project a25"
    )
    executor = Executor(CATALOG)
    executor.add_table(T)
    assert len(compiled(text).sql) < 20_000
    assert executor.run(text) == (["a25"], [])


@pytest.mark.parametrize(
    ("text", "needle", "expected"),
    [
        ("alpha_beta", "alpha", True),
        ("alphabeta", "alpha", False),
        ("café", "caf", False),
        ("café", "café", True),
        ("version=1.2.3", "2.3", True),
        ("x日本y", "日本", False),
        ("x 日本", "日本", True),
        ("naïve’s", "naïve", True),
        ("", "a", False),
        ("a", "", True),
        ("powershell.exe", ".exe", True),
    ],
)
def test_terms(text: str, needle: str, expected: bool) -> None:
    """has is about terms of letters and digits of any script; the engine's test and the function agree."""
    assert has_term(text, needle) is expected
    assert rows(f"print x = '{text}' | project x has '{needle}'") == [[expected]]
    assert rows(f"print x = '{text}', y = '{needle}' | project x has y") == [[expected]]
    filler = ", ".join(f"'zz{i}'" for i in range(10))
    assert rows(f"print x = '{text}' | project x has_any ('{needle}', {filler})") == [[expected]]


@pytest.mark.parametrize(
    "pattern",
    [
        r"\d+\.(\w+)",
        r"[\w.-]+@[^\s]+",
        r"(?i)^(?<n>a|b)$",
        r"[\s\S]*?x",
        r"[]a]",
        r"[^\W_]+",
        r"a{2,3}?",
        r"\/",
        r"[a-\d]",
        r"\p{L}{2}",
        r"\x41\u0042",
        r"[A-F0-9]{8,}",
        r"(a|)+",
        r"^$",
    ],
)
def test_regexes_that_the_engine_takes(pattern: str) -> None:
    """What passes the check compiles."""
    duckdb.connect().execute("SELECT regexp_matches('a', ?)", [translate(pattern).pattern])


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        ")",
        "[a",
        "a**",
        "(?=a)",
        r"(a)\1",
        "a{1001}",
        "(a{100}){100}",
        "x*{2}",
        r"\Z",
        "\\",
        "[z-a]",
        "(?<n",
        r"\w{2000}",
        r"(\w{1,300}){3}",
        "*a",
    ],
)
def test_regexes_that_are_refused(pattern: str) -> None:
    """What RE2 would refuse at run time is refused while binding."""
    with pytest.raises(RegexError):
        translate(pattern)


def test_replacements() -> None:
    """Groups beyond the pattern's and a lone backslash would be run-time errors."""
    assert translate_rewrite(r"\1-\\", 1) == r"\1-\\"
    assert translate_rewrite("a\\", 0) == "a\\\\"
    with pytest.raises(RegexError):
        translate_rewrite(r"\2", 1)
    assert translate(escape("a.b*c[d]")).pattern == r"a\.b\*c\[d\]"


def test_tables_whose_names_differ_by_case_are_two_tables() -> None:
    column = (Column("x", KqlType.LONG),)
    tables = {name: TableSchema(name, column) for name in ("Log", "LOG", "log")}
    executor = Executor(MappingCatalog(tables))
    text = "union withsource=t Log, LOG, log | sort by t asc"
    executor.prepare(executor.compile(text))
    for number, name in enumerate(sorted(tables)):
        executor.connection.execute(
            f'INSERT INTO "{executor.compile(text).relations.get(name, name)}" VALUES ({number})'
        )
    assert executor.run(text)[1] == [["LOG", 0], ["Log", 1], ["log", 2]]
