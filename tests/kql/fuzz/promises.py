"""What is promised for every text, and a small world to try it in. `check` is the whole of it; the fuzzer and the kept findings call it.

A text is parsed, formatted and read again, bound, run on the real engine over two small tables of every type with odd values, and an editor
asks about a place in it. Allowed are answers, `KqlErrors`, and the engine's limits; anything else is a finding.
"""

from __future__ import annotations

import random
import unicodedata
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, wraps
from typing import Any

import pyarrow as pa

import tocsin.kql.emit.duckdb as dialect
from tocsin.base.errors import QueryError
from tocsin.kql import Column, CompiledQuery, Diagnostic, FunctionSource, KqlErrors, KqlType, TableSchema, compile_query
from tocsin.kql.format import layout
from tocsin.kql.language import completion, hover, signature_help
from tocsin.kql.parser import parse, parse_partial
from tocsin.kql.walk import same_tree, walk
from tocsin.lake.engine import Engine, Limits, arrow_type
from tocsin.lake.settings import MIB, EngineSettings
from tocsin.tables import catalogue

__all__ = ["FindingError", "World", "check"]

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
LIMITS = Limits(rows=2_000, seconds=2.0, result_bytes=4 * MIB)
ALLOWED = ("QRY0002", "QRY0004", "QRY0008", "QRY0012", "QRY0014")

_S, _D = KqlType.STRING, KqlType.DYNAMIC
COLUMNS = (
    Column("s", _S),
    Column("l", KqlType.LONG),
    Column("i", KqlType.INT),
    Column("r", KqlType.REAL),
    Column("b", KqlType.BOOL),
    Column("t", KqlType.DATETIME),
    Column("p", KqlType.TIMESPAN),
    Column("d", _D),
    Column("g", KqlType.GUID),
    Column("TimeGenerated", KqlType.DATETIME),
    Column("Odd name", _S),
)
_time = datetime.fromisoformat  # as stored: without a zone
_GUID = "74be27de-1e4e-49d9-b579-fe0b331d3642"
_T0 = _time("2024-05-01T10:30")
ROWS: tuple[tuple[object, ...], ...] = (
    ("cmd.exe /c whoami", 1, 1, 0.5, True, _T0, 36_000_000_000, '{"a":1,"b":{"c":["x",null]}}', _GUID, _T0, "x"),
    ("", -(2**63), -(2**31), float("nan"), False, _time("1970-01-01"), -1, "[1,2,3]", None, _T0, ""),
    (None, None, None, None, None, None, None, None, None, None, None),
    ("Ünï_\u202e'\"\\%", 2**63 - 1, 2**31 - 1, float("inf"), True, _time("9999-12-31"), 2**62, '"t"', _GUID, _T0, "y"),
    ("10.0.0.1", 0, 0, -0.0, None, _time("0001-01-01"), 0, "[]", None, _time("2024-04-30"), "10.0.0.0/8"),
    ("a=1;b=2", 7, 7, 1e300, False, _T0, 864_000_000_000, "{}", _GUID, _time("2024-04-01"), "z"),
)
_FUNCTIONS = {
    "Stored": FunctionSource("Stored", "x:long, y:string = 'k'", "T | where l > x or s has y"),
    "Scalar": FunctionSource("Scalar", "x:long", "x * 2"),
}


class FindingError(AssertionError):
    """A promise that a text broke."""


class World:
    """Catalogue, rows and engine. Errors inside Python functions, which the engine reads as nulls, are findings too."""

    def __init__(self) -> None:
        self.tables = {name: TableSchema(name, COLUMNS) for name in ("T", "U")}
        columns = zip(COLUMNS, zip(*ROWS, strict=True), strict=True)
        rows = pa.table({c.name: pa.array(values, arrow_type(c.type)) for c, values in columns})
        self.relations = {"T": rows, "U": rows.slice(2, 3)}
        self.shipped = catalogue()
        self.broken: list[str] = []
        given = dialect.UDFS
        dialect.UDFS = tuple(replace(udf, apply=self._noted(udf.name, udf.apply)) for udf in given)
        self.engine = Engine(catalog=self, settings=EngineSettings(memory_bytes=256 * MIB, threads=1, connections=2))
        try:
            self.engine.run(self.compile("print 1"), limits=LIMITS)  # the functions are registered with the first query
        finally:
            dialect.UDFS = given

    def _noted(self, name: str, apply: Any) -> Any:
        @wraps(apply)  # the engine reads the number of parameters from the signature
        def noting(*columns: pa.Array) -> object:
            try:
                return apply(*columns)
            except Exception as error:
                self.broken.append(f"{name}: {type(error).__name__}: {error}")
                raise

        return noting

    def table(self, name: str) -> TableSchema | None:
        """See `tocsin.kql.Catalog`: the two tables, then the shipped ones, which are empty."""
        return self.tables.get(name) or self.shipped.table(name)

    def table_names(self) -> list[str]:
        """The two tables."""
        return list(self.tables)

    def function(self, name: str) -> FunctionSource | None:
        """Two stored functions."""
        return _FUNCTIONS.get(name)

    def function_names(self) -> list[str]:
        """Two stored functions."""
        return list(_FUNCTIONS)

    def compile(self, text: str) -> CompiledQuery:
        """Compiled at the fixed moment, with external data standing as an empty table."""
        return compile_query(text, self, now=NOW, external=lambda *_: None, resolver=lambda part: self.run(part)[1])

    def run(self, compiled: CompiledQuery) -> tuple[list[str], list[list[object]]]:
        """Names and JSON-able rows."""
        result = self.engine.run(compiled, relations=self.relations, limits=LIMITS)
        return result.names, result.rows()


@cache
def world() -> World:
    """The one world of this process."""
    return World()


def check(text: str, *, run: bool = True) -> str:
    """Tries every promise; gives the code of the refusal, or nothing. Raises FindingError, or whatever came out of the code under test."""
    tree, faults = parse_partial(text)
    for node in walk(tree):
        if not 0 <= node.span[0] <= node.span[1] <= len(text):
            raise FindingError(f"a place outside the text: {type(node).__name__} {node.span} of {len(text)}")
    _ask_about(text)
    if faults:
        _shown(faults, text)
        return faults[0].code
    _formatted(text, tree)
    here = world()
    here.broken.clear()
    try:
        compiled = here.compile(text)
        for part in (compiled, *compiled.more) if run else ():
            here.run(part)
    except KqlErrors as error:
        _shown(error.diagnostics, text)
        return error.code
    except QueryError as error:
        if error.code not in ALLOWED and not error.code.startswith("KQL"):
            raise FindingError(f"{error.code} {error.__cause__ or error.message}") from error
        return error.code
    finally:
        if here.broken:
            raise FindingError(here.broken[0])
    return ""


def _formatted(text: str, tree: Any) -> None:
    if len(text) > 100_000:  # four readings of a text; those that the fuzzer makes are short
        return
    once = layout(text, tree)
    again = parse(once)
    if not same_tree(tree, again):
        raise FindingError(f"formatting changed the meaning: {once!r}")
    twice = layout(once, again)
    if once != twice:
        raise FindingError(f"formatting a formatted text changed it: {once!r} to {twice!r}")


def _ask_about(text: str) -> None:
    chance = random.Random(zlib.crc32(text.encode("utf-8", "surrogatepass")))
    place = chance.randrange(len(text) + 1)
    here = world()
    for item in completion(text, place, here):
        if not 0 <= item.span[0] <= item.span[1] <= len(text):
            raise FindingError(f"a completion outside the text: {item.span} of {len(text)}")
    hover(text, place, here)
    signature_help(text, place, here)


def _shown(faults: tuple[Diagnostic, ...], text: str) -> None:
    """A refusal lies in the text, says something, and brings no character that disturbs a terminal."""
    for fault in faults:
        if not 0 <= fault.span[0] <= fault.span[1] <= max(1, len(text)) + 1 or not fault.message:
            raise FindingError(f"a refusal without place or words: {fault}")
        if "duckdb" in fault.message.lower():
            raise FindingError(f"a refusal that speaks of the engine: {fault.message}")
    for char in KqlErrors(faults, text).render():
        if char not in "\n\t" and unicodedata.category(char) in ("Cc", "Cf", "Cs"):
            raise FindingError(f"U+{ord(char):04X} in the text of a refusal")
