"""What the binder decides: names, types, scopes, lets, joins, unions, and what it refuses where."""

from __future__ import annotations

import pytest

from tests.kql.executor import NOW, Executor, rows
from tocsin.kql import Column, FunctionSource, KqlErrors, KqlType, MappingCatalog, TableSchema, compile_query

EVENTS = TableSchema(
    "Events",
    (
        Column("TimeGenerated", KqlType.DATETIME),
        Column("Name", KqlType.STRING),
        Column("Level", KqlType.INT),
        Column("Props", KqlType.DYNAMIC),
        Column("_TimeReceived", KqlType.DATETIME, hidden=True),
    ),
)
OTHER = TableSchema("Other", (Column("Name", KqlType.STRING), Column("Level", KqlType.STRING)))
CATALOG = MappingCatalog(
    {"Events": EVENTS, "Other": OTHER},
    {
        "Recent": FunctionSource("Recent", "least:int = 2", "Events | where Level >= least"),
        "Tag": FunctionSource("Tag", "T:(Name:string), tag:string = 'x'", "T | extend tag = tag"),
        "Twice": FunctionSource("Twice", "n:long", "n * 2"),
        "Loop": FunctionSource("Loop", "", "Loop() | take 1"),
    },
)


def columns(text: str) -> list[str]:
    """The names of a query's columns."""
    return [c.name for c in compile_query(text, CATALOG, now=NOW).columns]


def refused(text: str) -> KqlErrors:
    """The errors of a query that must be refused."""
    with pytest.raises(KqlErrors) as caught:
        compile_query(text, CATALOG, now=NOW)
    return caught.value


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Events", ["TimeGenerated", "Name", "Level", "Props"]),
        ("Events | project Name, _TimeReceived", ["Name", "_TimeReceived"]),
        ("Events | extend Level + 1", ["TimeGenerated", "Name", "Level", "Props", "Column1"]),
        ("Events | project Level + 1, Level * 2", ["Column1", "Column2"]),
        ("Events | project Props.a.b, Props['c'], Props[0]", ["Props_a_b", "Props_c", "Props_0"]),
        ("Events | project tostring(Props.a), Name", ["Props_a", "Name"]),
        ("Events | summarize count() by Name", ["Name", "count_"]),
        ("Events | summarize countif(Level > 1), countif(Level > 2)", ["countif_", "countif_1"]),
        ("Events | summarize sum(Level), make_set(Name), dcount(Name)", ["sum_Level", "set_Name", "dcount_Name"]),
        ("Events | summarize count() by bin(TimeGenerated, 1h)", ["TimeGenerated", "count_"]),
        ("Events | summarize arg_max(TimeGenerated, *) by Name", ["Name", "TimeGenerated", "Level", "Props"]),
        (
            "Events | summarize arg_max(TimeGenerated, Level), count() by Name",
            ["Name", "TimeGenerated", "Level", "count_"],
        ),
        ("Events | summarize count() * 2", ["Column1"]),
        ("Events | count", ["Count"]),
        ("print 1, b = 2, 3", ["print_0", "b", "print_2"]),
        ("let x = 5; print x", ["print_0"]),
        ("Events | join kind=inner Other on Name", ["TimeGenerated", "Name", "Level", "Props", "Name1", "Level1"]),
        ("Events | lookup Other on Name", ["TimeGenerated", "Name", "Level", "Props", "Level1"]),
        ("Events | join kind=leftanti Other on Name", ["TimeGenerated", "Name", "Level", "Props"]),
        ("Events | join kind=rightsemi Other on Name", ["Name", "Level"]),
        ("union Events, Other", ["TimeGenerated", "Name", "Level_int", "Level_string", "Props"]),
        ("union kind=inner Events, Other", ["Name"]),
        ("union withsource=T Events, (Other | project Name)", ["T", "TimeGenerated", "Name", "Level", "Props"]),
        ("Events | project-away *e*", ["Props"]),
        ("Events | project-keep N*", ["Name"]),
        ("Events | project-reorder Props, L*", ["Props", "Level", "TimeGenerated", "Name"]),
        ("Events | project-rename N = Name", ["TimeGenerated", "N", "Level", "Props"]),
        ("Events | mv-expand item = Props to typeof(long) | project item", ["item"]),
        ("Events | parse Name with a ':' b:long", ["TimeGenerated", "Name", "Level", "Props", "a", "b"]),
        ("Events | make-series n = count() on TimeGenerated step 1h by Name", ["Name", "n", "TimeGenerated"]),
        (
            "search in (Events, Other) 'x' | take 1",
            ["$table", "TimeGenerated", "Name", "Level_int", "Level_string", "Props"],
        ),
        ("Recent(3) | project Name", ["Name"]),
        ("Events | invoke Tag('t') | project tag", ["tag"]),
        ("print Twice(4)", ["print_0"]),
        ("Events | getschema", ["ColumnName", "ColumnOrdinal", "DataType", "ColumnType"]),
    ],
)
def test_names(text: str, names: list[str]) -> None:
    """Automatic names, suffixes and orders of columns."""
    assert columns(text) == names


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        ("Events | where Nam == 'x'", "KQL0101", "Name"),
        ("Event | take 1", "KQL0102", "Events"),
        ("Events | extend x = strlne(Name)", "KQL0103", "strlen"),
        ("Events | extend x = strlen()", "KQL0104", ""),
        ("Events | where Name + 1 > 2", "KQL0105", "strcat"),
        ("Events | where TimeGenerated > 'yesterday'", "KQL0105", "todatetime"),
        ("Events | where count() > 1", "KQL0106", ""),
        ("Events | extend p = prev(Level)", "KQL0106", "serialize"),
        ("Events | sort by Props", "KQL0105", "tostring"),
        ("Events | where Name matches regex '('", "KQL0108", ""),
        ("Events | where Name matches regex '(?=x)'", "KQL0108", ""),
        ("Events | join kind=inner Other on Nam", "KQL0101", "Name"),
        ("Events | join kind=sideways Other on Name", "KQL0012", ""),
        ("Events | project a = 1, a = 2", "KQL0109", ""),
        ("externaldata (a:string) ['https://example.org/x.csv']", "KQL0202", ""),
        ("Loop()", "KQL0106", ""),
        ("Events | evaluate python(typeof(*), 'x')", "KQL0202", ""),
        ("Events | take x", "KQL0101", ""),
        ("let f = (n:long) { n }; print f('x')", "KQL0105", ""),
        ("let f = (least:long = 1, most:long = 9) { most - least }; print f(leest = 3)", "KQL0104", "least"),
        (
            "let f = (t:(*), n:long = 1) { t | take n }; Events | invoke f(rows = 3)",
            "KQL0104",
            "argument of f() named 'rows'",
        ),
        ("Events | mv-expand Name", "KQL0105", "parse_json"),
        ("Events | top 3 by Props.a", "KQL0105", ""),
        ("let x = 1", "KQL0106", "nothing"),
    ],
)
def test_refusals(text: str, code: str, word: str) -> None:
    """Every refusal has a code and a place, and says what to write instead where that is known."""
    error = refused(text)
    assert error.code == code, str(error)
    found = error.diagnostics[0]
    assert 0 <= found.span[0] <= found.span[1] <= len(text)
    assert word.lower() in f"{found.message} {found.hint}".lower()


def test_fuzzy_union_forgives_missing_tables_only() -> None:
    """isfuzzy is about tables, not about mistakes."""
    assert columns("union isfuzzy=true Events, NoSuchTable | project Name") == ["Name"]
    assert refused("union isfuzzy=true Events, (Other | where Nope == 1)").code == "KQL0101"


def test_a_let_goes_before_a_column_of_another_spelling() -> None:
    """A stored column answers to another spelling of its name, but not to a name that the query defines."""
    assert columns("Events | project name") == ["name"]
    for text in (
        "let name = 1d; Events | where TimeGenerated > ago(name)",
        "let level = dynamic([1, 2]); Events | where Level in (level)",
        "let level = Events | project Level; Events | where Level in (level)",
        "let f = (name:timespan) { Events | where TimeGenerated > ago(name) }; f(1d)",
        "let name = (x:long) { x }; Events | extend Y = name(Level)",
    ):
        assert "Name" in columns(text), text
    # The column's own spelling is the column, as in Kusto.
    assert refused("let Name = 1d; Events | where TimeGenerated > ago(Name)").code == "KQL0105"


def test_what_a_fuzzy_union_leaves_out_is_told() -> None:
    text = "let lamps = () { Lamps | where A == 1 };\nunion isfuzzy=true Events, (NoSuchTable | take 1), lamps(), NoSuchTable()"
    found = compile_query(text, CATALOG, now=NOW).left_out
    assert [(d.code, d.severity, d.line) for d in found] == [
        ("KQL0031", "warning", 2),
        ("KQL0031", "warning", 1),
        ("KQL0031", "warning", 2),
    ]
    assert "'NoSuchTable'" in found[0].message
    assert compile_query("union isfuzzy=true Events, Events", CATALOG, now=NOW).left_out == ()


def test_let_is_bound_in_the_environment_before_it() -> None:
    """A later let of the same name does not change an earlier one."""
    assert rows("let x = 1; let y = x + 1; let x = 10; print x, y") == [[10, 2]]


def test_lambdas_take_defaults_names_and_tables() -> None:
    """Arguments by position and by name, defaults, tabular parameters."""
    text = """
        let T = datatable(a:long)[1, 2, 3];
        let f = (t:(a:long), least:long = 2, label:string = "x") { t | where a >= least | extend label };
        f(T, label = "y")
    """
    assert rows(text) == [[2, "y"], [3, "y"]]


def test_scalar_functions_read_the_callers_row() -> None:
    """A scalar lambda is its body in place of the call."""
    assert rows("let f = (x:long) { x * x + 1 }; range i from 1 to 3 step 1 | extend y = f(i) | project y") == [
        [2],
        [5],
        [10],
    ]


def test_shared_tables_are_read_under_their_own_aliases() -> None:
    """The same let on both sides of a join."""
    text = (
        "let T = datatable(k:long, v:string)[1,'a', 2,'b']; T | join kind=inner T on k | project v, v1 | order by v asc"
    )
    assert rows(text) == [["a", "a"], ["b", "b"]]


def test_null_is_not_equal_and_not_unequal_to_null() -> None:
    """``!=`` keeps the rows with null, ``null == null`` is null."""
    assert rows("datatable(x:long)[1, long(null)] | where x != 1 | count") == [[1]]
    assert rows("print a = long(null) == long(null), b = long(null) == 1, c = long(null) != 1") == [[None, False, True]]


def test_strings_are_never_null() -> None:
    """Outer joins, unions and failed conversions give the empty string."""
    text = """
        datatable(k:long)[1, 2] | join kind=leftouter (datatable(k:long, s:string)[1, 'a']) on k
        | order by k asc | project s, n = isnull(s), e = isempty(s)
    """
    assert rows(text) == [["a", False, False], ["", False, True]]
    assert rows("union (datatable(a:long)[1]), (datatable(b:string)['x']) | where isempty(b) | count") == [[1]]


def test_data_dependent_columns_come_from_the_resolver() -> None:
    """bag_unpack asks for the keys and types; names that no row has are null afterwards."""
    executor = Executor()
    text = "datatable(d:dynamic)[dynamic({'n':1,'s':'x'}), dynamic({'n':2})] | evaluate bag_unpack(d)"
    assert executor.run(text) == (["n", "s"], [[1, "x"], [2, ""]])
    assert executor.run(text + " | extend z = isnull(nowhere) | project z") == (["z"], [[True], [True]])
    with pytest.raises(KqlErrors) as caught:
        compile_query(text, MappingCatalog(), now=NOW)
    assert caught.value.code == "KQL0201"


def test_mv_apply_keeps_rows_apart() -> None:
    """The sub-query sees one row at a time; without rows an aggregate still has its value over nothing."""
    text = """
        datatable(id:long, xs:dynamic)[1, dynamic([3,1,2]), 2, dynamic([]), 3, dynamic([9])]
        | mv-apply x = xs to typeof(long) on (summarize total = sum(x), n = count()) | project id, total, n | order by id asc
    """
    assert rows(text) == [[1, 6, 3], [2, 0, 0], [3, 9, 1]]
    text = """
        datatable(id:long, xs:dynamic)[1, dynamic([3,1,2]), 3, dynamic([9])]
        | mv-apply x = xs to typeof(long) on (top 1 by x desc) | project id, x | order by id asc
    """
    assert rows(text) == [[1, 3], [3, 9]]


def test_deep_and_long_queries_end_in_errors_not_in_crashes() -> None:
    """Hostile sizes give a refusal (or an answer) in bounded time."""
    assert refused("print " + "(" * 5000 + "1" + ")" * 5000).code.startswith("KQL")
    assert refused("Events" + " | where Level > 1" * 1000).code == "KQL0110"
    text = "let a0 = Events;" + "".join(f"let a{i + 1} = union a{i}, a{i};" for i in range(20)) + "a20 | count"
    compile_query(text, CATALOG, now=NOW)
    wide = "Events | where " + " or ".join(f"Name == 'n{i}'" for i in range(3000))
    compile_query(wide, CATALOG, now=NOW)
    chain = "print x = " + " + ".join(["1"] * 100)
    compile_query(chain, CATALOG, now=NOW)
