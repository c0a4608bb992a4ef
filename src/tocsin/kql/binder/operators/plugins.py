"""evaluate: plugins by name."""

from __future__ import annotations

from tocsin.kql import ast
from tocsin.kql.binder.core import Binder
from tocsin.kql.binder.errors import unsupported
from tocsin.kql.scope import Environment, Relation

__all__ = ["APPLIERS"]


def _evaluate(b: Binder, relation: Relation, node: ast.Evaluate, env: Environment) -> Relation:
    raise unsupported(f"The plugin {node.call.callee}()", node.call.callee_span)


APPLIERS = {ast.Evaluate: _evaluate}
