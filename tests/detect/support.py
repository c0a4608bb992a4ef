"""Where the acceptance data is, Windows-shaped batches, and rules from text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from tocsin.content import Document, RuleFile
from tocsin.content.yamltext import parse_yaml
from tocsin.detect.formats.sigma import SigmaRules, load_files
from tocsin.ingest.model import SourceBatch

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SIGMA = DATA / "sigma"

needs_sigma = pytest.mark.skipif(not SIGMA.is_dir(), reason=f"no SigmaHQ rules at {SIGMA}")
needs_evtx = pytest.mark.skipif(not (DATA / "evtx-attack-samples").is_dir(), reason="no EVTX-ATTACK-SAMPLES")

SYSMON = "Microsoft-Windows-Sysmon/Operational"


def windows(*events: Mapping[str, Any], source: str = "windows.event") -> SourceBatch:
    """Events given as ``{"Channel":…, "EventID":…, "Computer":…, "TimeCreated": iso, "data": {…}}``; Sysmon process creations by default."""
    rows: dict[str, list[Any]] = {
        "Channel": [e.get("Channel", SYSMON) for e in events],
        "Provider": [e.get("Provider", "P") for e in events],
        "EventID": pa.array([e.get("EventID", 1) for e in events], pa.int32()),
        "Computer": [e.get("Computer", "ws1.contoso.com") for e in events],
        "TimeCreated": pa.array(
            [datetime.fromisoformat(e.get("TimeCreated", "2024-05-01T10:00:00")) for e in events], pa.timestamp("us")
        ),
        "Message": pa.array([e.get("Message") for e in events], pa.string()),
        "EventData": [orjson.dumps(e.get("data", {})).decode() for e in events],
    }
    return SourceBatch(source, pa.table(rows), "test")


def rule_file(text: str, name: str = "rule.yml") -> RuleFile:
    """A rule file of that text."""
    documents: Sequence[Document] = [d for d in parse_yaml(text, name) if d.value is not None]
    return RuleFile(Path(name), "test", "sigma", tuple(documents), text)


def sigma(text: str, **more: Any) -> SigmaRules:
    """The rules of a Sigma text."""
    return load_files([rule_file(text)], **more)


def detection(body: str, logsource: str = "{product: windows, category: process_creation}", head: str = "") -> str:
    """A Sigma rule around a detection given as YAML flow or indented block."""
    return f"title: T\nid: 0a1b2c3d-0000-4000-8000-000000000001\nlevel: high\nlogsource: {logsource}\n{head}detection:\n{body}\n"
