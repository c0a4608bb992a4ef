"""Wrap a function of single values as one over Arrow arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from tocsin.kql.functions.model import Udf

__all__ = ["each"]

_ARROW: dict[str, Any] = {
    "VARCHAR": pa.string(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "DOUBLE[]": pa.list_(pa.float64()),
    "BIGINT[]": pa.list_(pa.int64()),
    "VARCHAR[]": pa.list_(pa.string()),
}


def each(name: str, parameters: str, returns: str, function: Callable[..., Any]) -> Udf:
    """A UDF that calls `function` once for each distinct row of arguments.

    `parameters` are DuckDB types with blanks between. A null argument gives null, and so does an exception: text that came from outside
    must not stop a query.
    """
    kind = _ARROW[returns]

    def run(*arrays: Any) -> Any:
        known: dict[Any, Any] = {}
        found = []
        for row in zip(*(a.to_pylist() for a in arrays), strict=True):
            try:
                if row in known:
                    found.append(known[row])
                    continue
                key: Any = row
            except TypeError:
                key = None  # a list among the arguments
            try:
                value = None if any(item is None for item in row) else function(*row)
            except Exception:  # see above: any failure is null
                value = None
            if key is not None:
                known[key] = value
            found.append(value)
        return pa.array(found, kind)

    types = tuple(parameters.split())
    return Udf(name, types, returns, _with_arity(run, len(types)))


def _with_arity(run: Callable[..., Any], count: int) -> Callable[..., Any]:
    """DuckDB reads a function's parameters from its signature, so ``*arrays`` will not do."""
    forms: dict[int, Callable[..., Any]] = {
        1: lambda a: run(a),
        2: lambda a, b: run(a, b),
        3: lambda a, b, c: run(a, b, c),
        4: lambda a, b, c, d: run(a, b, c, d),
        5: lambda a, b, c, d, e: run(a, b, c, d, e),
        6: lambda a, b, c, d, e, f: run(a, b, c, d, e, f),
        7: lambda a, b, c, d, e, f, g: run(a, b, c, d, e, f, g),
        8: lambda a, b, c, d, e, f, g, h: run(a, b, c, d, e, f, g, h),
    }
    return forms[count]
