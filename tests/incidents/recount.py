"""Figures of incidents recounted from SecurityIncident rows alone, by hand as it were: nothing of Tocsin is imported here.

    python recount.py < rows.jsonl

A row is a JSON object with IncidentName, Version, Status, Created, Acknowledged, Closed, Modified, Source, Classification, RedirectTo.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any


def moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def recount(rows: list[dict[str, Any]]) -> dict[str, Any]:
    history: dict[str, dict[int, dict[str, Any]]] = {}
    for row in rows:
        history.setdefault(row["IncidentName"], {})[row["Version"]] = row
    figures: dict[str, Any] = {
        "created": 0, "merged": 0, "acknowledged": 0, "resolved": 0, "auto_resolved": 0, "reopened": 0, "open": 0, "classification": {},
    }  # fmt: skip
    times: dict[str, list[float]] = {"mtta": [], "mttr": [], "closure": []}
    for versions in history.values():
        steps = [versions[v] for v in sorted(versions)]
        last = steps[-1]
        if last["RedirectTo"]:
            figures["merged"] += 1
            continue
        figures["created"] += 1
        for step in steps:
            if step["RedirectTo"]:  # merged for a while: neither closed nor, afterwards, opened again
                step["Status"] = "Redirected"
        taken, created = moment(last["Acknowledged"]), moment(last["Created"])
        if taken:
            figures["acknowledged"] += 1
            times["mtta"].append((taken - created).total_seconds())
        worked, closer = 0.0, ""
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            if following is None:
                break
            if step["Status"] == "Closed" and following["Status"] != "Closed":
                figures["reopened"] += 1
            if step["Status"] != "Closed":
                if following["Status"] == "Closed":
                    closer = following["Source"]
                if taken:
                    since, until = max(moment(step["Modified"]), taken), moment(following["Modified"])
                    worked += max(0.0, (until - since).total_seconds())
        if last["Status"] != "Closed":
            figures["open"] += 1
            continue
        bucket = last["Classification"] if last["Classification"] != "Undetermined" else "Unclassified"
        figures["classification"][bucket] = figures["classification"].get(bucket, 0) + 1
        if closer != "user":
            figures["auto_resolved"] += 1
            continue
        figures["resolved"] += 1
        times["closure"].append((moment(last["Closed"]) - created).total_seconds())
        if taken:
            times["mttr"].append(worked)
    for name, values in times.items():
        figures[name] = {"count": len(values), "mean": round(sum(values) / len(values), 6) if values else None}
    return figures


if __name__ == "__main__":
    print(json.dumps(recount([json.loads(line) for line in sys.stdin])))
