"""/threat-reports: what is known of threats, brought as STIX 2 bundles or by packs, and which incidents look like it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from tocsin.access import Principal
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import IncidentSummary, Input, Output

router = APIRouter(prefix="/threat-reports", tags=["threat-reports"])

Write = Annotated[Principal, Depends(needs("rules.write"))]
_READ = [Depends(needs("incidents.read"))]
_LARGEST = 32 << 20


class ThreatReportSummary(Output):
    """A threat report. `tag` is on incidents that look like it; `incidents` counts them, `open_incidents` those that aren't resolved. `pack` brought
    it, `site` for imported ones."""

    id: str
    name: str
    tag: str
    threat: str
    author: str
    published: str
    modified: str
    indicator_count: int
    technique_count: int
    incidents: int
    open_incidents: int
    pack: str
    removable: bool


class ReportIndicator(Output):
    """An indicator, and until when it holds; null for always."""

    value: str
    until: str | None


class ThreatReportDetail(ThreatReportSummary):
    """A threat report in full, with its first 1,000 indicators and the 50 incidents of it that changed last. `least` techniques, all of `insists`
    among them, make a match without an indicator; 0 for never."""

    description: str
    about: list[str]
    indicators: list[ReportIndicator]
    techniques: list[str]
    insists: list[str]
    least: int
    references: list[str]
    items: list[IncidentSummary]


class ThreatReportList(Output):
    """All threat reports, those with open incidents first."""

    items: list[ThreatReportSummary]


class ReportsImport(Input):
    """A STIX 2 bundle as text. `least`: how many of a report's techniques make a match without an indicator; by default three fifths, four at least.
    `dry_run` changes nothing."""

    bundle: str = Field(max_length=_LARGEST)
    least: int | None = Field(default=None, ge=0, le=500)
    dry_run: bool = False


class ReportNamed(Output):
    """A report by name."""

    id: str
    name: str


class ReportRead(ReportNamed):
    """A report as it was read."""

    threat: str
    indicator_count: int
    techniques: list[str]
    least: int


class PlaceReason(Output):
    """What is wrong, or was left out, and where in the bundle."""

    place: str
    reason: str


class ReportsImported(Output):
    """What an import did, or with `dry_run` would do. `refused` reports can't be read; `notes` are parts of reports that were left out. Of each
    list at most 100 are shown."""

    imported: list[ReportNamed]
    updated: list[ReportNamed]
    removed: list[ReportNamed]
    unchanged: list[ReportNamed]
    reports: list[ReportRead]
    refused: list[PlaceReason]
    refused_count: int
    notes: list[PlaceReason]
    notes_count: int
    dry_run: bool


@router.get("", dependencies=_READ)
def list_threat_reports(request: Request) -> ThreatReportList:
    """Every threat report, with how many incidents look like it."""
    return ThreatReportList.model_validate({"items": workspace_of(request).threat_reports.listed()})


@router.get("/{report_id}", dependencies=_READ)
def get_threat_report(report_id: str, request: Request) -> ThreatReportDetail:
    """A threat report with its indicators and incidents."""
    return ThreatReportDetail.model_validate(workspace_of(request).threat_reports.get(report_id))


@router.post("/import")
def import_threat_reports(body: ReportsImport, request: Request, principal: Write) -> ReportsImported:
    """Imports the reports of a STIX 2 bundle; open incidents that look like them are tagged and judged again."""
    made = workspace_of(request).threat_reports.take(body.bundle, least=body.least, dry_run=body.dry_run, by=principal)
    return ReportsImported.model_validate(made)


@router.delete("/{report_id}", status_code=204)
def delete_threat_report(report_id: str, request: Request, principal: Write) -> None:
    """Removes an imported report, and its tag from open incidents."""
    workspace_of(request).threat_reports.remove(report_id, by=principal)
