"""Files that a query needn't read: skipped by time and by terms, and never one that holds a row of the answer."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.base.clock import ManualClock
from tocsin.kql import compile_query
from tocsin.kql.needs import terms
from tocsin.kql.types import Column, KqlType, MappingCatalog, TableSchema
from tocsin.lake import Lake, LakeSettings, TableBatch
from tocsin.lake.engine import Engine, QueryResult
from tocsin.lake.engine.terms import TermFilter, build_filter, filter_path
from tocsin.tables import STANDARD_COLUMNS

START = datetime(2024, 5, 1, tzinfo=UTC)
SCHEMA = TableSchema(
    "Things",
    (
        Column("Timestamp", KqlType.DATETIME),
        Column("Name", KqlType.STRING),
        Column("Line", KqlType.STRING),
        Column("Bag", KqlType.DYNAMIC),
        Column("Number", KqlType.LONG),
        *STANDARD_COLUMNS,
    ),
)
OTHER = TableSchema("Others", (Column("Line", KqlType.STRING), Column("Number", KqlType.LONG), *STANDARD_COLUMNS))
CATALOG = MappingCatalog({"Things": SCHEMA, "Others": OTHER})
SETTINGS = LakeSettings(background=False, compact_files=0, term_filter_rows=1)

WORDS = [
    "cmd",
    "powershell",
    "mimikatz",
    "Ärger",
    "straße",
    "K\u212aelvin",
    "İstanbul",
    "ab",
    "x1",
    "",
    "naïve",
    "CMD",
    "日本",
]
JOINTS = [" ", "-", "_", ".", "\\", "/", "", "é", "\n", "'", '"', "\u0301", "½"]


def line(chance: random.Random) -> str:
    return "".join(chance.choice(WORDS) + chance.choice(JOINTS) for _ in range(chance.randrange(4)))


def rows(first: int, lines: list[str], names: list[str], table: str = "Things") -> TableBatch:
    times = pa.array([START + timedelta(hours=first, minutes=i) for i in range(len(lines))], pa.timestamp("us", "UTC"))
    columns = {
        "Line": lines,
        "Number": list(range(first * 100, first * 100 + len(lines))),
        "TimeGenerated": times,
        "_TimeReceived": times,
    }
    if table == "Things":
        columns |= {"Name": names, "Timestamp": times}
    return TableBatch(table, pa.table(columns))


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    chance = random.Random(7)
    with Lake.open(
        tmp_path_factory.mktemp("lake"), clock=ManualClock(START), settings=SETTINGS, catalog=CATALOG
    ) as made:
        for first in range(30):
            for table in ("Things", "Others"):
                made.write(
                    [rows(first, [line(chance) for _ in range(4)], [chance.choice(WORDS) for _ in range(4)], table)]
                )
                made.flush()
        assert made.index() == 60
        yield made


@pytest.fixture(scope="module")
def engine(lake: Lake) -> Iterator[Engine]:
    made = Engine(folders=[lake.path], catalog=CATALOG)
    yield made
    made.close()


def run(engine: Engine, lake: Lake, query: str, *, pruned: bool = True) -> QueryResult:
    compiled = compile_query(query, CATALOG, now=START + timedelta(hours=20))
    if not pruned:
        object.__setattr__(compiled, "needs", {})
    return engine.run(compiled, snapshot=lake.snapshot())


PIECES = st.one_of(
    st.sampled_from(WORDS),
    st.tuples(st.sampled_from(WORDS), st.sampled_from(JOINTS), st.sampled_from(WORDS)).map("".join),
    st.text(st.sampled_from("aAkKx1-_ é"), max_size=4),
)
OPERATORS = [
    "has", "has_cs", "hasprefix", "hassuffix", "contains", "contains_cs", "startswith", "endswith", "==", "=~", "!=", "!has", "!~", "matches regex",
]  # fmt: skip
JOINS = [
    "inner",
    "innerunique",
    "leftouter",
    "rightouter",
    "fullouter",
    "leftanti",
    "rightanti",
    "rightsemi",
    "leftsemi",
]
LISTS = ["in", "in~", "has_any", "has_all", "!in"]


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


@st.composite
def conditions(draw: st.DrawFn, depth: int = 2, columns: tuple[str, ...] = ("Line", "Name")) -> str:
    form = draw(st.integers(0, 6 if depth else 3))
    column = draw(st.sampled_from(columns))
    if form == 0:
        operator = draw(st.sampled_from(OPERATORS))
        piece = draw(PIECES)
        return f"{column} {operator} {quoted(piece if operator != 'matches regex' else 'c.d')}"
    if form == 1:
        return f"{column} {draw(st.sampled_from(LISTS))} ({', '.join(quoted(p) for p in draw(st.lists(PIECES, min_size=1, max_size=10)))})"
    if form == 2:
        time = draw(st.sampled_from(["TimeGenerated", "Timestamp"] if "Name" in columns else ["TimeGenerated"]))
        moment = f"datetime(2024-05-01) + {draw(st.integers(0, 31 * 60))}m + {draw(st.integers(0, 2))}tick"
        return f"{time} {draw(st.sampled_from(['<', '<=', '>', '>=', '==', '!=']))} {moment}"
    if form == 3:
        low = draw(st.integers(0, 30))
        return f"TimeGenerated between (ago({20 - low}h) .. {draw(st.integers(0, 5))}h)"
    if form == 6:
        return f"not({draw(conditions(depth - 1, columns))})"
    word = "and" if form == 4 else "or"
    return f"({draw(conditions(depth - 1, columns))} {word} {draw(conditions(depth - 1, columns))})"


@st.composite
def queries(draw: st.DrawFn) -> str:
    first, second = draw(conditions()), draw(conditions())
    plain = draw(conditions(1, ("Line",)))
    kind = draw(st.sampled_from(JOINS))
    return draw(
        st.sampled_from(
            [
                f"Things | where {first} | project Number",
                f"Things | where {first} | extend Line = tolower(Line) | where {second} | project Number",
                f"Things | extend Twice = strcat(Line, Name) | where {first} | where Twice has 'cmd' | project Number",
                f"Things | sort by Number asc | extend Before = prev(Line) | where {first} | project Number, Before",
                f"Things | take 100000 | where {first} | summarize count() by Name",
                f"Things | top 20 by Number | where {first} | project Number",
                f"let t = Things | where {first}; t | where {second} | project Number | union (t | project Number)",
                f"Things | where {first} | join kind={kind} (Others | where {plain}) on Line | where Line has 'cmd' | summarize count()",
                f"union Things, Others | where {plain} | project Number",
                f"union Things, (Others | where {plain}) | where Name has 'cmd' or Line has 'x1' | project Number",
                f"Others | where Number in ((Things | where {first} | project Number)) | project Number",
                f"Others | where Number > toscalar(Things | where {first} | summarize min(Number)) | project Number",
                f"Things | summarize n = count(), Line = max(Line) by Name | where {plain.replace('TimeGenerated', 'now()')} | project n",
                f"Things | mv-expand Item = split(Line, ' ') to typeof(string) | where Item has 'cmd' and {first} | project Number, Item",
                f"search in (Things, Others) {quoted(draw(st.sampled_from(['cmd', 'mimikatz', 'zzz'])))} | project Number",
            ]
        )
    )


@settings(max_examples=150)
@given(query=queries())
def test_what_is_skipped_never_changes_an_answer(lake: Lake, engine: Engine, query: str) -> None:
    def answer(pruned: bool) -> list[str]:
        return sorted(map(str, run(engine, lake, query, pruned=pruned).rows()))

    assert answer(True) == answer(False)


def test_a_rare_term_opens_one_file(lake: Lake, engine: Engine) -> None:
    lake.write([rows(40, ["rundll32 needle77.dll"], ["x"])])
    lake.flush()
    assert lake.index() == 1
    found = run(engine, lake, "Things | where Line has 'needle77' | project Number")
    assert found.rows() == [[4000]]
    assert found.scanned.files <= 3, "one, and what the filter lets through by chance"
    assert found.scanned.skipped_by_terms >= 28
    assert found.scanned.skipped_bytes > 0


@pytest.mark.parametrize("column", ["TimeGenerated", "Timestamp"])
def test_times_in_the_query_skip_files(lake: Lake, engine: Engine, column: str) -> None:
    found = run(engine, lake, f"Things | where {column} between (ago(3h) .. 1h) | project Number")
    assert (found.scanned.files, found.scanned.skipped_by_time) == (2, len(lake.snapshot().tables["Things"].files) - 2)
    assert sorted(r[0] for r in found.rows()) == [1700, 1701, 1702, 1703, 1800]


def test_a_damaged_or_missing_filter_hides_nothing(lake: Lake, engine: Engine) -> None:
    (file,) = [
        f for f in lake.snapshot().tables["Things"].files if f.times and f.times[0].hour == 3 and f.times[0].day == 1
    ]
    path = filter_path(file.path)
    whole = path.read_bytes()
    query = "Things | where Number == 300 and Line has 'zzzz' | count"
    try:
        chance = random.Random(1)
        for _ in range(50):
            at = chance.randrange(len(whole))
            path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << chance.randrange(8))]) + whole[at + 1 :])
            with TermFilter(file.path) as terms_, TermFilter("/nowhere.parquet") as none:
                assert none.may_hold("zzzz")
                for word in ("cmd", "powershell", "mimikatz", "x1", "ab"):
                    held = run(
                        engine,
                        lake,
                        f"Things | where Number >= 300 and Number < 400 and (Line has '{word}' or Name has '{word}') | count",
                        pruned=False,
                    )
                    if held.rows() != [[0]]:
                        assert terms_.may_hold(word)
        path.write_bytes(whole[:10])
        assert run(engine, lake, query).rows() == [[0]]
    finally:
        path.write_bytes(whole)


@given(st.lists(st.text(max_size=40), min_size=1, max_size=20))
def test_every_term_of_a_text_may_be_in_its_file(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    import pyarrow.parquet as pq

    texts = [t.encode("utf-8", "replace").decode() for t in texts]
    path = tmp_path_factory.mktemp("t") / "a.parquet"
    pq.write_table(pa.table({"Line": texts}), path)
    build_filter(path, ["Line"])
    with TermFilter(path) as held:
        assert held.usable
        for text in texts:
            assert all(held.may_hold(t) for t in terms(text, before=True, after=True))


def test_a_term_that_is_not_there_is_let_through_once_in_a_hundred(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    chance = random.Random(5)

    def word() -> str:
        return "".join(chance.choices(string.ascii_lowercase + string.digits, k=12))

    there = [word() for _ in range(20_000)]
    pq.write_table(pa.table({"Line": there}), tmp_path / "a.parquet")
    assert build_filter(tmp_path / "a.parquet", ["Line"]) == 20_000
    with TermFilter(tmp_path / "a.parquet") as held:
        assert all(held.may_hold(t) for t in there)
        wrong = sum(held.may_hold(word()) for _ in range(20_000))
    assert wrong < 400
    assert filter_path(tmp_path / "a.parquet").stat().st_size < 20_000 * 1.8


def test_the_filter_goes_with_its_file(tmp_path: Path) -> None:
    settings_ = SETTINGS.model_copy(update={"orphan_seconds": 0.001})
    with Lake.open(tmp_path, clock=ManualClock(START), settings=settings_, catalog=CATALOG) as made:
        for first in (1, 2):
            made.write([rows(first, ["a"], ["b"])])
            made.flush()
        made.index()
        assert len(list(tmp_path.rglob("*.terms"))) == 2
        made.compact("Things")
        import time

        time.sleep(0.01)
        made.sweep()
        assert len(list(tmp_path.rglob("*.parquet"))) == 1
        assert list(tmp_path.rglob("*.terms")) == []
        assert made.index() == 1
        assert made.problems == []


def test_the_background_thread_makes_filters(tmp_path: Path) -> None:
    settings_ = LakeSettings(term_filter_rows=1, roll_seconds=0.05, compact_files=0)
    with Lake.open(tmp_path, clock=ManualClock(START), settings=settings_, catalog=CATALOG) as made:
        from tests.lake.test_lake import body

        made.put(made.log.append([body(1)]).result(60), [rows(1, ["a"], ["b"])])
        import time

        end = time.monotonic() + 60
        while not list(tmp_path.rglob("*.terms")):
            assert time.monotonic() < end
            time.sleep(0.02)
