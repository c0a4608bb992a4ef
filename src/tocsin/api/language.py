"""Findings about a text for whoever asks: the compiler's, and what the asker may not read."""

from __future__ import annotations

from typing import Any

from tocsin.access import ForbiddenError, Principal
from tocsin.api.ports import Workspace
from tocsin.api.positions import Positions, Units
from tocsin.api.problems import diagnostic
from tocsin.kql.compile import columns_of
from tocsin.kql.diagnostics import Diagnostic
from tocsin.kql.language import diagnostics
from tocsin.kql.lexer import tokenize
from tocsin.query.service import check_scopes

__all__ = ["findings"]


def findings(workspace: Workspace, text: str, units: Units, principal: Principal) -> list[dict[str, Any]]:
    """What is wrong with a text, in the shape of the API."""
    catalog, now = workspace.queries.catalog, workspace.clock.now()
    found = diagnostics(text, catalog, now)
    if text.strip() and not any(d.severity == "error" for d in found):
        found = (*found, *_forbidden(text, catalog, now, principal))
    positions = Positions(text, units)
    return [diagnostic(d, positions) for d in found]


def _forbidden(text: str, catalog: Any, now: Any, principal: Principal) -> list[Diagnostic]:
    """The first table that the asker may not read, where the text names it, else at the text's beginning."""
    if getattr(principal, "table_scopes", None) is None:
        return []
    _, tables = columns_of(text, catalog, now=now, resolver=lambda _: ())
    for table in sorted(tables):
        try:
            check_scopes(principal, frozenset((table,)))
        except ForbiddenError as error:
            tokens = tokenize(text)
            k = tokens.values.index(table) if table in tokens.values else 0
            span = tokens.starts[k], tokens.ends[k]
            return [Diagnostic.at(text, span, error.code, error.message, hint=error.hint)]
    return []
