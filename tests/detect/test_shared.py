"""Rules that look at a table together find what each would find alone."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.detect.test_on_the_lake import House, failure, house, rule, scheduler
from tocsin.base.errors import Place, QueryError
from tocsin.content import load_packs, packs_dir
from tocsin.detect import shared
from tocsin.detect.cases import relation, timed
from tocsin.detect.load import rules_of_content
from tocsin.detect.plan import plan_of
from tocsin.detect.rule import Rule, RuleKind
from tocsin.detect.shared import Group, SharedScans
from tocsin.detect.sieve import Columns, sieves
from tocsin.kql.types import KqlType
from tocsin.lake import TableBatch
from tocsin.lake.engine import Limits, QueryResult, Window
from tocsin.query import QueryService
from tocsin.state.rules import LedgerRow
from tocsin.tables import INGESTION_TIME, catalogue

__all__ = ["house"]

TEXTS = st.sampled_from(
    ["", "cmd.exe", "CMD.EXE", "a cmd.exe b", "Cmd", "ss", "ß", "İstanbul", "istanbul", "\u212aelvin", "kelvin", "user_1", "x" * 40, "é", "É"]
)  # fmt: skip
NEEDLES = st.sampled_from(["", "cmd", "CMD.exe", "cmd.exe", "istanbul", "kelvin", "ss", "É", "user_1", "user", "x"])
TEXT_OPERATORS = [
    "==", "=~", "has", "has_cs", "contains", "contains_cs", "startswith", "startswith_cs", "endswith", "endswith_cs", "hasprefix", "hassuffix",
]  # fmt: skip


def quoted(text: str) -> str:
    return f"'{text}'"


@st.composite
def predicates(draw: st.DrawFn, depth: int = 2) -> str:
    """A condition on the columns A and B (texts) and N (a number)."""
    kind = draw(st.integers(0, 7 if depth else 4))
    column = draw(st.sampled_from("AB"))
    if kind == 0:
        return f"{column} {draw(st.sampled_from(TEXT_OPERATORS))} {quoted(draw(NEEDLES))}"
    if kind == 1:
        operator = draw(st.sampled_from(["in", "in~", "has_any", "has_all", "!in"]))
        return f"{column} {operator} ({', '.join(quoted(n) for n in draw(st.lists(NEEDLES, min_size=1, max_size=3)))})"
    if kind == 2:
        return draw(
            st.sampled_from(
                ["N == 1", "N in (1, 3)", "N != 2", "2 == N", "N in (dynamic([2, 9]))", "N == dynamic([1])"]
            )
        )
    if kind == 3:
        return draw(st.sampled_from([f"isnotempty({column})", f"isempty({column})", f"tolower({column}) == 'cmd'"]))
    if kind == 4:
        return f"{column} == Wanted"
    if kind == 7:
        return f"not({draw(predicates(depth - 1))})"
    joined = " and " if kind == 5 else " or "
    return f"({joined.join(draw(st.lists(predicates(depth - 1), min_size=2, max_size=3)))})"


@pytest.fixture(scope="module")
def engine() -> Iterator[QueryService]:
    made = QueryService(None, catalogue=catalogue())
    yield made
    made.close()


@given(
    predicates(), st.lists(st.tuples(TEXTS | st.none(), TEXTS, st.integers(0, 4) | st.none()), min_size=1, max_size=6)
)
def test_a_sieve_never_keeps_back_a_row(
    engine: QueryService, predicate: str, rows: list[tuple[str | None, str, int | None]]
) -> None:
    a, b, n = zip(*rows, strict=True)
    table = pa.table({"A": pa.array(a, pa.string()), "B": pa.array(b, pa.string()), "N": pa.array(n, pa.int64())})
    query = f"let Wanted = 'cmd.exe'; T_CL | where {predicate} | summarize count() by A"
    found = len(engine.run(query, relations={"T_CL": table}))
    looked = Columns(table, [KqlType.STRING, KqlType.STRING, KqlType.LONG])
    passes = all(any(looked.may_pass(s) for s in alternatives) for alternatives in sieves(query))
    assert passes or not found, predicate


@pytest.mark.parametrize(
    ("predicate", "passes"),
    [
        ("A == 'cmd.exe'", True), ("A == 'CMD.exe'", False), ("A =~ 'CMD.exe'", True), ("A has 'powershell'", False),
        ("A in ('x', 'y')", False), ("A in~ ('x', 'CMD.EXE')", True), ("N == 7", False), ("N == 7 or A == 'cmd.exe'", True),
        ("N == 2 and A == 'cmd.exe'", False), ("A has_all ('cmd', 'exe')", True), ("A has_all ('cmd', 'com')", False),
        ("A contains 'x' and N in (1, 2)", True), ("isempty(A)", False), ("A matches regex 'zzz'", True), ("N > 5", True),
        ("A == Wanted", False), ("A has_any (Names)", False), ("N in (Numbers)", True),
    ],
)  # fmt: skip
def test_what_a_sieve_keeps_back(predicate: str, passes: bool) -> None:
    """Two rows: cmd.exe with 1, and notepad.exe with 2."""
    lets = "let Wanted = 'calc.exe'; let Names = dynamic(['calc', 'word']); let Numbers = dynamic([2, 3]);"
    table = pa.table({"A": ["cmd.exe", "notepad.exe"], "N": pa.array([1, 2], pa.int64())})
    looked = Columns(table, [KqlType.STRING, KqlType.LONG])
    found = sieves(f"{lets} T | where {predicate} | project A")
    assert all(any(looked.may_pass(s) for s in alternatives) for alternatives in found) is passes


def test_a_computed_column_and_a_second_result_are_not_the_table_s() -> None:
    assert sieves("T | extend A = tolower(A) | where A == 'x' | project A") == ()
    assert sieves("T | where A == 'x' | project A; T | where A == 'y'") == ()
    assert sieves("let T = U | where A == 'x'; T | where A == 'y' | project A")[0][0].table == "U"


def filters(count: int, **more: Any) -> list[Rule]:
    """Rules about other users each."""
    text = "SecurityEvent | where EventID == 4625 and TargetUserName == 'u{0}' | project TimeGenerated, TargetUserName, Computer"
    return [rule(text.format(n), id=f"r{n}", name=f"r{n}", **more) for n in range(count)]


def test_twenty_rules_look_once(house: House) -> None:
    shared, _ = scheduler(house, filters(20))
    shared.tick()
    house.clock.advance(timedelta(minutes=1))
    house.write(failure(0.5, "u3"), failure(0.6, "u99"))
    before = house.queries.statistics.queries
    house.clock.advance(timedelta(minutes=1))
    alerts = shared.tick()
    assert [a.rule_id for a in alerts] == ["r3"]
    # One look for all, and the one rule that may find something.
    assert house.queries.statistics.queries - before == 2
    assert shared.shared.figures.spared == 19


def test_too_much_is_looked_at_by_its_values_and_then_not_at_all(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.write(*[failure(1, f"u{n % 7}", WorkstationName=f"w{n}") for n in range(50)])
    window = Window(house.clock.now(), house.clock.now() + timedelta(minutes=5))
    plans = [plan_of(r, LedgerRow(r.id)) for r in filters(10)]
    for plan in plans:
        plan.compile(house.queries, house.clock.now())
    group = Group("event", ("5m",))

    def empty(rows: int, values: int) -> list[str]:
        monkeypatch.setattr(shared, "_ROWS", Limits(rows=rows))
        monkeypatch.setattr(shared, "_VALUES", Limits(rows=values))
        scans = SharedScans(house.queries)
        scans.round("lane", [(p, group) for p in plans])
        return [p.rule.id for p in plans if scans.nothing("lane", p, window, house.clock.now())]

    assert empty(100, 100) == ["r7", "r8", "r9"]
    assert empty(10, 100) == ["r7", "r8", "r9"]
    assert empty(10, 5) == []


def test_few_rules_and_a_table_that_can_not_be_read_ask_by_themselves(house: House) -> None:
    window = Window(house.clock.now(), house.clock.now() + timedelta(minutes=5))
    plans = [plan_of(r, LedgerRow(r.id)) for r in filters(3)]
    for plan in plans:
        plan.compile(house.queries, house.clock.now())
    scans = SharedScans(house.queries)
    scans.round("lane", [(p, Group("event", ())) for p in plans[:2]])
    assert not scans.nothing("lane", plans[0], window, house.clock.now())
    assert scans.figures.looks == 0

    class Broken:
        def run(self, *_: Any, **__: Any) -> QueryResult:
            raise QueryError("no memory", code="QRY0004")

        def compile(self, *_: Any) -> Any:
            raise AssertionError

    scans = SharedScans(Broken())
    scans.round("lane", [(p, Group("event", ())) for p in plans])
    assert not scans.nothing("lane", plans[0], window, house.clock.now())
    assert scans.figures.refused == 1
    scans.nothing("lane", plans[1], Window(house.clock.now(), None), house.clock.now())
    assert scans.figures.looks == 1  # it rests


def test_a_row_that_comes_after_the_look_is_found_by_a_later_round(house: House) -> None:
    """A window of event time may get late rows: what was known of it before them doesn't count any more."""
    count = "SecurityEvent | where EventID == 4625 and TargetUserName == 'u{0}' | summarize N = count() by Computer | where N > 1"
    rules = [rule(count.format(n), id=f"r{n}", name=f"r{n}", period=timedelta(minutes=10)) for n in range(5)]
    made, _ = scheduler(house, rules, eager=False, delay=timedelta(0))
    made.tick()
    house.clock.advance(timedelta(minutes=5))
    house.write(failure(1, "u0"), failure(1.1, "u0"))
    house.clock.advance(timedelta(minutes=6))
    assert [a.rule_id for a in made.tick()] == ["r0"]
    house.write(*[failure(m, "u1", _TimeReceived=house.clock.now()) for m in (1, 1.1)])
    house.clock.advance(timedelta(minutes=10))
    assert [a.rule_id for a in made.tick()] == ["r1"]
    assert made.shared.figures.spared > 0


def test_shipped_rules_say_the_same_together_and_alone(house: House) -> None:
    """The rows of all cases, written together: the same alerts whichever way the rules look."""
    content = load_packs([packs_dir()])
    # The others never look together: nothing is known of what they need.
    rules = [r for r in rules_of_content(content)[0] if r.kind is not RuleKind.SIGMA and sieves(r.query)]
    rules = rules[:: int(os.environ.get("TOCSIN_SHARED_EVERY", "5"))]
    house.queries.set_functions(content.functions)
    house.queries.set_watchlists({w.alias: w.table for w in content.watchlists})
    ways = [scheduler(house, rules, delay=timedelta(0), share_least=least) for least in (3, 0)]
    for made, _ in ways:
        made.tick()
    house.clock.advance(timedelta(minutes=30))
    pieces: dict[str, list[pa.Table]] = {}
    for case in (c for file in content.tests.values() for c in file.cases if c.fires):
        for table, rows in case.rows.items():
            if "." not in table:
                made_rows = moved(relation(table, timed(rows), Place("x"), catalogue()), house)
                pieces.setdefault(table, []).append(made_rows)
    house.lake.write([TableBatch(t, pa.concat_tables(p, promote_options="default")) for t, p in pieces.items()])
    house.clock.advance(timedelta(minutes=11))
    for made, _ in ways:
        made.tick()
    # Not their ids: a query that keeps one of equally late rows (arg_max, take_any) may keep another one the next time.
    together, alone = (Counter((a.rule_id, a.count, a.time, a.end) for a in ledger.alerts) for _, ledger in ways)
    assert together == alone
    assert len({rule_id for rule_id, *_ in alone}) > len(rules) / 4
    assert ways[0][0].shared.figures.spared > len(rules) / 3


def moved(rows: pa.Table, house: House) -> pa.Table:
    """The rows so that the last of them is of now, and received now."""
    now = pa.scalar(house.clock.now().replace(tzinfo=None), pa.timestamp("us"))
    for name in ("TimeGenerated", "Timestamp"):
        if name in rows.column_names:
            times = rows.column(name)
            shift = pc.subtract(now, pc.max(times))
            rows = rows.set_column(rows.column_names.index(name), name, pc.add(times, shift))
    received = pa.repeat(now, rows.num_rows)
    return rows.set_column(rows.column_names.index(INGESTION_TIME), INGESTION_TIME, received)
