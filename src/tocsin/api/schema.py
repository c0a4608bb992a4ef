"""The schema for the editor: made once for each state of catalogue, lake and functions, and sent with an ETag."""

from __future__ import annotations

import hashlib
import re
import threading
from typing import Any

import orjson
from fastapi import Request
from starlette.responses import Response

from tocsin.api.conditional import asked_for
from tocsin.api.ports import Workspace
from tocsin.tables import catalogue

__all__ = ["answer"]

_WORD = re.compile(r"[A-Za-z_]\w*")
_lock = threading.Lock()


def answer(workspace: Workspace, request: Request, *, core: bool) -> Response:
    """The schema, or 304 when the asker has this very one. `core` leaves out tables that hold nothing and that no content names."""
    digest, body = _schema(workspace, request.app.state, core=core)
    tag = f'"{digest[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if asked_for(request, tag):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def _schema(workspace: Workspace, made: Any, *, core: bool) -> tuple[str, bytes]:
    catalog = workspace.queries.catalog
    held = {s.table for s in workspace.lake.stats() if s.rows}
    names: set[str] = set(catalog.all_table_names())
    functions = _functions(catalog)
    if core:
        names &= held | _named(workspace, functions)
    own = [(n, _columns(catalog.table(n))) for n in sorted(names) if n not in catalogue()]
    # The declared tables never change while the program runs, so only the rest is looked at to know whether it is the same schema.
    digest = hashlib.sha256(orjson.dumps([core, sorted(names), sorted(held), own, functions])).hexdigest()
    name = f"schema_{'core' if core else 'all'}"
    with _lock:
        kept: tuple[str, bytes] | None = getattr(made, name, None)
    if kept is not None and kept[0] == digest:
        return kept
    # `has_data` may change without the editor having to load its schema anew: the version is that of names, columns, functions.
    shape = hashlib.sha256(orjson.dumps([sorted(names), own, functions])).hexdigest()
    version = workspace.state.schema_version(shape, name)
    tables = []
    for table in sorted(names):
        schema, info = catalog.table(table), catalogue().info(table)
        if schema is not None:
            tables.append(
                {
                    "name": table,
                    "category": info.category if info else "Custom",
                    "doc": schema.doc,
                    "has_data": table in held,
                    "columns": _columns(schema),
                }
            )
    body = orjson.dumps({"version": version, "tables": tables, "functions": functions})
    with _lock:
        setattr(made, name, (digest, body))
    return digest, body


def _columns(schema: Any) -> list[dict[str, str]]:
    if schema is None:
        return []
    return [{"name": c.name, "type": str(c.type), "doc": c.doc} for c in schema.columns if not c.hidden]


def _functions(catalog: Any) -> list[dict[str, str]]:
    found = (catalog.function(n) for n in catalog.function_names())
    return [{"name": f.name, "parameters": f.parameters, "body": f.body, "doc": f.doc} for f in found if f is not None]


def _named(workspace: Workspace, functions: list[dict[str, str]]) -> set[str]:
    """Words of rules and functions: a table that they name is among them."""
    words: set[str] = set()
    for rule in workspace.rules.list():
        words.update(_WORD.findall(str(workspace.rules.get(rule["id"]).get("query", ""))))
    for function in functions:
        words.update(_WORD.findall(function["body"]))
    return words
