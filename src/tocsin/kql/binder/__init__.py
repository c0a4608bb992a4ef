"""From the syntax tree to the typed plan: names, types, automatic columns and every implicit rule of the language are settled here."""

from __future__ import annotations

from tocsin.kql.binder.core import Binder
from tocsin.kql.binder.errors import BindError
from tocsin.kql.binder.query import bind_query

__all__ = ["BindError", "Binder", "bind_query"]
