"""Reports of incidents for people: one self-contained HTML page with timeline, entity graph, alerts and the rows that prove them.

The page has no script and asks for nothing: it opens from a USB stick on a machine without network, and what an attacker wrote into a
log line is text in it, never markup (Jinja2 escapes everything; the graph is an SVG made here).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tocsin.incidents.brief import cut
from tocsin.incidents.model import Incident, spaced
from tocsin.incidents.priority import Judge
from tocsin.incidents.report.layout import lay_out
from tocsin.incidents.story import fold, story
from tocsin.incidents.view import incident_view

__all__ = ["html_report"]


def html_report(
    incidents: Sequence[Incident],
    *,
    facts: Mapping[str, Any],
    created: datetime,
    version: str,
    judge: Judge | None = None,
) -> str:
    """The page for these incidents, the most urgent first. `facts` are name → value pairs for its head (files, events, seconds …)."""
    environment = Environment(
        loader=PackageLoader("tocsin.incidents.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["clock"] = _clock
    environment.filters["cut"] = cut
    environment.filters["pretty"] = _pretty
    environment.filters["words"] = spaced
    views = [{**incident_view(i, judge), "story": [r.to_dict() for r in fold(story(i))]} for i in incidents]
    views.sort(key=lambda v: (-v["priority"], v["first"]))
    for view in views:
        view["picture"] = lay_out(view["graph"])
    return environment.get_template("report.html").render(
        incidents=views, facts=facts, created=created, version=version
    )


def _clock(text: str) -> str:
    """An RFC 3339 instant as people read it: date, time to the second."""
    return text.replace("T", " ").split(".")[0].removesuffix("Z")


def _pretty(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
