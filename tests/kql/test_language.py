"""The language service over a small catalog."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest

from tests.kql.trees import corpus
from tocsin.kql import Column, FunctionSource, KqlType, MappingCatalog, TableSchema
from tocsin.kql.language import completion, diagnostics, hover, signature_help
from tocsin.kql.operator_docs import OPERATOR_DOCS, SETTING_DOCS, STATEMENT_DOCS
from tocsin.kql.parser import OPERATORS, STATEMENTS, parse

NOW = datetime(2024, 5, 1, tzinfo=UTC)
CATALOG = MappingCatalog(
    {
        "Events": TableSchema(
            "Events",
            (
                Column("Time", KqlType.DATETIME, "When it happened."),
                Column("Host", KqlType.STRING, "Where."),
                Column("Size", KqlType.LONG),
                Column("Odd name", KqlType.STRING),
                Column("Bag", KqlType.DYNAMIC),
                Column("_Hidden", KqlType.STRING, hidden=True),
            ),
            "What happened.",
        ),
        "Hosts": TableSchema("Hosts", (Column("Host", KqlType.STRING), Column("Owner", KqlType.STRING))),
    },
    {"Recent": FunctionSource("Recent", "T:(*), span:timespan = 1h", "T | where Time > ago(span)", "Rows of late.")},
)


def at(marked: str) -> tuple[str, int]:
    offset = marked.index("¦")
    return marked.replace("¦", ""), offset


def labels(marked: str) -> list[str]:
    text, offset = at(marked)
    return [item.label for item in completion(text, offset, CATALOG)]


@pytest.mark.parametrize(
    ("marked", "first"),
    [
        ("Eve¦", ["Events"]),
        ("Events | wh¦", ["where", "parse-where"]),
        ("Events | project-aw¦", ["project-away"]),
        ("Events | mv-ex¦pand", ["mv-expand"]),
        ("Events | where Ho¦", ["Host", "hourofday"]),
        ("Events | where Host h¦", ["has", "has_all", "has_any"]),
        ("Events | where Host == 'a' a¦", ["and"]),
        ("Events | summarize Size = max(S¦", ["Size"]),
        ("Events | summarize n = count() b¦", ["by", "between"]),
        ("Events | summarize arg_m¦", ["arg_max", "arg_min"]),
        ("Events | sort by Time de¦", ["desc"]),
        ("Events | project A = Host, B = Size | where ¦", ["A", "B"]),
        ("Events | extend X = 1 | project-away ¦", ["Time", "Host", "Size", "Odd name", "Bag", "X"]),
        ("Events | join kind=¦", ["innerunique", "inner", "leftouter"]),
        ("Events | join kind=inner (Ho¦", ["Hosts"]),
        ("Events | join (Hosts | where ¦", ["Host", "Owner"]),
        ("Events | join (Hosts) on $right.¦", ["Host", "Owner"]),
        ("Events | project Host | join (Hosts) on $left.¦", ["Host"]),
        ("union withsource=X Ho¦", ["Hosts"]),
        ("Events | lookup Hos¦", ["Hosts"]),
        ("let mine = 5; print mi¦", ["mine"]),
        ("let T = Events | project Z = 1; T | where ¦", ["Z", "T"]),
        ("let f = (T:(a:long, b:string), n:long) { T | where ¦", ["a", "b", "n", "T"]),
        ("let f = (s:string) { Events | where Host == ¦", ["Time", "Host", "Size", "Odd name", "Bag", "s"]),
        ("print a = dynamic([1]) | mv-apply x = a to typeof(long) on (¦", ["where"]),
        ("print a = dynamic([1]) | mv-apply x = a to typeof(long) on (where ¦", ["a", "x"]),
        ("print a = dynamic([1]) | mv-apply x = a on (extend y = 1 | where ¦", ["a", "x", "y"]),
        ("Events | partition by Host (¦", ["where"]),
        ("Events | partition by Host (top 1 by ¦", ["Time", "Host"]),
        ("Events | render ti¦", ["timechart", "timeline", "timepivot"]),
        ("Events | evaluate bag¦", ["bag_unpack"]),
        ("Events | invoke Re¦", ["Recent"]),
        ("datatable(a:str¦", ["string"]),
        ("Events | mv-expand Bag to typeof(l¦", ["long"]),
        ("search in (Ev¦", ["Events"]),
        ("print toscalar(Ev¦", ["Events"]),
        ("let x = Ev¦", ["Events"]),
        ("pri¦", ["print"]),
        ("le¦", ["let"]),
        ("Events ¦", ["|"]),
        ("Events | where nonsense nonsense | extend y = ¦", ["Time", "Host"]),
        ("Events | where Host in (Ho¦", ["Host"]),
    ],
)
def test_completion(marked: str, first: list[str]) -> None:
    assert labels(marked)[: len(first)] == first


@pytest.mark.parametrize(
    "marked",
    ["print 'Ev¦'", "print 1 // Ev¦", 'print "Ev¦', "let na¦", "Events | extend x = Bag.na¦", "print ```Ev¦```"],
)
def test_nothing_to_complete(marked: str) -> None:
    assert labels(marked) == []


def test_a_completion_says_how_it_is_written_and_what_it_replaces() -> None:
    text, offset = at("Events | where odd¦ity == 1")
    item = completion(text, offset, CATALOG)[0]
    assert (item.label, item.insert, item.kind, item.detail) == ("Odd name", "['Odd name']", "column", "string")
    assert text[slice(*item.span)] == "oddity"
    text, offset = at("print strca¦")
    item = completion(text, offset, CATALOG)[0]
    assert (item.label, item.insert, item.kind) == ("strcat", "strcat(", "function")
    text, offset = at("Events | where Ti¦")
    assert completion(text, offset, CATALOG)[0].doc == "When it happened."


@pytest.mark.parametrize(
    ("marked", "part"),
    [
        ("Eve¦nts | take 1", "**Events** table"),
        ("Events | wh¦ere true", "where predicate"),
        ("Events | project-a¦way Host", "Leaves columns out."),
        ("Events | where H¦ost == ''", "**Host** column, string\n\nWhere."),
        ("Events | join (Hosts) on Host | where Ow¦ner == ''", "**Owner** column, string"),
        ("Events | project N = Size | where ¦N > 1", "**N** column, long"),
        ("print str¦len('a')", "strlen("),
        ("Events | summarize co¦unt()", "number of rows"),
        ("let a = 5; print ¦a", "let a = 5"),
        ("let f = (x:long) { x }; print ¦f(1)", "f(x:long)"),
        ("Events | invoke Rec¦ent()", "Rows of late."),
        ("l¦et a = 1; print a", "Gives a value"),
    ],
)
def test_hover(marked: str, part: str) -> None:
    text, offset = at(marked)
    found = hover(text, offset, CATALOG)
    assert found is not None
    assert part in found.text
    assert found.span[0] <= offset <= found.span[1]


@pytest.mark.parametrize("marked", ["print ¦1", "print 'a¦'", "Events | where Nothing¦ == 1", "¦", "Events ¦ | take 1"])
def test_nothing_to_hover(marked: str) -> None:
    text, offset = at(marked)
    found = hover(text, offset, CATALOG)
    assert found is None or found.span[1] == offset


@pytest.mark.parametrize(
    ("marked", "name", "active"),
    [
        ("print substring('a', ¦", "substring", 1),
        ("print strcat('a', 'b', 'c', ¦", "strcat", 1),
        ("print iff(true, substring('a', 1¦), 2)", "substring", 1),
        ("print iff(true, substring('a', 1), ¦2)", "iff", 2),
        ("Events | summarize arg_max(Time, ¦", "arg_max", 1),
        ("let f = (a:long, b:string) { a }; print f(1, ¦", "f", 1),
        ("Events | invoke Recent(¦", "Recent", 0),
        ("Events | where (Host == tolower(¦", "tolower", 0),
    ],
)
def test_signature_help(marked: str, name: str, active: int) -> None:
    text, offset = at(marked)
    found = signature_help(text, offset, CATALOG)
    assert found is not None
    assert found.label.startswith(f"{name}(")
    assert found.active == active
    assert all(parameter.label in found.label for parameter in found.parameters)


@pytest.mark.parametrize(
    "marked", ["print (¦", "Events | where Host in (¦", "Events | join (¦", "print strlen('a')¦", "nothing(¦"]
)
def test_no_signature(marked: str) -> None:
    text, offset = at(marked)
    assert signature_help(text, offset, CATALOG) is None


def test_diagnostics_are_the_parsers_then_the_binders() -> None:
    assert diagnostics("  ", CATALOG, NOW) == ()
    assert diagnostics("Events | take 1", CATALOG, NOW) == ()
    assert [d.code for d in diagnostics("Events | wher a | tak 1", CATALOG, NOW)] == ["KQL0011", "KQL0011"]
    (found,) = diagnostics("Events | where Hots == ''", CATALOG, NOW)
    assert (found.code, found.line, found.column) == ("KQL0101", 1, 16)
    assert "Host" in found.hint
    (unused,) = diagnostics("let a = 1; let b = 2; print b", CATALOG, NOW)
    assert (unused.severity, unused.message, unused.span) == ("warning", "'a' is defined but not used.", (0, 8))


def test_every_operator_statement_and_setting_is_documented() -> None:
    assert set(OPERATOR_DOCS) == set(OPERATORS)
    assert set(STATEMENT_DOCS) == set(STATEMENTS)
    settings = {name for info in OPERATORS.values() for name in info.settings}
    assert settings - set(SETTING_DOCS) <= {"id", "title", "accumulate", "datascope", "with_step_name"}
    for keyword, doc in OPERATOR_DOCS.items():
        assert doc.syntax.startswith(keyword.split(" ")[0])
        assert doc.doc.endswith(".")
        if doc.example:
            parse(doc.example)


def test_every_plugin_is_documented_and_its_example_runs() -> None:
    from tests.kql.executor import rows
    from tocsin.kql.binder.operators.plugins import REFUSED, plugin_names
    from tocsin.kql.functions import registry
    from tocsin.kql.plugin_docs import PLUGIN_DOCS

    assert sorted(PLUGIN_DOCS) == plugin_names()
    assert not set(PLUGIN_DOCS) & set(REFUSED)
    for name, doc in PLUGIN_DOCS.items():
        assert doc.syntax.startswith(f"{name}(")
        assert doc.doc.endswith(".")
        assert rows(doc.example), name
    page = (Path(__file__).parents[2] / "docs/reference/kql-operators.md").read_text()
    functions = (Path(__file__).parents[2] / "docs/reference/kql-functions.md").read_text()
    assert [n for n in (*PLUGIN_DOCS, *OPERATOR_DOCS) if f"### {n}\n" not in page and not n.startswith("__")] == []
    assert all(f"`{name}`" in page for name in REFUSED)
    entries = (*registry.all_scalars(), *registry.all_aggregates())
    assert [f.name for f in entries if f"### {f.name}\n" not in functions] == []


def test_plugins_are_completed_and_hovered() -> None:
    text = "Events | evaluate bas"
    (found,) = [c for c in completion(text, len(text), CATALOG) if c.label == "basket"]
    assert found.detail.startswith("basket([threshold")
    shown = hover("Events | evaluate basket(0.1)", 20, CATALOG)
    assert shown is not None
    assert "at least a share" in shown.text


def test_the_examples_run() -> None:
    from tocsin.tables import catalogue

    refused = {}
    for keyword, doc in OPERATOR_DOCS.items():
        if doc.example and keyword not in ("externaldata", "fork", "facet", "execute-and-cache"):
            found = diagnostics(doc.example, catalogue(), NOW)
            refused[keyword] = [d.message for d in found if d.severity == "error" and d.code != "KQL0201"]
    assert {keyword: messages for keyword, messages in refused.items() if messages} == {}


def test_any_place_of_real_queries_has_an_answer() -> None:
    chance = random.Random(11)
    for name in ("kql-hunting", "kql-docs"):
        for case in chance.sample(corpus(name), 25):
            text = case["query"]
            for offset in chance.sample(range(len(text) + 1), min(20, len(text))):
                for item in completion(text, offset, CATALOG):
                    assert item.span[0] <= offset <= item.span[1]
                hover(text, offset, CATALOG)
                signature_help(text, offset, CATALOG)
            diagnostics(text, CATALOG, NOW)


class _Lake(MappingCatalog):
    """A catalog with watchlists, as a workspace has."""

    watchlists: ClassVar[dict[str, object]] = {"vips": None, "it's": None}


@pytest.mark.parametrize(
    ("marked", "wanted", "unwanted"),
    [
        ("Events | where Time > a¦", ["ago"], []),
        ("Events | extend X = parse_j¦", ["parse_json"], []),
        ("let x = dyn¦", ["dynamic"], []),
        ("let T = mat¦", ["materialize"], []),
        ("let n = toscalar(Events | count) + 1 ¦", ["|", "and"], []),
        ("Events | where Host matches ¦", ["regex"], ["Host"]),
        ("Events | sort by Time desc nulls ¦", ["first", "last"], ["Time"]),
        ("Events | where ¦", ["strlen"], ["sum", "make_set"]),
        ("Events | summarize ¦", ["sum", "make_set", "strlen"], []),
        ("Events | summarize count() by ¦", ["Host", "bin"], ["sum", "make_set"]),
        ("Events | summarize n = countif(Size > 1) by Host, b¦", ["bin"], ["sum"]),
        ("Events | make-series n = count() on Time from a¦", ["ago"], ["avg"]),
        ("Events | join kind=inner (Hosts) on ¦", ["Host", "$left", "$right"], ["Time", "strlen", "Owner"]),
        ("Events | join kind=inner Hosts on ¦", ["Host"], ["Time"]),
        ("Events | evaluate sess¦", ["session_count"], []),
        ("Events | summarize arg_max(Time, *) by Host | where ¦", ["Time", "Bag"], []),
        ("union Events, Hosts | where ¦", ["Time", "Owner"], []),
        ("Events | project-rename H = Host | where ¦", ["H"], ["Host"]),
        ("Events | project-away Host | where ¦", ["Size"], ["Host"]),
        ("print datetime_add('¦", ["year", "nanosecond"], []),
        ("print datetime_diff('h¦our', now(), now())", ["hour"], ["day"]),
        ("print convert_length(1, 'Me¦", ["Meter"], ["Yard"]),
        ("table('Ho¦')", ["Hosts"], []),
        ("Events | where Host == '¦", [], ["Host"]),
        ("_GetWatchlist('¦')", ["vips", "it's"], []),
        ('Events | where Host in ((_GetWatchlist("v¦', ["vips"], ["it's"]),
        ("externaldata(a:string)['https://example.org/x'] ¦", ["with ("], []),
    ],
)
def test_what_is_offered_where_and_what_is_not(marked: str, wanted: list[str], unwanted: list[str]) -> None:
    text, offset = at(marked)
    offered = {item.label for item in completion(text, offset, _Lake(CATALOG.tables, CATALOG.functions))}
    assert set(wanted) <= offered
    assert not set(unwanted) & offered


def test_a_text_in_quotes_is_replaced_within_them() -> None:
    catalog = _Lake(CATALOG.tables, CATALOG.functions)
    text, offset = at("_GetWatchlist('i¦x') | take 1")
    (item,) = [i for i in completion(text, offset, catalog) if i.label == "it's"]
    assert text[slice(*item.span)] == "ix"
    assert item.insert == "it\\'s"
    text, offset = at("_GetWatchlist('v¦")
    assert completion(text, offset, catalog)[0].span == (15, 16)


def test_a_workspaces_tables_with_rows_come_first() -> None:
    from tocsin.query.catalog import WorkspaceCatalog

    class Lake:
        def schema(self, table: str) -> TableSchema | None:
            return None

        def tables(self) -> list[str]:
            return ["Hosts"]

        def populated(self) -> list[str]:
            return ["Hosts"]

    catalog = WorkspaceCatalog(CATALOG, Lake())
    tables = [item.label for item in completion("", 0, catalog) if item.kind == "table"]
    assert tables == ["Hosts", "Events"]


def test_the_columns_of_a_watchlist_are_known() -> None:
    import pyarrow as pa

    from tocsin.query.catalog import WorkspaceCatalog

    catalog = WorkspaceCatalog(CATALOG, None, {}, {"vips": pa.table({"Mail": ["a"], "Desk": ["b"]})})
    text, offset = at("_GetWatchlist('vips') | where ¦")
    offered = [item.label for item in completion(text, offset, catalog)]
    assert offered[:2] == ["Mail", "Desk"]
    assert "SearchKey" in offered


def test_special_functions_are_known_to_hover_and_signature_help() -> None:
    text, offset = at("print ag¦o(1d)")
    found = hover(text, offset, CATALOG)
    assert found is not None
    assert "ago(span: timespan) → datetime" in found.text
    text, offset = at("print column_ifexists('a', ¦)")
    help_ = signature_help(text, offset, CATALOG)
    assert help_ is not None
    assert (help_.label, help_.active) == ("column_ifexists(name: string!, default: any)", 1)
    text, offset = at("print parse_js¦on('1')")
    found = hover(text, offset, CATALOG)
    assert found is not None
    assert "parse_json(" in found.text
    assert "Another spelling of todynamic." in found.text


@pytest.mark.parametrize(
    ("query", "mended"),
    [
        ("Evnts | take 1", "Events | take 1"),
        ("Events | wher Size > 1", "Events | where Size > 1"),
        ("Events | where Hots == ''", "Events | where Host == ''"),
        ("Events | where Size = 1", "Events | where Size == 1"),
        ("Events\nwhere Size == 1", "Events\n| where Size == 1"),
        ("let a = 1\nprint a", "let a = 1;\nprint a"),
        ("Events | where (Size == 1", "Events | where (Size == 1)"),
        ("Events | where (Size == 1))", "Events | where (Size == 1)"),
        ("Events | join kind=iner Hosts on Host", "Events | join kind=inner Hosts on Host"),
        ("Events | extend first = 1", "Events | extend ['first'] = 1"),
        ("datatable(a:varchar)['x']", "datatable(a:string)['x']"),
        ("Events | where Host matches 'x.*'", "Events | where Host matches regex 'x.*'"),
        ("Events | orderby Size", "Events | order by Size"),
        ("print “a”", 'print "a"'),
    ],
)
def test_fixes_mend_what_they_are_for(query: str, mended: str) -> None:
    for _ in range(3):
        fixes = [d.fix for d in diagnostics(query, CATALOG, NOW) if d.fix is not None]
        if not fixes:
            break
        (start, end), text = fixes[0]
        query = query[:start] + text + query[end:]
    assert query == mended
    assert [d for d in diagnostics(query, CATALOG, NOW) if d.severity == "error"] == []
