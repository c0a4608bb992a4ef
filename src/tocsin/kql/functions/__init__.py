"""The functions of KQL: a table of entries (`registry`), each with its signature, documentation, examples and lowering.

`MACROS` is the SQL script and `UDFS` are the Python functions that the lowerings rely on; both are made when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tocsin.kql.functions.model import Udf

    MACROS: str
    UDFS: tuple[Udf, ...]

__all__ = ["MACROS", "UDFS"]


def __getattr__(name: str) -> object:
    if name == "MACROS":
        from tocsin.kql.functions.macros import FUNCTION_MACROS

        return FUNCTION_MACROS
    if name == "UDFS":
        from tocsin.kql.functions.python import UDFS

        return UDFS
    raise AttributeError(name)
