"""Threat reports that people bring: STIX 2 bundles as content of the site folder's `incidents/`, and which incidents look like which report.

A report that comes again in a later version replaces the earlier; a revoked one goes. Open incidents are judged again at once. Each change is in the
audit trail.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tocsin.access import Principal
from tocsin.base.errors import ContentError, did_you_mean
from tocsin.content import Content, IncidentFile
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.rejudge import AT_ONCE
from tocsin.incidents.reports import Report, reports_of
from tocsin.incidents.stix import Found, read_reports
from tocsin.state import NotFoundError, State

__all__ = ["MOST", "ThreatReports"]

MOST = 1_000
"""Imported reports that are kept: every incident is compared with each."""

_SHOWN = 100
_INDICATORS = 1_000
_INCIDENTS = 50


class ThreatReports:
    """The threat reports in force. Thread-safe."""

    def __init__(
        self,
        state: State,
        desk: IncidentDesk,
        site: Path,
        content: Callable[[], Content],
        reload: Callable[[], None],
    ) -> None:
        """`reload` puts into force what was written to the site folder."""
        self._state, self._desk, self._content, self._reload = state, desk, content, reload
        self._folder = site / "incidents"
        self._lock = threading.Lock()

    def listed(self) -> list[dict[str, Any]]:
        """Every report with how many incidents are tagged with it, those with open incidents first."""
        reports = list(reports_of(self._content()))
        with self._state.read() as unit:
            tagged = unit.incidents.tagged([r.tag for r in reports])
        made = [self._summary(r, tagged) for r in reports]
        return sorted(made, key=lambda r: (-r["open_incidents"], -r["incidents"], r["name"].lower()))

    def get(self, report_id: str) -> dict[str, Any]:
        """One report in full, with the newest incidents that are tagged with it. NotFoundError for one that isn't there."""
        report, item = self._find(report_id)
        with self._state.read() as unit:
            tagged = unit.incidents.tagged([report.tag])
        page = self._desk.page(
            statuses=("New", "InProgress", "Resolved"), tag=report.tag, sort="updated", limit=_INCIDENTS
        )
        return {
            **self._summary(report, tagged),
            "description": str(item.document.value.get("description") or "").strip(),
            "about": [str(a) for a in item.document.value.get("about") or ()],
            "indicators": [
                {"value": v, "until": report.until[v].isoformat() if v in report.until else None}
                for v in sorted(report.indicators)[:_INDICATORS]
            ],
            "techniques": sorted(report.techniques),
            "insists": sorted(report.insists),
            "least": report.least,
            "references": list(report.references),
            "items": page["items"],
        }

    def take(self, bundle: str, *, least: int | None, dry_run: bool, by: Principal) -> dict[str, Any]:
        """Imports the reports of a STIX 2 bundle; with `dry_run` only says what that would do. Raises ContentError as `read_reports`."""
        found = read_reports(bundle, self._state.clock.now(), least=least)
        with self._lock:
            known = {i.id: i for i in self._content().incidents if i.kind == "report"}
            plan = self._plan(found, known)
            if not dry_run and (plan["imported"] or plan["updated"] or plan["removed"]):
                self._put(found, plan, known, by)
        names = {r["id"]: r["name"] for r in found.reports}
        names |= {i.id: str(i.document.value.get("name")) for i in known.values() if i.id not in names}
        said = {
            what: [{"id": i, "name": names.get(i, i)} for i in plan[what]]
            for what in ("imported", "updated", "removed", "unchanged")
        }
        return {
            **said,
            "reports": [_brief(r) for r in found.reports][:_SHOWN],
            "refused": [{"place": p, "reason": w} for p, w in found.refused[:_SHOWN]],
            "refused_count": len(found.refused),
            "notes": [{"place": p, "reason": w} for p, w in found.notes[:_SHOWN]],
            "notes_count": len(found.notes),
            "dry_run": dry_run,
        }

    def remove(self, report_id: str, *, by: Principal) -> None:
        """Removes a report of the site folder. NotFoundError for none, ContentError for a pack's."""
        with self._lock:
            report, item = self._find(report_id)
            path = item.path
            if path.parent != self._folder or not path.name.startswith("stix-report-"):
                raise ContentError(
                    f"The report '{report.name}' isn't an imported one: it stands in {path.name} of {item.pack}.",
                    code="CNT0061",
                    hint="Take it out of that file.",
                )
            path.unlink()
            self._audit("threat-report.delete", report_id, by, before={"name": report.name}, after=None)
            self._in_force()

    # ------------------------------------------------------------------ inside

    def _plan(self, found: Found, known: Mapping[str, IncidentFile]) -> dict[str, list[str]]:
        plan: dict[str, list[str]] = {"imported": [], "updated": [], "removed": [], "unchanged": []}
        for report in found.reports:
            held = known.get(report["id"])
            if held is None:
                plan["imported"].append(report["id"])
                continue
            value = dict(held.document.value)
            older = str(report.get("modified") or "") < str(value.get("modified") or "")
            plan["unchanged" if older or value == report else "updated"].append(report["id"])
        plan["removed"] = [i for i in found.withdrawn if i in known]
        kept = sum(i.startswith("stix-report-") for i in known) - len(plan["removed"])
        if kept + len(plan["imported"]) > MOST:
            raise ContentError(
                f"There would be {kept + len(plan['imported']):,} imported reports; at most {MOST:,} are kept.",
                code="CNT0061",
                hint="Remove some first.",
            )
        return plan

    def _put(
        self, found: Found, plan: Mapping[str, list[str]], known: Mapping[str, IncidentFile], by: Principal
    ) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        wanted = {*plan["imported"], *plan["updated"]}
        for report in found.reports:
            if report["id"] not in wanted:
                continue
            path = self._folder / f"{report['id']}.yaml"
            temporary = path.with_suffix(".tmp")
            text = yaml.dump(report, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True, width=150)
            temporary.write_text(text, "utf-8")
            os.replace(temporary, path)
            before = {"name": known[report["id"]].document.value.get("name")} if report["id"] in known else None
            self._audit("threat-report.import", report["id"], by, before=before, after=_brief(report))
        for report_id in plan["removed"]:
            (self._folder / f"{report_id}.yaml").unlink(missing_ok=True)
            before = {"name": known[report_id].document.value.get("name")}
            self._audit("threat-report.delete", report_id, by, before=before, after=None)
        self._in_force()

    def _in_force(self) -> None:
        self._reload()
        self._desk.judge(again=True, most=AT_ONCE)

    def _audit(self, action: str, report_id: str, by: Principal, *, before: Any, after: Any) -> None:
        with self._state.write() as unit:
            unit.audit.add(by.name, action, "threat-report", report_id, address=by.address, before=before, after=after)

    def _find(self, report_id: str) -> tuple[Report, IncidentFile]:
        content = self._content()
        items = {i.id: i for i in content.incidents if i.kind == "report"}
        if report_id not in items:
            raise NotFoundError(f"there is no threat report '{report_id}'", hint=did_you_mean(report_id, items))
        return next(r for r in reports_of(content) if r.id == report_id), items[report_id]

    def _summary(self, report: Report, tagged: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
        opened, every = tagged.get(report.tag, (0, 0))
        return {
            "id": report.id,
            "name": report.name,
            "tag": report.tag,
            "threat": report.threat,
            "author": report.author,
            "published": report.published,
            "modified": report.modified,
            "indicator_count": len(report.indicators),
            "technique_count": len(report.techniques),
            "incidents": every,
            "open_incidents": opened,
            "pack": report.pack,
            "removable": Path(report.path).parent == self._folder and report.id.startswith("stix-report-"),
        }


def _brief(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report as the audit trail and a preview tell of it."""
    return {
        "id": report["id"],
        "name": report["name"],
        "threat": report.get("threat", ""),
        "indicator_count": len(report.get("indicators", ())),
        "techniques": list(report.get("for", ())),
        "least": report["least"],
    }
