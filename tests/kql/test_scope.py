"""Every construct that the language's description names runs on a small table, or is refused by policy with its reason.

One line a construct, so that what is missing fails by its own name.
"""

from __future__ import annotations

from functools import cache

import pytest

from tests.kql.executor import Executor
from tocsin.kql import KqlErrors

TABLE = """let T = datatable(a:long, b:string, t:datetime, d:dynamic, r:real) [1, 'x', datetime(2024-01-01), dynamic({'k':[1,2]}), 1.5,
    2, 'y', datetime(2024-01-02), dynamic({'k':[3]}), 2.5, 2, 'x', datetime(2024-01-03), dynamic(null), real(null)];
    let f = (X:(*)) { X | take 1 };
"""
GRAPH = """let N = datatable(id:string, kind:string) ['a','u', 'b','h', 'c','h', 'd','h'];
    let L = datatable(s:string, t:string, w:long) ['a','b',1, 'b','c',2, 'c','a',3, 'c','d',4];
"""

PIPED = """
as hint.materialized=true X | where a == 1
consume decodeblocks=true
count as C
distinct *
facet by a, b with (take 1)
filter a == 1
fork x=(count) y=(take 1)
getschema
execute-and-cache
invoke f()
limit 1
lookup kind=inner (T) on a
lookup kind=leftouter T on $left.a == $right.a
join kind=innerunique (T) on a
join kind=leftantisemi T on a
join kind=rightantisemi T on a
join kind=leftsemi T on a
join kind=rightsemi T on a
join kind=fullouter T on a
join kind=rightouter T on a
join hint.shufflekey=a hint.strategy=shuffle kind=inner (T) on $left.a == $right.a and $left.b == $right.b
make-series c=count() default=0, avg(r) default=real(null) on t step 1d
make-series kind=nonempty count() on t from datetime(2024-01-01) to datetime(2024-01-04) step 1d by b
make-series count() on t in range(datetime(2024-01-01), datetime(2024-01-04), 1d)
make-series sum(r) on a from 0 to 5 step 1
mv-expand bagexpansion=array d
mv-expand kind=bag d
mv-expand with_itemindex=i x=d.k to typeof(long), y=d.k limit 1
mvexpand d
mv-apply with_itemindex=i x=d.k to typeof(long) limit 1 on (where x > 1)
mv-apply id=a x=d.k on (top 1 by tolong(x))
order by a asc nulls last, b desc
parse kind=regex flags=Ui b with "x" rest
parse kind=relaxed b with "x" n:long
parse kind=simple b with * "x" *
parse-where kind=regex b with "x"
parse-kv b as (x:string) with (pair_delimiter=";", kv_delimiter="=", quote="'", escape="\\\\")
parse-kv b as (x:string) with (greedy=true, pair_delimiter=" ", kv_delimiter="=")
parse-kv b as (x:string) with (regex=@"(\\w+)=(\\w+)")
partition hint.strategy=native by a (top 1 by t)
partition hint.strategy=shuffle by a (summarize count())
partition hint.strategy=legacy by a {T | where a == toscalar(a) | take 1}
partition hint.concurrency=2 hint.spread=1 by a (take 1)
project-away b*
project-keep a*
project-rename z = a
project-reorder b granny-asc, * asc
project-by-names "a", dynamic(["b"])
reduce kind=source by b with threshold=0.5, characters="-"
render timechart with (title="x", xcolumn=t, ycolumns=a, series=b, kind=stacked, legend=hidden, ysplit=panels, xaxis=log, ymin=0, ymax=10)
render graph
sample 1
sample-distinct 1 of a
serialize rn = row_number()
search kind=case_sensitive b:"x" and a == 1
sort by t asc | scan with_match_id=m partition by b declare (c:long=0) with (step s output=all: a == 1 => c = a; step u: a == 2 => c = s.c + 1;)
summarize hint.shufflekey=a hint.num_partitions=4 count() by bin(t, 1d), b
top 2 by a asc nulls first
top-hitters 2 of b by a
top-nested 1 of a with others=0 by count(), top-nested of x = b with others='o' by c = sum(a) desc
union kind=inner withsource=S isfuzzy=true T, Nope
evaluate bag_unpack(d, 'p_', columnsConflict='keep_source', ignoredProperties=dynamic(['z'])) : (*, p_k:dynamic)
evaluate hint.distribution=per_node narrow()
evaluate pivot(b, sum(a), t) : (t:datetime, x:long)
getschema | evaluate schema_merge(true)
"""

QUERIES = """
range x from datetime(2024-01-01) to datetime(2024-01-03) step 1d
print 1, x = 2
find withsource=S in (T) where a == 1 project a, pack(*)
find datascope=all in (T) where * has "x" project-away b
find in (T) where a == 1 project-smart
search in (T) "x"
declare query_parameters(p:long = 5); print p
declare pattern app = (i:string)[e:string] { ("A").["E"] = { print 1 }; }; app("A").E
set notruncation; print 1
let V = view () { T }; union V*
let g = (x:long, y:long = 2) { x + y }; print g(1)
let g = (X:(a:long)) { X | count }; g(T)
let m = materialize(T); m | count
print toscalar(T | count)
print 1; print 2
"""

GRAPHS = """
graph-match (x)-[e]->(y)-[f]->(z), (z)-[g]->(x) project x.id, e.w
graph-match (x)<-[e]-(y) project x.id
graph-match (x)--(y) project x.id
graph-match cycles=all (x)-[e*1..4]->(y) where x.id == "a" and all(e, w > 0) project y.id, p = map(e, w)
graph-match cycles=none (x)-[e*0..4]->(y) where any(e, w == 1) project n = array_length(e)
graph-match cycles=unique_edges (x)-[e*1..4]->(y) project map(inner_nodes(e), id)
graph-match (x)-[e]->(y) where node_degree_in(y) > 0 and node_degree_out(x) > 0 project x.id
graph-shortest-paths output=all (x)-[e*1..5]->(y) where x.id == "a" and y.id == "d" project p = map(e, w)
graph-shortest-paths output=any (x)<-[e*1..5]-(y) project y.id
graph-to-table nodes as A with_node_id=n, edges as B with_source_id=s1 with_target_id=t1
graph-mark-components kind=strong with_component_id=C | graph-to-table nodes
graph-where-nodes kind == "h" | graph-to-table nodes
graph-where-edges w > 1 | graph-to-table edges
"""

MAKE_GRAPHS = """
make-graph s --> t
make-graph s --> t with_node_id=nid | graph-to-table nodes
make-graph s --> t with N on id, (N | project other = id) on other | graph-to-table nodes
make-graph s --> t with N on id partitioned-by w (graph-to-table edges)
"""

AGGREGATES = """
arg_max(a, *) arg_min(a, b) avg(a) avgif(a, a>1) binary_all_and(a) binary_all_or(a) binary_all_xor(a) buildschema(d) count() countif(a>1)
count_distinct(a) count_distinctif(a, a>1) covariance(a, r) covarianceif(a, r, a>1) covariancep(a, r) covariancepif(a, r, a>1)
dcount(a, 4) dcountif(a, a>1, 2) dcount_hll(hll(a)) hll(a, 3) hll_if(a, a>1) make_bag(d, 10) make_bag_if(d, a>1, 10) make_dictionary(d)
make_list(a, 2) make_list_if(a, a>1, 2) make_list_with_nulls(r) make_set(a, 2) make_set_if(a, a>1, 2) max(a) maxif(a, a>1) min(a) minif(a, a>1)
percentile(a, 50) percentiles(a, 50, 90) percentiles_array(a, dynamic([50, 90])) percentilew(a, a, 50) percentilesw(a, a, 50, 90)
percentilesw_array(a, a, 50) percentile_tdigest(tdigest(a), 50) percentiles_array_tdigest(tdigest(a), 50) percentrank_tdigest(tdigest(a), 2)
rank_tdigest(tdigest(a), 2) stdev(a) stdevif(a, a>1) stdevp(a) sum(a) sumif(a, a>1) take_any(*) take_any(a, b) take_anyif(a, a>1) tdigest(a, a)
variance(a) varianceif(a, a>1) variancep(a) variancepif(a, a>1) any(a) argmax(a, b) argmin(a, b) makelist(a) makeset(a)
"""

REFUSED = """
workspace('x').T
adx('https://x').T
arg('').Resources
cluster('x').database('y').T
database('y').T
app('x').requests
resource('x').T
external_table('x')
materialized_view('x')
stored_query_result('x')
graph('x')
externaldata(a:string)['https://x/y.csv']
inline_external_table (a:string) kind=storage dataformat=csv ('https://x')
alias database D = cluster('x').database('y'); print 1
macro-expand isfuzzy=true entity_group [database('a'), database('b')] as X (X.T)
evaluate sql_request('a', 'b')
print 1 | evaluate python(typeof(*), 'x')
print 1 | evaluate r(typeof(*), 'x')
print 1 | evaluate http_request('https://x')
print 1 | evaluate infer_storage_schema('x')
print x = hash_combine(1, 2)
"""


@cache
def engine() -> Executor:
    return Executor()


def lines(text: str) -> list[str]:
    """The cases of a text."""
    return [line for line in text.strip().splitlines() if line]


def aggregates() -> list[str]:
    """Calls, one after another, whatever brackets are inside them."""
    found, depth, begun = [], 0, 0
    for place, char in enumerate(AGGREGATES):
        depth += (char == "(") - (char == ")")
        if char == ")" and depth == 0:
            found.append(AGGREGATES[begun : place + 1].strip())
            begun = place + 1
    return found


def failures(queries: dict[str, str]) -> dict[str, str]:
    """What does not run, and why."""
    found = {}
    for name, query in queries.items():
        try:
            engine().run(query)
        except KqlErrors as error:
            found[name] = f"{error.diagnostics[0].code} {error.diagnostics[0].message}"
    return found


def test_operators_and_their_parameters() -> None:
    assert failures({line: f"{TABLE} T | {line}" for line in lines(PIPED)}) == {}


def test_sources_and_statements() -> None:
    assert failures({line: TABLE + line for line in lines(QUERIES)}) == {}


def test_graphs() -> None:
    graphs = {line: f"{GRAPH} L | make-graph s --> t with N on id | {line}" for line in lines(GRAPHS)}
    graphs |= {line: f"{GRAPH} L | {line}" for line in lines(MAKE_GRAPHS)}
    assert failures(graphs) == {}


def test_aggregates() -> None:
    assert failures({call: f"{TABLE} T | summarize {call}" for call in aggregates()}) == {}
    assert (
        failures({n: f"{TABLE} T | summarize h = {n}(a) by b | summarize {n}_merge(h)" for n in ("hll", "tdigest")})
        == {}
    )


@pytest.mark.parametrize("query", lines(REFUSED))
def test_what_is_refused_by_policy(query: str) -> None:
    with pytest.raises(KqlErrors) as caught:
        engine().run(query)
    found = caught.value.diagnostics[0]
    assert found.code == "KQL0202", found.message
    assert len(found.message) > 30


def test_others_of_top_nested() -> None:
    query = """datatable(s:string, k:string, v:long) ['A','x',10, 'A','y',5, 'A','z',1, 'B','x',7, 'B','y',1, 'C','q',3, 'D','q',2]
        | top-nested 2 of s with others='All others' by sum(v), top-nested 1 of k with others='rest' by total = sum(v)
        | sort by s asc, total desc"""
    assert engine().run(query)[1] == [
        ["A", 16, "x", 10],
        ["A", 16, "rest", 6],
        ["All others", 5, "rest", 5],
        ["B", 8, "x", 7],
        ["B", 8, "rest", 1],
    ]
