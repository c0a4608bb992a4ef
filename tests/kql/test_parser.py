"""Text to tree: one fact a line."""

from __future__ import annotations

import statistics
import time

import pytest

from tests.kql.trees import corpus, expression, query
from tocsin.kql import KqlErrors, ast
from tocsin.kql.parser import OPERATORS, parse, parse_partial

# ---------------------------------------------------------------------------------------------- expressions


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("1 + 2 * 3", "(+ 1 (* 2 3))"),
        ("1 - 2 - 3", "(- (- 1 2) 3)"),
        ("a + b has c", "(+ a (has b c))"),
        ("a == b has c", "(== a (has b c))"),
        ("a or b and c", "(or a (and b c))"),
        ("a and b or c", "(or (and a b) c)"),
        ("a < 1 and b >= 2", "(and (< a 1) (>= b 2))"),
        ("a + 1 < b * 2", "(< (+ a 1) (* b 2))"),
        ("a < b == c", "(== (< a b) c)"),
        ("a <> b", "(!= a b)"),
        ("a !~ 'x'", '(!~ a "x")'),
        ("a matches regex 'x'", '(matches regex a "x")'),
        ("a notcontains 'x'", '(!contains a "x")'),
        ("a has 'x' and b !startswith_cs 'y'", '(and (has a "x") (!startswith_cs b "y"))'),
        ("-x", "(- x)"),
        ("-x.y + 1", "(+ (- (. x y)) 1)"),
        ("-1", "-1"),
        ("- 1d", "timespan:-864000000000"),
        ("1 - -1", "(- 1 -1)"),
        ("(1)", "(paren 1)"),
        ("a.b.c", "(. (. a b) c)"),
        ("a['b'][0]", '(at (at a "b") 0)'),
        ("a.[0].b", "(. (at a 0) b)"),
        ("a.['b c']", '(at a "b c")'),
        ("a.count", "(. a count)"),
        ("['a b']", "[a b]"),
        ('["a b"].c', "(. [a b] c)"),
        ("f()", "f()"),
        ("f(a, b = 1, *)", "f(a b=1 *)"),
        ("f(a).b[1]", "(at (. f(a) b) 1)"),
        ("parse_json(a).[0].b", "(. (at parse_json(a) 0) b)"),
        ("cluster('c').database('d').T", '(. (. cluster("c") database ("d")) T)'),
        ("database('d').f(1)", '(. database("d") f (1))'),
        ("count", "count"),
        ("type == kind", "(== type kind)"),
        ("3rdParty + 1", "(+ 3rdParty 1)"),
        ("x in (1, 2)", "<InList in x (1 2)>"),
        ("x !in~ ('a')", '<InList !in~ x ("a")>'),
        ("x has_any (names)", "<InList has_any x (names)>"),
        ("x in (T | project c)", "<InList in x (T | <Project project (c)>)>"),
        ("x between (1 .. 2)", "<Between x 1 2>"),
        (
            "x !between (ago(1d) .. now() - 1h)",
            "<Between True x ago(timespan:864000000000) (- now() timespan:36000000000)>",
        ),
        ("toscalar(T | count)", "<ToScalar T | <Count count>>"),
        ("toscalar(T)", "<ToScalar T>"),
        ("iff(a, b, c)", "iff(a b c)"),
        ("'a' 'b' @'c'", '"abc"'),
        ("typeof(long)", "<TypeOf long>"),
        ("not(a)", "not(a)"),
        ("$left", "$left"),
        ("true", "True"),
        ("entity_group [a, b]", "entity_group(a b)"),
        ("range(1, 2, 3)", "range(1 2 3)"),
        ("print", "print"),
        ("materialize(T | take 1;)", "materialize(T | <Take take 1>)"),
    ],
)
def test_expressions(text: str, tree: str) -> None:
    assert expression(text) == tree


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("0x1F", "31"),
        ("0xFFFFFFFFFFFFFFFF", "-1"),
        ("9223372036854775807", "9223372036854775807"),
        ("1.5e-3", "0.0015"),
        ("1.", "1.0"),
        ("1d", "timespan:864000000000"),
        ("1.5h", "timespan:54000000000"),
        ("10ms", "timespan:100000"),
        ("1tick", "timespan:1"),
        ("0.1s", "timespan:1000000"),
        ("1microsecond", "timespan:10"),
        ("datetime(2020-01-01)", "datetime:637134336000000000"),
        ("datetime(2020)", "datetime:637134336000000000"),
        ("datetime(2020-01-01 00:00:00.1234567)", "datetime:637134336001234567"),
        ("datetime('2020-01-01T02:00:00+02:00')", "datetime:637134336000000000"),
        ("datetime(1/1/2020 12:00 AM)", "datetime:637134336000000000"),
        ("datetime(Wed, 01 Jan 2020 00:00:00 GMT)", "datetime:637134336000000000"),
        ("datetime(12-31-2019)", "datetime:637133472000000000"),
        ("datetime(2020 - 01 - 01)", "datetime:637134336000000000"),
        ("datetime(null)", "datetime:None"),
        ("datetime()", "now()"),
        ("datetime(8:00)", "(+ startofday(now()) timespan:288000000000)"),
        ("time(1.02:03:04.5)", "timespan:937845000000"),
        ("time('12:30')", "timespan:450000000000"),
        ("time(2)", "timespan:1728000000000"),
        ("timespan(-1d)", "timespan:-864000000000"),
        ("time(-1.00:00:00)", "timespan:-864000000000"),
        ("bool(1)", "True"),
        ("bool(false)", "False"),
        ("int(5)", "int:5"),
        ("int(null)", "int:None"),
        ("long(-5)", "-5"),
        ("long(0xff)", "255"),
        ("real(nan)", "nan"),
        ("real(-inf)", "-inf"),
        ("double(1e3)", "1000.0"),
        ("decimal(1.10)", "decimal:1.10"),
        ("guid(74BE27DE-1E4E-49D9-B579-FE0B331D3642)", "guid:74be27de-1e4e-49d9-b579-fe0b331d3642"),
        ("guid(74be27de1e4e49d9b579fe0b331d3642)", "guid:74be27de-1e4e-49d9-b579-fe0b331d3642"),
        ("dynamic(null)", "dynamic:None"),
        ("dynamic([1, -2.50, 'a\"b', null, true])", 'dynamic:[1,-2.50,"a\\"b",null,true]'),
        ('dynamic({"b": {"c": []}, "a": 1e3})', 'dynamic:{"b":{"c":[]},"a":1e3}'),
        ("dynamic([datetime(2020-01-01), 1d, guid(74be27de1e4e49d9b579fe0b331d3642)])",
         'dynamic:["2020-01-01T00:00:00.0000000Z","1.00:00:00","74be27de-1e4e-49d9-b579-fe0b331d3642"]'),
        ("dynamic(dynamic([1]))", "dynamic:[1]"),
        ("dynamic(-9223372036854775808)", "dynamic:-9223372036854775808"),
        ("dynamic('a')", 'dynamic:"a"'),
    ],
)  # fmt: skip
def test_literals(text: str, tree: str) -> None:
    assert expression(text) == tree


def test_a_long_run_of_or_is_balanced_and_a_short_one_leans_left() -> None:
    assert expression("a or b or c") == "(or (or a b) c)"
    tree = parse("T | where " + " or ".join(f"a == {i}" for i in range(1000)))
    height, level = 0, [tree.statements[0].value.operators[0].predicate]  # type: ignore[attr-defined]
    while level:
        level = [child for node in level if isinstance(node, ast.Binary) for child in (node.left, node.right)]
        height += 1
    assert height < 15


def test_every_node_knows_its_place() -> None:
    text = "T | where a == 1 and (b has 'x') | project-away c, d*"
    statement = parse(text).statements[0]
    assert isinstance(statement, ast.ExpressionStatement)
    pipeline = statement.value
    assert isinstance(pipeline, ast.Pipeline)
    where, away = pipeline.operators
    assert text[slice(*where.span)] == "where a == 1 and (b has 'x')"
    assert text[slice(*away.span)] == "project-away c, d*"
    assert isinstance(where, ast.Where)
    assert isinstance(where.predicate, ast.Binary)
    assert text[slice(*where.predicate.right.span)] == "(b has 'x')"


# ---------------------------------------------------------------------------------------------- operators

OPERATOR_CASES = [
    ("T", "T"),
    ("T | where a == 1", "T | <Where where (== a 1)>"),
    ("T | filter a", "T | <Where filter a>"),
    ("T | extend a = 1, (b, c) = f(), d", "T | <Project extend (a=1 b,c=f() d)>"),
    ("T | project ['a b'] = x, count", "T | <Project project (a b=x count)>"),
    ("T | project", "T | <Project project>"),
    ("T | project-away a*, *_b, ['c d']", "T | <Project project-away (a* *_b [c d])>"),
    ("T | project-keep a", "T | <Project project-keep (a)>"),
    ("T | project-rename a = b", "T | <Project project-rename (a=b)>"),
    ("T | project-reorder a, b* asc, c granny-desc, *",
     "T | <Project project-reorder (a <Ordered b*> <Ordered c True> *)>"),
    ("T | project-by-names a, dynamic(['b']), 'c*'",
     'T | <Project project-by-names (a dynamic:["b"] "c*")>'),
    ("T | distinct *", "T | <Project distinct (*)>"),
    ("T | serialize rn = row_number()", "T | <Project serialize (rn=row_number())>"),
    ("T | serialize", "T | <Project serialize>"),
    ("print 1, a = 2", "<Project print (1 a=2)>"),
    ("T | summarize count() by a, bin(t, 1h)", "T | <Summarize summarize (count()) (a bin(t timespan:36000000000))>"),
    ("T | summarize hint.strategy = shuffle hint.num_partitions=8 n = dcount(a)",
     "T | <Summarize summarize {hint.strategy=shuffle hint.num_partitions=8} (n=dcount(a))>"),
    ("T | summarize by a", "T | <Summarize summarize (a)>"),
    ("T | summarize arg_max(t, *) by a", "T | <Summarize summarize (arg_max(t *)) (a)>"),
    ("T | sort by a asc nulls last, b", "T | <Sort sort (<Ordered a> <Ordered b>)>"),
    ("T | order by a desc nulls first", "T | <Sort order (<Ordered a True True>)>"),
    ("T | top 5 by a desc", "T | <Top top 5 (<Ordered a True>)>"),
    ("T | top-hitters 5 of a by b", "T | <TopHitters top-hitters 5 a b>"),
    ("T | top-nested 2 of a with others='x' by s = sum(v) desc, top-nested of b by max(v)",
     'T | <TopNested top-nested (<TopNestedLevel 2 a "x" <Ordered s=sum(v) True>> <TopNestedLevel b <Ordered max(v)>>)>'),
    ("T | take 5", "T | <Take take 5>"),
    ("T | limit n", "T | <Take limit n>"),
    ("T | sample 5", "T | <Take sample 5>"),
    ("T | sample-distinct 5 of a", "T | <SampleDistinct sample-distinct 5 a>"),
    ("T | count", "T | <Count count>"),
    ("T | count as n", "T | <Count count n>"),
    ("T | getschema", "T | <Simple getschema>"),
    ("T | consume decodeblocks=true", "T | <Simple consume {decodeblocks=True}>"),
    ("T | as hint.materialized=true X", "T | <As as {hint.materialized=True} X>"),
    ("T | join kind=inner hint.remote=left (U | where x) on a, $left.b == $right.c",
     "T | <Join join {kind=inner hint.remote=left} U | <Where where x> (a (== (. $left b) (. $right c)))>"),
    ("T | join U on a", "T | <Join join U (a)>"),
    ("T | join (U) on a", "T | <Join join U (a)>"),
    ("T | join ((U | take 1)) on a", "T | <Join join U | <Take take 1> (a)>"),
    ("T | join materialize(U | take 1) on a", "T | <Join join materialize(U | <Take take 1>) (a)>"),
    ("T | lookup kind=leftouter (U) on a", "T | <Join lookup {kind=leftouter} U (a)>"),
    ("T | join kind=inner (U) where a == b", "T | <Join join {kind=inner} U (== a b)>"),
    ("union T, (U | take 1), V*", "<Union union (T U | <Take take 1> V*)>"),
    ("union withsource=s isfuzzy=true kind=outer *", "<Union union {withsource=s isfuzzy=True kind=outer} (*)>"),
    ("T | union U, database('d').V*", 'T | <Union union (U (. database("d") V*))>'),
    ("T | mv-expand a", "T | <MvExpand mv-expand (<MvColumn a>)>"),
    ("T | mvexpand kind=array x = a to typeof(long), b limit 5",
     "T | <MvExpand mv-expand {kind=array} (<MvColumn x a long> <MvColumn b>) 5>"),
    ("T | mv-expand with_itemindex=i bagexpansion=bag a",
     "T | <MvExpand mv-expand {with_itemindex=i bagexpansion=bag} (<MvColumn a>)>"),
    ("T | mv-apply x = a to typeof(string) limit 3 on (where x == 1 | take 1)",
     "T | <MvApply mv-apply (<MvColumn x a string>) 3 (<Where where (== x 1)> <Take take 1>)>"),
    ("T | parse kind=regex flags=Ui s with * 'a' b:long 'c' d",
     'T | <Parse parse {kind=regex flags=Ui} s (<ParsePart > <ParsePart "a"> <ParsePart b:long> <ParsePart "c"> <ParsePart d:string>)>'
     .replace('"a"', "a").replace('"c"', "c")),
    ("T | parse-where s with 'x=' x:int", "T | <Parse parse-where s (<ParsePart x=> <ParsePart x:int>)>"),
    ("T | parse-kv s as (a:string, b:long) with (pair_delimiter=',', greedy=true)",
     'T | <ParseKv parse-kv s (a:string b:long) {pair_delimiter="," greedy=True}>'),
    ("T | make-series n = count() default = 0, avg(x) on t from a to b step 1d by c",
     "T | <MakeSeries make-series (<MakeSeriesAgg n=count() 0> <MakeSeriesAgg avg(x)>) t a b timespan:864000000000 (c)>"),
    ("T | make-series kind=nonempty sum(x) on t in range(a, b, 1d)",
     "T | <MakeSeries make-series {kind=nonempty} (<MakeSeriesAgg sum(x)>) t a b timespan:864000000000 True>"),
    ("T | partition hint.strategy=native by a (top 1 by b)",
     "T | <Partition partition {hint.strategy=native} a (<Top top 1 (<Ordered b>)>)>"),
    ("T | partition by a { U | where x == a }", "T | <Partition partition a U | <Where where (== x a)>>"),
    (("T | scan with_match_id=m order by t partition by k declare (n:long=0) "
     "with (step s1 optional output=last: true => n = s1.n + 1, k = 2; step s2: x;)"),
     ("T | <Scan scan {with_match_id=m} (<Ordered t>) (k) (<Parameter n long 0>) (<ScanStep s1 True last True (n=(+ (. s1 n) 1) k=2)> "
     "<ScanStep s2 x>)>")),
    ("search 'a'", '<Search search "a">'),
    ("search kind=case_sensitive in (T, U*) c:'a' and * has 'b' and not('d')",
     '<Search search {kind=case_sensitive} (T U*) (and (and (: c "a") (has * "b")) not("d"))>'),
    ("T | search 'a' or (b:'c')", 'T | <Search search (or "a" (paren (: b "c")))>'),
    ("find withsource=s in (T, U*) where a == 1 project b, c:long, pack(*) project-away d",
     "<Find find {withsource=s} (T U*) (== a 1) (b <TypeOf (c:long)> pack(*)) (d)>"),
    ("find 'x' project-smart", '<Find find "x" True>'),
    ("T | fork a = (where x | take 1) (count)", "T | <Fork fork ((a (<Where where x> <Take take 1>)) (- (<Count count>)))>"),
    ("T | facet by a, b with (take 1)", "T | <Facet facet (a b) (<Take take 1>)>"),
    ("T | reduce by s with threshold=0.2, characters='x'", 'T | <Reduce reduce s {threshold=0.2 characters="x"}>'),
    ("T | evaluate bag_unpack(d, 'p_') : (a:string, *)", 'T | <Evaluate evaluate bag_unpack(d "p_") (a:string) True>'),
    ("evaluate f(T | take 1)", "<Evaluate evaluate f(T | <Take take 1>)>"),
    ("T | invoke f(1)", "T | <Invoke invoke f(1)>"),
    ("T | render timechart with (title='x', ycolumns=a, b, kind=stacked)",
     'T | <Render render {title="x" ycolumns="a,b" kind=stacked} timechart>'),
    ("T | render barchart kind=stacked title='x'", 'T | <Render render {kind=stacked title="x"} barchart>'),
    ("T | render 3Dchart", "T | <Render render 3Dchart>"),
    ("range x from 1 to 5 step 1", "<Range range x 1 5 1>"),
    ("datatable(a:string, b:long) ['x', -1, 'y', 2,]", '<Datatable datatable (a:string b:long) ("x" -1 "y" 2)>'),
    ("datatable(a:long) [-9223372036854775808]", "<Datatable datatable (a:long) (-9223372036854775808)>"),
    ("externaldata(a:string) [h@'u' 'v'] with (format='csv', ignoreFirstRecord=true)",
     '<ExternalData externaldata (a:string) ("uv") {format="csv" ignoreFirstRecord=True}>'),
    ("T | make-graph a --> b with U on id, (V) on id2",
     "T | <MakeGraph make-graph a b ((U id) (V id2))>"),
    ("T | make-graph a --> b with_node_id=n partitioned-by p (take 1)",
     "T | <MakeGraph make-graph {with_node_id=n} a b (p (<Take take 1>))>"),
    ("G | graph-match cycles=none (a)-[e]->(b)<-[f*1..3]-(), (a)--(c) where a.x == 1 project a.x, y = b.y",
     ("G | <GraphMatch graph-match {cycles=none} ((<GraphElement a> <GraphElement e ->> <GraphElement b> <GraphElement f <- 1 3> "
     "<GraphElement >) (<GraphElement a> <GraphElement --> <GraphElement c>)) (== (. a x) 1) ((. a x) y=(. b y))>")),
    ("G | graph-shortest-paths output=all (a)-[e*1..9]->(b) project p = e",
     "G | <GraphMatch graph-shortest-paths {output=all} ((<GraphElement a> <GraphElement e -> 1 9> <GraphElement b>)) (p=e)>"),
    ("G | graph-to-table nodes as N with_node_id=i, edges",
     "G | <GraphOther graph-to-table (nodes(as=N with_node_id=i) edges())>"),
    ("G | graph-mark-components kind=weak with_component_id=c", "G | <GraphOther graph-mark-components {kind=weak with_component_id=c}>"),
    ("G | graph-where-nodes a == 1", "G | <GraphOther graph-where-nodes ((== a 1))>"),
    ("macro-expand eg as X (X.T | take 1; print 1)", "<MacroExpand macro-expand eg X ((. X T) | <Take take 1> <Project print (1)>)>"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "tree"), OPERATOR_CASES)
def test_operators(text: str, tree: str) -> None:
    assert query(text) == tree


def test_every_operator_has_a_case() -> None:
    texts = " ".join(text for text, _ in OPERATOR_CASES) + " "
    exempt = {
        "execute-and-cache",
        "external_data",
        "inline_external_table",
        "mvapply",
        "__partitionby",
        "graph-where-edges",
    }
    assert [k for k in OPERATORS if f"{k} " not in texts and f"{k}(" not in texts and k not in exempt] == []


# ---------------------------------------------------------------------------------------------- statements


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("let a = 1; print a;", "<Let a 1>; <Project print (a)>"),
        ("let T = U | take 1; T", "<Let T U | <Take take 1>>; T"),
        ("let T = U; T", "<Let T U>; T"),
        ("let f = (a:long, b:string = 'x') { let c = a; c + 1 }; print f(1)",
         '<Let f <Lambda (<Parameter a long> <Parameter b string "x">) (<Let c a>) (+ c 1)>>; <Project print (f(1))>'),
        ("let f = (T:(a:long, b:string), U:(*)) { T | take 1; }; f(A, B)",
         "<Let f <Lambda (<Parameter T (a:long b:string)> <Parameter U>) T | <Take take 1>>>; f(A B)"),
        ("let v = view () { T }; v", "<Let v <Lambda T True>>; v"),
        ("let f = () { 1 }; f", "<Let f <Lambda 1>>; f"),
        ("let a = datatable(x:long) [1]; a", "<Let a <Datatable datatable (x:long) (1)>>; a"),
        ("let ['a b'] = 1; print 1", "<Let a b 1>; <Project print (1)>"),
        ("let a = (T | take 1); a", "<Let a (paren T | <Take take 1>)>; a"),
        ("set notruncation; set querytrace = true; T", "<SetOption notruncation>; <SetOption querytrace True>; T"),
        ("alias database d = cluster('c').database('x'); T", '<Alias d (. cluster("c") database ("x"))>; T'),
        ("restrict access to (T, U*); T", "<Restrict (T U*)>; T"),
        ("declare query_parameters(a:long = 1, b:string); T", "<DeclareParameters (<Parameter a long 1> <Parameter b string>)>; T"),
        ("declare pattern p = (a:string)[b:string] { ('x').['y'] = { T; }; }; p('x')", '<DeclarePattern p>; p("x")'),
        ("T; U", "T; U"),
        (";;T;;", "T"),
        ("(T | take 1) | count", "(paren T | <Take take 1>) | <Count count>"),
    ],
)  # fmt: skip
def test_statements(text: str, tree: str) -> None:
    assert query(text) == tree


# ---------------------------------------------------------------------------------------------- faults


def faults(text: str) -> list[str]:
    with pytest.raises(KqlErrors) as caught:
        parse(text)
    return [
        f"{d.code} {d.line}:{d.column} {d.message}{' ' + d.hint if d.hint else ''}" for d in caught.value.diagnostics
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Logs | sumarize count() by x", "KQL0011 1:8 There is no operator 'sumarize'. Did you mean 'summarize'?"),
        ("T | project-awy a", "KQL0011 1:5 There is no operator 'project-awy'. Did you mean 'project-away'?"),
        ("T | select a", "KQL0015 1:5 KQL has no operator 'select'. Choose columns with 'project'."),
        (
            "T | assert-schema (a: long)",
            ("KQL0201 1:5 The operator 'assert-schema' is not supported. "
            "See the columns that come with 'getschema', or choose them with 'project'."),
        ),
        ("T | print 1", "KQL0010 1:5 'print' begins a query and can't follow '|'."),
        ("T | where a = 1", "KQL0010 1:13 A value is not assigned here. Equality is written ==."),
        ("T | where a contians 'x'", "KQL0010 1:13 Expected an operator, ',' or '|', but found 'contians'. Did you mean 'contains'?"),
        ("T | where (a == 1", "KQL0013 1:18 The query ends, but the '(' at line 1, column 11 is not closed. Add ')'."),
        ("T | where a == 'x", ("KQL0002 1:16 The string that begins here with ' is not closed on its line. "
         "Add ' at its end; a string over several lines stands between ``` and ```.")),
        ("T | where a == “x”", "KQL0001 1:16 The character '“' (U+201C) has no meaning in a query. Write \" instead."),
        ("T\nwhere a", "KQL0010 2:1 There is no '|' before 'where'. Write | where …."),
        ("T | take 1\nproject a", "KQL0010 2:1 There is no '|' before 'project'. Write | project …."),
        ("let a = 1\nT | take a", "KQL0010 2:1 There is no ';' before 'T'. A statement ends with ';' before the next one begins."),
        ("T | where x in 1, 2", "KQL0010 1:16 Expected '(' after 'in', but found '1'. Write the values in parentheses: in (…)."),
        ("T | join kind=iner U on a", ("KQL0012 1:15 Expected one of innerunique, inner, leftouter, rightouter, fullouter, "
         "leftanti, leftantisemi, anti, … "
         "for 'kind', but found 'iner'. Did you mean 'inner'?")),
        ("T | extend a = int(b)", "KQL0003 1:16 'b' is not a value of type int. int(…) takes a constant; to convert an expression, use toint(…)."),
        ("T | extend a = datetime(tomorrow)", ("KQL0003 1:16 'tomorrow' is not a value of type datetime. "
         "Write it as datetime(2024-01-31 23:59:59); to convert an expression, use todatetime(…).")),
        ("T | extend a = dynamic(b)", ("KQL0010 1:24 Expected a JSON value in dynamic(…), but found 'b'. "
         "It takes constants only; for an expression use bag_pack, pack_array or parse_json.")),
        ('T | extend a = "c:\\dir"', ("KQL0003 1:19 '\\d' is no escape sequence. "
         "Double the backslash, or write the string as @\"…\", which takes every character as it is.")),
        ("T | where a == b == c", "KQL0010 1:18 '==' can't follow another comparison. Put one of the two in parentheses, or join them with 'and'."),
        ("T | where not a", "KQL0010 1:15 Expected an operator, ',' or '|', but found 'a'. Negation is written not(…)."),
        ("T | extend first = 1", "KQL0010 1:12 'first' is a word of the language and no name. Write ['first'] to use it as a name."),
        ("T | extend x = contains(a, 'b')", "KQL0010 1:16 'contains' is an operator, not a function. Write: x contains y."),
        ("datatable(true:bool) [1]", "KQL0010 1:11 'true' is a word of the language and no name. Write ['true'] to use it as a name."),
        ("datatable(a:str) ['x']", "KQL0012 1:13 Expected a type, but found 'str'. Write string."),
        ("T | sort a", "KQL0010 1:10 Expected 'by' after 'sort', but found 'a'. Write: sort by column [asc|desc]."),
        ("T | count()", "KQL0010 1:10 Expected the end of 'count', but found '('. The operator is '| count'; the function is 'summarize count()'."),
        ("T)", "KQL0014 1:2 There is a ')' here that closes nothing. Remove it, or open it before."),
        ("", "KQL0013 1:1 There is no query here."),
        ("// nothing", "KQL0013 1:11 There is no query here."),
        ("T |", "KQL0013 1:4 Expected an operator after '|', but found the end of the query."),
        ("T | where", "KQL0013 1:10 Expected an expression, but found the end of the query. Something is missing before this place."),
        ("where a == 1", "KQL0010 1:1 The query begins with the operator 'where'. A table stands first: Table | where …."),
        ("let f(x:long) = { x }; print 1",
         "KQL0010 1:6 Expected '=' after 'f', but found '('. A function is written: let f = (x:string) { … }."),
        ("print 99999999999999999999", "KQL0003 1:7 99999999999999999999 is out of the range of type long."),
        ("T | parse s with a b", ("KQL0010 1:20 There is no text between the columns 'a' and 'b'. "
         "A pattern needs a text between two columns to know where the first ends.")),
        ("T | mv-expand a to long", "KQL0010 1:20 Expected 'typeof(…)' after 'to', but found 'long'."),
    ],
)  # fmt: skip
def test_faults(text: str, fault: str) -> None:
    assert faults(text)[0] == fault


def test_several_faults_are_told_at_once() -> None:
    found = faults(
        "T | wher a\n| where b == \n| project c d\n| join kind=x (U | tak 1 | where) on a;\nlet = 1; print 2 3"
    )
    assert [f.split(" ")[1] for f in found] == ["1:5", "3:1", "3:13", "4:13", "5:5", "5:18"]


def test_faults_within_a_subquery_are_told_one_by_one() -> None:
    found = faults("T | join (U | tak 1 | wher x) on a | sumarize")
    assert [f.split(" ")[1] for f in found] == ["1:15", "1:23", "1:38"]


def test_what_could_be_read_is_given_to_editors() -> None:
    tree, found = parse_partial("let a = 1; T | where b == 2 | nonsense | take a")
    assert len(found) == 1
    assert [type(s).__name__ for s in tree.statements] == ["Let", "ExpressionStatement"]
    statement = tree.statements[1]
    assert isinstance(statement, ast.ExpressionStatement)
    assert isinstance(statement.value, ast.Pipeline)
    assert [o.keyword for o in statement.value.operators] == ["where", "take"]


def test_an_error_shows_its_line_and_a_caret() -> None:
    with pytest.raises(KqlErrors) as caught:
        parse("T\n| where a == 1\n\t| sumarize count()")
    assert caught.value.render() == (
        "error KQL0011 at line 3, column 4: There is no operator 'sumarize'.\n"
        "3 | \t| sumarize count()\n"
        "  | \t  ^^^^^^^^\n"
        "Did you mean 'summarize'?"
    )
    assert caught.value.code == "KQL0011"
    assert str(caught.value.place) == "3:4"


def test_a_caret_stands_right_below_wide_characters() -> None:
    with pytest.raises(KqlErrors) as caught:
        parse("print '你好', ]")
    lines = caught.value.render().splitlines()
    assert lines[1] == "1 | print '你好', ]"
    assert lines[2] == "  | " + " " * 14 + "^"


def test_a_long_line_is_shown_in_part() -> None:
    with pytest.raises(KqlErrors) as caught:
        parse("print " + "a + " * 90 + "; ; |")
    assert all(len(line) < 260 for line in caught.value.render().splitlines())


# ---------------------------------------------------------------------------------------------- corpora

AUTHORS_ERRORS = 14
"""Hunting queries that no KQL parser takes: prose without comment marks, `=` for `==`, missing `;`, a duplicated half."""


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("kql-hunting", AUTHORS_ERRORS),
        ("kql-oracle-docs", 0),
        ("kql-oracle-fuzz", 0),
        ("kql-docs", 1),
        ("kql-docs-noout", 3),
    ],
)
def test_corpora_parse(name: str, refused: int) -> None:
    bad = []
    for case in corpus(name):
        try:
            parse(case["query"])
        except KqlErrors as error:
            bad.append((case["id"], error.message))
    assert len(bad) <= refused, bad


def test_rejected_syntax_is_refused_with_a_place() -> None:
    refused = []
    for case in corpus("kql-oracle-rejects"):
        _, found = parse_partial(case["query"])
        if found:
            refused.append(case["id"])
        assert all(d.line >= 1 and d.column >= 1 and d.span[0] <= len(case["query"]) for d in found)
    assert len(refused) >= 39, refused


def test_parsing_is_fast() -> None:
    times = []
    for case in corpus("kql-hunting"):
        started = time.perf_counter()
        parse_partial(case["query"])
        times.append(time.perf_counter() - started)
    assert statistics.median(times) < 0.001
