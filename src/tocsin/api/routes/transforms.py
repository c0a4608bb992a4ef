"""/transforms: what the user does to rows before they are stored."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from tocsin.access import Principal
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import Input, Moment, Output, PreviewRows

router = APIRouter(prefix="/transforms", tags=["transforms"])

Write = Annotated[Principal, Depends(needs("sources.write"))]


class Flow(Output):
    """A way that rows go on: KQL over `source`, and the table for its result; empty for the stream's own way."""

    transformKql: str  # noqa: N815 - the names of Azure's data collection rules
    outputTable: str = ""  # noqa: N815


class TransformRun(Output):
    """What it did since it took effect."""

    rows_in: int = 0
    rows_out: int = 0
    rows_failed: int = 0
    failures: int = 0
    last_error: str = ""


class TransformVersion(Output):
    """A transform in one version."""

    id: str
    name: str
    stream: str
    flows: list[Flow]
    enabled: bool
    on_error: Literal["dead-letter", "pass"]
    description: str = ""
    version: int
    changed: Moment
    changed_by: str


class Transform(TransformVersion):
    """A transform as it stands; `run` is null when it isn't in force."""

    run: TransformRun | None = None


class TransformDetail(Transform):
    """A transform with its versions, newest first."""

    versions: list[TransformVersion]


class TransformList(Output):
    """All transforms."""

    items: list[Transform]


class Stream(Output):
    """What a transform can be put on. `seen`: rows are there to try it on; `transform`: the id of the one in force."""

    name: str
    seen: bool
    transform: str | None = None


class StreamList(Output):
    """All streams."""

    items: list[Stream]


class NewFlow(Input):
    """See Flow."""

    transformKql: str = Field(min_length=1, max_length=15_360)  # noqa: N815 - Azure's limit as well
    outputTable: str = Field(default="", max_length=128)  # noqa: N815


class NewTransform(Input):
    """A transform to try or to save; with an `id`, a new version of that one."""

    id: str | None = Field(default=None, max_length=64)
    name: str = Field(min_length=1, max_length=128)
    stream: str = Field(min_length=1, max_length=200, description="A source kind, or Microsoft-Table-<Table>")
    flows: list[NewFlow] = Field(min_length=1, max_length=10)
    enabled: bool = True
    on_error: Literal["dead-letter", "pass"] = "dead-letter"
    description: str = Field(default="", max_length=2_000)


class TransformPatch(Input):
    """What to switch."""

    enabled: bool


class PreviewFlow(PreviewRows):
    """What a flow made; `table` is empty for the stream's own way."""

    table: str


class Preview(Output):
    """The stream's last rows before, and after each flow."""

    stream: str
    before: PreviewRows
    after: list[PreviewFlow]


@router.get("", dependencies=[Depends(needs("data.read"))])
def list_transforms(request: Request) -> TransformList:
    """Every transform and what it did."""
    return TransformList.model_validate({"items": list(workspace_of(request).transforms.list())})


@router.get("/streams", dependencies=[Depends(needs("data.read"))])
def list_streams(request: Request) -> StreamList:
    """What a transform can be put on."""
    return StreamList.model_validate({"items": list(workspace_of(request).transforms.streams())})


@router.post("/preview", dependencies=[Depends(needs("sources.write"))])
def preview_transform(body: NewTransform, request: Request) -> Preview:
    """Checks a transform and tries it on the stream's last 100 rows; nothing changes. KQL that doesn't do is answered 400 with `diagnostics`."""
    return Preview.model_validate(workspace_of(request).transforms.preview(body.model_dump()))


@router.get("/{transform_id}", dependencies=[Depends(needs("data.read"))])
def get_transform(transform_id: str, request: Request) -> TransformDetail:
    """One transform with its versions."""
    return TransformDetail.model_validate(workspace_of(request).transforms.get(transform_id))


@router.post("", status_code=201)
def save_transform(body: NewTransform, request: Request, principal: Write) -> TransformDetail:
    """Checks and saves a transform; it is in force from the next batch on."""
    return TransformDetail.model_validate(workspace_of(request).transforms.save(body.model_dump(), by=principal))


@router.patch("/{transform_id}")
def switch_transform(transform_id: str, body: TransformPatch, request: Request, principal: Write) -> TransformDetail:
    """Switches a transform on or off."""
    book = workspace_of(request).transforms
    return TransformDetail.model_validate(book.set_enabled(transform_id, body.enabled, by=principal))


@router.post("/{transform_id}/undo")
def undo_transform(transform_id: str, request: Request, principal: Write) -> TransformDetail:
    """Goes back to the version before the last change."""
    return TransformDetail.model_validate(workspace_of(request).transforms.undo(transform_id, by=principal))


@router.delete("/{transform_id}", status_code=204)
def remove_transform(transform_id: str, request: Request, principal: Write) -> Response:
    """Removes a transform; rows then go on as they come."""
    workspace_of(request).transforms.remove(transform_id, by=principal)
    return Response(status_code=204)
