"""The Kusto Query Language: text → syntax tree → bound, typed plan → SQL of one engine. Pure: no I/O, knows no table by name.

    >>> from tocsin.kql import compile_query, MappingCatalog
    >>> compiled = compile_query("print 1 + 1", MappingCatalog(), now=clock.now())
    >>> compiled.columns
    (OutColumn(name='print_0', type=<KqlType.LONG: 'long'>, ticks=False),)

Names are loaded when they are first used, because the parts import one another through this package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tocsin.kql.compile import CompiledQuery, OutColumn, Render, compile_query
    from tocsin.kql.diagnostics import Diagnostic, KqlErrors
    from tocsin.kql.parser import parse
    from tocsin.kql.types import Catalog, Column, FunctionSource, KqlType, MappingCatalog, TableSchema

__all__ = [
    "Catalog",
    "Column",
    "CompiledQuery",
    "Diagnostic",
    "FunctionSource",
    "KqlErrors",
    "KqlType",
    "MappingCatalog",
    "OutColumn",
    "Render",
    "TableSchema",
    "compile_query",
    "parse",
]

_HOMES = {
    "compile": ("CompiledQuery", "OutColumn", "Render", "compile_query"),
    "diagnostics": ("Diagnostic", "KqlErrors"),
    "parser": ("parse",),
    "types": ("Catalog", "Column", "FunctionSource", "KqlType", "MappingCatalog", "TableSchema"),
}


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"tocsin.kql.{module}"), name)
    raise AttributeError(f"module 'tocsin.kql' has no attribute '{name}'")
