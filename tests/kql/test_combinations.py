"""What binds executes: functions, aggregates and operators put together by chance over columns of every type never give an SQL error.

The generator takes the registry's signatures, not the examples: every argument is a column, a constant or a null of any of the ten types, so
that each implicit conversion is met. ``TOCSIN_COMBINATIONS=200`` looks longer than the few rounds of an ordinary run.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from functools import cache

import pytest

from tests.kql.executor import Executor
from tocsin.kql import Column, KqlErrors, KqlType, MappingCatalog, TableSchema
from tocsin.kql.functions import registry
from tocsin.kql.functions.model import Aggregate, ScalarFunction

ROUNDS = int(os.environ.get("TOCSIN_COMBINATIONS", "1"))
LEFT_OUT = {"assert", "range", "repeat", "make_string"}
"""assert() is there to fail; the others make a million items of one row, which the memory limit stops."""

TYPES = [str(t) for t in KqlType]
CONSTANTS = {
    "string": ['"a"', '""', '"10.0.0.1"', "'{\"a\":[1]}'", '"(a)b*"', '"day"'],
    "long": ["0", "1", "2", "-1", "9223372036854775807", "long(null)"],
    "int": ["int(2)", "int(-3)", "int(null)"],
    "real": ["1.5", "0.0", "-2.5e300", "real(nan)", "real(null)"],
    "decimal": ["decimal(1.5)", "decimal(null)"],
    "bool": ["true", "false", "bool(null)"],
    "datetime": ["datetime(2020-02-29)", "datetime(9999-12-31 23:59:59.9999999)", "datetime(null)"],
    "timespan": ["1h", "1tick", "-10675199d", "timespan(null)"],
    "guid": ["guid(70fc66f7-8279-44fc-9092-d364d70fce44)", "guid(null)"],
    "dynamic": ["dynamic([1,2.5,'x',null])", 'dynamic({"a":{"b":1},"":2})', "dynamic('text')", "dynamic(null)"],
}
CELLS: dict[str, list[object]] = {
    "string": ["", "a", "null", '[1,{"a":2}]', "é😀", "10.0.0.1", "1.5", "x\x00y"],
    "long": [0, 1, -1, 2**63 - 1, -(2**63), None, 64, 7],
    "int": [0, 1, -1, 2**31 - 1, -(2**31), None, 3, 4],
    "real": [0.0, -1.5, float("nan"), float("inf"), -float("inf"), None, 1e308, 5e-324],
    "decimal": [0, "1.5", "-99999999999999999999.5", None, "0.00000000000000001", 1, 2, 3],
    "bool": [True, False, None, True, False, None, True, False],
    "datetime": ["2020-02-29 12:34:56.123456", "0001-01-01", "9999-12-31 23:59:59.999999", None, "1969-12-31", None, "2024-01-01", "2024-01-01"],
    "timespan": [0, 1, -1, 2**63 - 1, -(2**63), None, 36_000_000_000, 864_000_000_000],
    "guid": ["70fc66f7-8279-44fc-9092-d364d70fce44", None] * 4,
    "dynamic": ["[]", "{}", '[1,"a",null,{"k":[]}]', '{"a":{"b":[1]},"":2,"k\\"q":3}', '"text"', "1.5", None, "true"],
}  # fmt: skip


def column(kind: str) -> str:
    return f"c_{kind}"


@cache
def engine() -> Executor:
    """The tables Filled and Empty, with a column of every type."""
    columns = tuple(Column(column(t), KqlType(t)) for t in TYPES)
    schemas = {name: TableSchema(name, columns) for name in ("Filled", "Empty")}
    made = Executor(MappingCatalog(schemas))
    made.add_table(schemas["Filled"], [[CELLS[t][i] for t in TYPES] for i in range(8)])
    made.add_table(schemas["Empty"])
    return made


def term(chance: random.Random, wanted: tuple[KqlType, ...] = ()) -> str:
    """A column, a constant or a null: mostly of a type that is wanted, now and then of any other."""
    kinds = [str(t) for t in wanted] if wanted and chance.random() < 0.8 else TYPES
    kind = chance.choice(kinds)
    if chance.random() < 0.55:
        return column(kind)
    return chance.choice(CONSTANTS[kind])


def call(chance: random.Random, function: ScalarFunction | Aggregate) -> str:
    """A call with as many arguments as the signature lets it have."""
    arguments = []
    for parameter in function.params:
        if parameter.optional and chance.random() < 0.5:
            break
        for _ in range(chance.choice((1, 2, 3)) if parameter.repeated else 1):
            if parameter.constant:
                kind = str(chance.choice(parameter.types or tuple(KqlType)))
                arguments.append(chance.choice(CONSTANTS[kind]))
            else:
                arguments.append(term(chance, parameter.types))
    return f"{function.name}({', '.join(arguments)})"


def check(query: str) -> bool:
    """Run over both tables; False where it is refused. Any other error fails the test."""
    for table in ("Empty", "Filled"):
        text = query.replace("TABLE", table)
        try:
            engine().run(text)
        except KqlErrors:
            return False
        except Exception as error:
            pytest.fail(f"{text}\n{type(error).__name__}: {str(error)[:600]}")
    return True


def seeds(name: str) -> Iterator[random.Random]:
    for number in range(ROUNDS):
        yield random.Random(f"{name}/{number}")


SCALARS = [f for f in registry.all_scalars() if not f.refused and f.name not in LEFT_OUT]


@pytest.mark.parametrize("function", SCALARS, ids=lambda f: f.name)
def test_scalar_functions(function: ScalarFunction) -> None:
    for chance in seeds(function.name):
        made = call(chance, function)
        before = "TABLE | sort by c_long asc, c_string asc" if function.window else "TABLE"
        check(f"{before} | extend r = {made}")
        if not function.window:
            check(f"TABLE | where isnotnull({made}) | summarize r = make_list({made}), count() by k = tostring({made})")


@pytest.mark.parametrize("function", [a for a in registry.all_aggregates() if not a.refused], ids=lambda a: a.name)
def test_aggregates(function: Aggregate) -> None:
    for chance in seeds(function.name):
        made = call(chance, function)
        key = column(chance.choice(TYPES))
        before = chance.choice(("", "| sort by c_long asc"))
        check(f"TABLE {before} | summarize r = {made}")
        check(f"TABLE {before} | summarize {made} by {key}")
        check(
            f"TABLE {before} | make-series r = {made} on c_datetime from datetime(2024-01-01) to datetime(2024-01-03) step 1d by c_bool"
        )


BINARY = [
    "+", "-", "*", "/", "%", "==", "!=", "<", ">=", "has", "!has", "contains_cs", "startswith", "!endswith", "hasprefix_cs", "=~", "!~", "and", "or",
    "matches regex",
]  # fmt: skip


def expression(chance: random.Random, depth: int = 2) -> str:
    """An expression of operators over terms."""
    if depth == 0 or chance.random() < 0.2:
        return term(chance)
    kind = chance.randrange(8)
    inner = lambda: expression(chance, depth - 1)  # noqa: E731
    if kind < 4:
        return f"({inner()} {chance.choice(BINARY)} {inner()})"
    if kind == 4:
        return f"({inner()} {chance.choice(('between', '!between'))} ({inner()} .. {inner()}))"
    if kind == 5:
        word = chance.choice(("in", "!in", "in~", "has_any", "has_all"))
        return f"({inner()} {word} ({', '.join(inner() for _ in range(chance.randrange(1, 4)))}))"
    if kind == 6:
        return chance.choice((f"c_dynamic[{inner()}]", "c_dynamic.a.b", f"(-{inner()})", f"not({inner()})"))
    return f"iff({inner()}, {inner()}, {inner()})"


@pytest.mark.parametrize("number", range(80 * ROUNDS))
def test_expressions(number: int) -> None:
    made = expression(random.Random(f"expression/{number}"))
    check(f"TABLE | extend r = {made} | sort by r asc")
    check(f"TABLE | where {made}")


def operators(chance: random.Random) -> list[str]:
    """Every tabular operator once, over columns of chance types."""
    a, c, d = (column(chance.choice(TYPES)) for _ in range(3))
    e = expression(chance, 1)
    agg = call(chance, chance.choice([x for x in registry.all_aggregates() if not x.refused]))
    kind = chance.choice(
        (
            "inner",
            "innerunique",
            "leftouter",
            "rightouter",
            "fullouter",
            "leftsemi",
            "leftanti",
            "rightsemi",
            "rightanti",
        )
    )
    return [
        f"TABLE | project {a}, r = {e} | distinct *",
        f"TABLE | top 3 by {e} desc nulls first",
        f"TABLE | sort by {a} asc, {c} desc | serialize p = prev({d}), n = next({d}, 2), r = row_number()",
        f"TABLE | join kind={kind} (Filled | project {a}, {c}, x = {d}) on {a}",
        f"TABLE | join kind={kind} Filled on $left.{a} == $right.{c}",
        f"TABLE | lookup (Filled | project {a}, x = {d}) on {a}",
        f"TABLE | union (Filled | project {a} = {e}, {c}), Empty",
        f"union withsource=s TABLE, (print {a} = {e})",
        f"TABLE | mv-expand {a} to typeof({chance.choice(TYPES)})",
        f"TABLE | mv-expand with_itemindex=i {a}, {c} limit 3",
        f"TABLE | mv-apply x = c_dynamic on (where isnotnull(x) | extend y = {a} | top 2 by y)",
        f"TABLE | mv-apply x = c_dynamic to typeof({chance.choice(TYPES)}) on (summarize r = {agg}, m = max(x))",
        f"TABLE | summarize {agg}, take_any({a}), arg_max({c}, *) by {d}",
        f"TABLE | summarize count() by bin({a}, {term(chance)}), r = {e}",
        f"TABLE | top-nested 2 of {a} by {agg}, top-nested 1 of {c} by count()",
        f"TABLE | top-hitters 2 of {a} by {c}",
        f"TABLE | sample-distinct 2 of {a}",
        f"TABLE | partition hint.strategy=native by {a} (top 1 by {c})",
        f"TABLE | parse {a} with * 'a' x:{chance.choice(('long', 'real', 'datetime', 'timespan', 'string', 'bool', 'guid', 'dynamic'))} 'b' *",
        f"TABLE | parse-where kind=relaxed {a} with x:long ',' y:real",
        f"TABLE | parse-kv {a} as (x:long, y:string, z:datetime) with (pair_delimiter=';', kv_delimiter='=')",
        f"TABLE | make-series m = {agg} default=0 on {a} step {term(chance)} by {c}",
        f"TABLE | search 'a' or {a} == {term(chance)}",
        f"TABLE | where * has 'a' or {e}",
        f"find in (TABLE, Empty) where {a} == {term(chance)} project {a}, {c}",
        f"TABLE | sort by {a} asc | scan with (step s: true => x = coalesce(s.x, {term(chance)});)",
        f"TABLE | sort by {a} asc | scan declare (n:long = 0, v:{chance.choice(TYPES)}) with (step s: {e} => n = s.n + 1;)",
        f"TABLE | fork (where {e} | count) (summarize {agg})",
        f"TABLE | facet by {a}, {c} with (summarize {agg})",
        f"TABLE | extend g = pack_all(), {a} = {e} | project-away {c} | getschema",
        f"TABLE | evaluate pivot({a}, {agg}, {c}) | take 1",
        "TABLE | evaluate bag_unpack(c_dynamic)",
        f"TABLE | evaluate narrow() | where Value == {term(chance)}",
        f"let f = (x:{chance.choice(TYPES)}) {{ x }}; TABLE | extend r = f({a})",
        f"let s = toscalar(TABLE | summarize {agg}); TABLE | extend r = s | where {a} == s",
        f"let t = TABLE | project {a}; TABLE | where {a} in (t) or {c} !in~ (t)",
        f"TABLE | reduce by {a}",
        f"range x from {term(chance)} to {term(chance)} step {term(chance)} | take 3",
        f"TABLE | project n = tostring({a}), m = tostring({c}) | make-graph n --> m with_node_id=id | graph-match (a)-[e]->(b) project a.id, b.id",
    ]


@pytest.mark.parametrize("number", range(3 * ROUNDS))
def test_operators(number: int) -> None:
    for query in operators(random.Random(f"operators/{number}")):
        check(query)


def test_enough_of_it_binds() -> None:
    """The generator would be worthless if nearly all that it makes were refused."""
    chance = random.Random("binds")
    ran = [check(query) for _ in range(3) for query in operators(chance)]
    assert sum(ran) > len(ran) / 3
