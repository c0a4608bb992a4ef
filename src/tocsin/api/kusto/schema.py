"""The schema in the forms that Kusto's tools read: JSON of databases, CSL lists of columns, .NET type names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tocsin.base.errors import KqlError
from tocsin.kql.types import CLR_TYPES, FunctionSource, KqlType, TableSchema
from tocsin.tables import catalogue

__all__ = ["csl", "database_json", "folder", "function_json", "quoted", "table_json"]


def quoted(name: str) -> str:
    """A name as commands and schemas write it: bare when it can be, else ``['odd name']``."""
    if name.isidentifier() and name.isascii():
        return name
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"['{escaped}']"


def csl(table: TableSchema) -> str:
    """The columns as ``name:type, …``."""
    return ", ".join(f"{quoted(c.name)}:{c.type.value}" for c in table.columns if not c.hidden)


def folder(name: str) -> str:
    """What a table is listed under: its category."""
    info = catalogue().info(name)
    return info.category if info else "Custom"


def _column(name: str, kind: KqlType, doc: str = "") -> dict[str, Any]:
    found = {"Name": name, "Type": CLR_TYPES[kind], "CslType": kind.value}
    return {**found, "DocString": doc} if doc else found


def table_json(table: TableSchema) -> dict[str, Any]:
    """A table with its columns."""
    return {
        "Name": table.name,
        "Folder": folder(table.name),
        "DocString": table.doc,
        "OrderedColumns": [_column(c.name, c.type, c.doc) for c in table.columns if not c.hidden],
    }


def function_json(function: FunctionSource) -> dict[str, Any]:
    """A stored function with its parameters."""
    return {
        "Name": function.name,
        "InputParameters": _parameters(function),
        "Body": "{" + function.body + "}",
        "Folder": "",
        "DocString": function.doc,
        "FunctionKind": "Unknown",
        "OutputColumns": [],
    }


def _parameters(function: FunctionSource) -> list[dict[str, Any]]:
    from tocsin.kql import ast
    from tocsin.kql.parser import parse

    try:
        statement = parse(f"let f = ({function.parameters}) {{ print 0 }}; print 0").statements[0]
    except (KqlError, RecursionError):
        return []  # a stored function that doesn't parse is reported where it is loaded
    if not isinstance(statement, ast.Let) or not isinstance(statement.value, ast.Lambda):
        return []
    found: list[dict[str, Any]] = []
    for parameter in statement.value.params:
        if parameter.type is not None:
            found.append(_column(parameter.name, parameter.type))
        else:
            columns = [_column(c.name, c.type) for c in parameter.schema or () if c.type is not None]
            found.append({"Name": parameter.name, "Columns": columns})
    return found


def database_json(
    name: str, tables: Iterable[TableSchema], functions: Iterable[FunctionSource]
) -> Mapping[str, Mapping[str, Any]]:
    """The database, under its name."""
    return {
        name: {
            "Name": name,
            "Tables": {t.name: table_json(t) for t in tables},
            "ExternalTables": {},
            "MaterializedViews": {},
            "EntityGroups": {},
            "MajorVersion": 1,
            "MinorVersion": 0,
            "Functions": {f.name: function_json(f) for f in functions},
            "DatabaseAccessMode": "ReadOnly",
        }
    }
