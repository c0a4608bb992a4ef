"""The emitter for DuckDB: dialect (scalars, strings, literals), relational emission, and what a connection needs first.

`UDFS` are the Python functions to register when a connection is opened, and `MACROS` is the script to run after that.
"""

from __future__ import annotations

from tocsin.kql.emit.duckdb.macros import OPERATOR_MACROS
from tocsin.kql.emit.duckdb.udfs import OPERATOR_UDFS
from tocsin.kql.functions.model import Udf

__all__ = ["MACROS", "UDFS"]


def _functions() -> tuple[str, tuple[Udf, ...]]:
    from tocsin.kql import functions

    return functions.MACROS, (*OPERATOR_UDFS, *functions.UDFS)


def __getattr__(name: str) -> object:
    # Lazily: the functions import the emitter's helpers.
    if name == "MACROS":
        return OPERATOR_MACROS + "\n" + _functions()[0]
    if name == "UDFS":
        return _functions()[1]
    raise AttributeError(name)


MACROS: str
UDFS: tuple[Udf, ...]
