"""`lake.purge`: purging rows as an action of the gate, so that somebody approves it before anything goes."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from tocsin.access import Principal, system
from tocsin.incidents.life import Actor
from tocsin.respond.kind import ActionInput, Approval, Context, Outcome, OutsideKind
from tocsin.workspace.erasure import Erasure

__all__ = ["PurgeRows"]

_PERMISSIONS = ("lake.purge", "lake.delete")


class PurgeInput(ActionInput):
    """Which rows, and how many the preview said."""

    table: str = Field(min_length=1, max_length=256, description="The table")
    condition: str = Field(min_length=1, max_length=10_000, description="A KQL condition, as it stands after where")
    expected: int = Field(ge=0, description="Rows that the preview named: of the table, deleted before, archived")
    keep_evidence: bool = Field(default=False, description="Leave evidence of open incidents where it is")


class PurgeRows(OutsideKind[PurgeInput]):
    """Takes rows out for good. What was counted when it was proposed must still be so when it is approved, or nothing goes."""

    kind: ClassVar[str] = "lake.purge"
    title: ClassVar[str] = "Purge rows"
    description: ClassVar[str] = "Takes rows that a KQL condition chooses out for good, deleted and archived ones too."
    permission: ClassVar[str] = "lake.purge"
    undoable: ClassVar[bool] = False
    idempotent: ClassVar[bool] = False
    usual_approval: ClassVar[Approval] = Approval.ONE
    Input = PurgeInput

    def __init__(self, erasure: Erasure) -> None:
        self._erasure = erasure

    def approval(self, given: PurgeInput) -> Approval:  # noqa: ARG002
        """See ActionKind."""
        return Approval.ONE

    def describe(self, given: PurgeInput) -> tuple[str, str]:
        """See ActionKind."""
        kept = " Evidence of open incidents stays." if given.keep_evidence else ""
        return (
            f"Purge {given.expected:,} rows of {given.table}",
            f"Takes the rows of {given.table} where {given.condition} out for good. Nothing brings them back.{kept}",
        )

    def effect(self, given: PurgeInput) -> str:
        """See ActionKind."""
        return given.table

    def check(self, given: PurgeInput) -> None:
        """See ActionKind. Raises what `Erasure.check` raises."""
        self._erasure.check(given.table, given.condition, system("system:gate", *_PERMISSIONS))

    def execute(self, context: Context[PurgeInput]) -> Outcome:
        """See OutsideKind."""
        given = context.given
        rows = self._erasure.purge(
            given.table,
            given.condition,
            expected=given.expected,
            keep_evidence=given.keep_evidence,
            by=_principal(context.actor),
        )
        return Outcome({"rows": rows}, text=f"{rows:,} rows are gone for good.")


def _principal(actor: Actor) -> Principal:
    """Whoever approved it, with just what it takes: the gate has asked for their permissions."""
    return replace(system(actor.name, *_PERMISSIONS), address=actor.address)
