"""/search-jobs: long work over old rows: searches into ``*_SRCH`` tables, restores of archived rows into ``*_RST`` tables."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from tocsin.access import Principal
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import Input, Moment, Output

router = APIRouter(prefix="/search-jobs", tags=["search-jobs"])

Run = Annotated[Principal, Depends(needs("jobs.run"))]
Read = Annotated[Principal, Depends(needs("data.read"))]


class Span(Input):
    """A range of event time, the end not included."""

    start: datetime
    end: datetime


class EstimateRequest(Span):
    """What to estimate: a search's query, or the table to restore."""

    kind: Literal["search", "restore"] = "search"
    text: str = Field(min_length=1, max_length=100_000)


class SearchRequest(Span):
    """A search: a KQL query that looks at each row of one table by itself. Its rows come into ``<name>_SRCH``."""

    name: str
    query: str = Field(min_length=1, max_length=100_000)


class RestoreRequest(Span):
    """A restore of a table's archived rows into ``<name>_RST``, by default named as the table; they go `days` after now."""

    table: str
    name: str = ""
    days: float = Field(default=7.0, gt=0, le=3650)


class Estimate(Output):
    """What a job would read, on the disk and in the archive."""

    table: str
    days: int
    files: int
    bytes: int
    rows: int
    archived_files: int
    archived_bytes: int
    archived_rows: int


class SearchJob(Output):
    """A job. `kind` is search or restore; `status` Queued, Running, Succeeded, Failed, Cancelled, or Removed when its table is gone."""

    id: str
    kind: str
    target: str
    table: str
    query: str
    start: Moment
    end: Moment
    by: str
    created: Moment
    status: str
    days: int
    days_done: int
    rows: int
    bytes_read: int
    error: str = ""
    error_code: str = ""
    error_hint: str = ""
    finished: Moment | None = None
    expires: Moment | None = None


class SearchJobList(Output):
    """Jobs, newest first."""

    items: list[SearchJob]


@router.get("")
def list_search_jobs(request: Request, principal: Read) -> SearchJobList:
    """Searches and restores, newest first."""
    items = [j.to_dict() for j in workspace_of(request).jobs.listed(by=principal)]
    return SearchJobList.model_validate({"items": items})


@router.post("/estimate")
def estimate_search_job(body: EstimateRequest, request: Request, principal: Run) -> Estimate:
    """What a job would read. Nothing runs."""
    found = workspace_of(request).jobs.estimate(body.kind, body.text, body.start, body.end, by=principal)
    return Estimate.model_validate(found.to_dict())


@router.post("", status_code=202)
def start_search_job(body: SearchRequest, request: Request, principal: Run) -> SearchJob:
    """Queues a search."""
    job = workspace_of(request).jobs.search(body.name, body.query, body.start, body.end, by=principal)
    return SearchJob.model_validate(job.to_dict())


@router.post("/restore", status_code=202)
def start_restore(body: RestoreRequest, request: Request, principal: Run) -> SearchJob:
    """Queues a restore of archived rows."""
    job = workspace_of(request).jobs.restore(
        body.table, body.start, body.end, name=body.name, days=body.days, by=principal
    )
    return SearchJob.model_validate(job.to_dict())


@router.get("/{job_id}")
def get_search_job(job_id: str, request: Request, principal: Read) -> SearchJob:
    """One job, with its progress."""
    return SearchJob.model_validate(workspace_of(request).jobs.get(job_id, by=principal).to_dict())


@router.post("/{job_id}/cancel")
def cancel_search_job(job_id: str, request: Request, principal: Run) -> SearchJob:
    """Ends a job; what it found so far stays."""
    return SearchJob.model_validate(workspace_of(request).jobs.cancel(job_id, by=principal).to_dict())


@router.delete("/{job_id}")
def remove_search_job(job_id: str, request: Request, principal: Run) -> SearchJob:
    """Takes away the rows of a job that has ended."""
    return SearchJob.model_validate(workspace_of(request).jobs.remove(job_id, by=principal).to_dict())
