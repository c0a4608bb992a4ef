"""/lake: deleting rows so that it can be undone, and purging them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from tocsin.access import Principal
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import Input, Moment, Output, PreviewRows

router = APIRouter(prefix="/lake", tags=["lake"])

Delete = Annotated[Principal, Depends(needs("lake.delete"))]
Purge = Annotated[Principal, Depends(needs("lake.purge"))]


class Choice(Input):
    """Rows of a table by a KQL condition, as it stands after `where`."""

    table: str
    condition: str = Field(min_length=1, max_length=10_000)


class ErasureOrder(Choice):
    """What is to go. `expected` is how many rows the preview named; `keep_evidence` leaves evidence of open incidents where it is, otherwise
    there being any is an error."""

    expected: int = Field(ge=0)
    keep_evidence: bool = False


class HeldEvidence(Output):
    """Evidence among the chosen rows."""

    holder: str
    rows: int


class ErasurePreview(Output):
    """What would go: rows of the table; rows deleted before and rows in the archive, which only a purge takes; evidence of open incidents among
    the table's rows; and the newest of the table's."""

    table: str
    rows: int
    deleted_before: int
    archived: int
    evidence: list[HeldEvidence]
    first: PreviewRows


class Deletion(Output):
    """Rows that were deleted and can be put back until `expires`."""

    id: str
    table: str
    rows: int
    by: str
    reason: str
    created: Moment
    expires: Moment


class DeletionList(Output):
    """What can be put back, oldest first."""

    items: list[Deletion]


class Purged(Output):
    """How many rows went for good."""

    table: str
    rows: int


@router.post("/preview")
def preview_erasure(body: Choice, request: Request, principal: Delete) -> ErasurePreview:
    """Counts what a condition chooses. Nothing goes."""
    found = workspace_of(request).erasure.preview(body.table, body.condition, by=principal)
    return ErasurePreview.model_validate(found.to_dict())


@router.get("/deletions")
def list_deletions(request: Request, principal: Delete) -> DeletionList:
    """What was deleted and can be put back."""
    items = [d.to_dict() for d in workspace_of(request).erasure.deletions(by=principal)]
    return DeletionList.model_validate({"items": items})


@router.post("/deletions", status_code=201)
def delete_rows(body: ErasureOrder, request: Request, principal: Delete) -> Deletion:
    """Takes rows out of a table; they can be put back for `lake.retention.undo_days`."""
    done = workspace_of(request).erasure.delete(
        body.table, body.condition, expected=body.expected, keep_evidence=body.keep_evidence, by=principal
    )
    return Deletion.model_validate(done.to_dict())


@router.delete("/deletions/{deletion_id}")
def undo_deletion(deletion_id: str, request: Request, principal: Delete) -> Deletion:
    """Puts the rows of a deletion back."""
    return Deletion.model_validate(workspace_of(request).erasure.undo(deletion_id, by=principal).to_dict())


@router.post("/purges")
def purge_rows(body: ErasureOrder, request: Request, principal: Purge) -> Purged:
    """Takes rows out for good, those deleted before too: nothing brings them back."""
    rows = workspace_of(request).erasure.purge(
        body.table, body.condition, expected=body.expected, keep_evidence=body.keep_evidence, by=principal
    )
    return Purged(table=body.table, rows=rows)


class NamesToForget(Input):
    """Identifiers of a person or thing: names, addresses, SIDs, object ids; whole, case doesn't count. `dry_run` only counts."""

    names: list[Annotated[str, Field(min_length=1, max_length=512)]] = Field(min_length=1, max_length=100)
    dry_run: bool = False


class Forgotten(Output):
    """How many learned aliases named one of them and are gone; with `dry_run` would be."""

    aliases: int


@router.post("/aliases/forget")
def forget_aliases(body: NamesToForget, request: Request, principal: Purge) -> Forgotten:
    """Forgets what was learned of identifiers: which names, addresses and ids are one thing. Rows are left alone; new ones teach it anew."""
    return Forgotten(aliases=workspace_of(request).aliases.forget(body.names, by=principal, dry_run=body.dry_run))
