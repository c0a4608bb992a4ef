"""The shapes of pack files. The analytic rules' own schema is `tocsin.detect.formats.sentinel`'s, Sigma's is pySigma's."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from tocsin.content.schema import Field, Schema
from tocsin.tables.entities import ENTITY_IDENTIFIERS

__all__ = [
    "AUTOMATION",
    "ENTITIES",
    "ENTITY_MAPPING",
    "FUNCTION",
    "HUNT",
    "INCIDENTS",
    "PACK",
    "PARSER",
    "SUMMARY",
    "TESTS",
    "is_moved",
]

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_ID = r"[A-Za-z0-9][A-Za-z0-9._-]*"

PACK = Schema(
    "A pack",
    {
        "id": Field("text", required=True, pattern=_ID, longest=80),
        "name": Field("text", required=True, longest=256),
        "version": Field("text", required=True, longest=40),
        "description": Field("text", longest=5000),
        "licence": Field("text", longest=200),
        "authors": Field("list", item=Field("text")),
    },
)

PARSER = Schema(
    "A parser",
    {
        "id": Field("text", required=True, pattern=_ID, longest=120),
        "name": Field("text", longest=256),
        "source": Field("text", required=True, longest=120),
        "table": Field("text", required=True, pattern=_NAME),
        "when": Field("map"),  # which batches of the source it is for; `ingest` reads it
        "query": Field("text", required=True, longest=100_000),
        "doc": Field("text"),
        "description": Field("text"),
        "references": Field("list", item=Field("text")),
    },
)

FUNCTION = Schema(
    "A function",
    {
        "id": Field("text"),
        "name": Field("text", required=True, pattern=_NAME, longest=256),
        "aliases": Field("list", item=Field("text", pattern=_NAME, longest=256)),
        "parameters": Field("text", longest=10_000),
        "body": Field("text", required=True, longest=200_000),
        "doc": Field("text", longest=5000),
    },
)

HUNT = Schema(
    "A hunt",
    {
        "id": Field("text", required=True),
        "name": Field("text", required=True, longest=256),
        "description": Field("text", longest=5000),
        "query": Field("text", longest=100_000),
        "tactics": Field("list", item=Field("text")),
        "relevantTechniques": Field("list", item=Field("text")),
    },
    open=True,  # public hunting files carry connectors, entity mappings, metadata; nothing here reads those yet
)

SUMMARY = Schema(
    "A summary rule",
    {
        "id": Field("text", required=True, pattern=_ID, longest=120),
        "name": Field("text", required=True, longest=256),
        "description": Field("text", longest=5000),
        "query": Field("text", required=True, longest=100_000),
        "destinationTable": Field("text", required=True, pattern=r"[A-Za-z][A-Za-z0-9_]{0,60}_CL"),
        "binSize": Field("int", required=True),
        "binDelay": Field("int"),
        "lateHours": Field("int"),
        "enabled": Field("bool"),
        "version": Field("text"),
    },
    open=True,  # public summary rules name the connectors that they need
)

AUTOMATION = Schema(
    "An automation rule",
    {"id": Field("text"), "name": Field("text", required=True, longest=500)},
    open=True,  # `respond` checks the rest
)


def _pattern(value: Any) -> str:
    """A complaint about a text that is no regular expression."""
    try:
        re.compile(str(value))
    except re.error as error:
        return f"is no regular expression: {error}"
    return ""


_COLUMNS = Field("list", item=Field("text"))

LINKS = Schema(
    "A file of links",
    {
        "id": Field("text", required=True),
        "name": Field("text", required=True, longest=256),
        "description": Field("text", longest=5000),
        "processes": Field(
            "list",
            item=Field(
                "map",
                nullable=False,
                schema=Schema(
                    "A process",
                    {
                        "id": Field("text", required=True),
                        "unique": Field("bool"),
                        "start": Field("text"),
                        "host": _COLUMNS,
                        "label": _COLUMNS,
                        "parent": Field("bool"),
                        "never": _COLUMNS,
                    },
                ),
            ),
        ),
        "sessions": Field(
            "list",
            item=Field(
                "map",
                nullable=False,
                schema=Schema(
                    "A session",
                    {"id": Field("text", required=True), "host": _COLUMNS, "label": _COLUMNS, "never": _COLUMNS},
                ),
            ),
        ),
        "files": Field(
            "list",
            item=Field(
                "map",
                nullable=False,
                schema=Schema(
                    "A file",
                    {
                        "path": Field("list", required=True, item=Field("text")),
                        "hash": Field("list", required=True, item=Field("text")),
                    },
                ),
            ),
        ),
        "mentions": Field(
            "list",
            item=Field(
                "map",
                nullable=False,
                schema=Schema(
                    "A mention",
                    {
                        "columns": Field("list", required=True, item=Field("text")),
                        "pattern": Field("text", test=_pattern),
                    },
                ),
            ),
        ),
        "system": Field("list", item=Field("text", test=_pattern)),
    },
)

FUSION = Schema(
    "A multistage pattern",
    {
        "id": Field("text", required=True),
        "name": Field("text", required=True, longest=256),
        "description": Field("text", longest=5000),
    },
    open=True,  # `incidents` checks the rest
)

_POINTS = Field("number", least=-100, most=100)

_PAGES = (
    "Account", "Host", "IP", "File", "URL", "Mailbox", "Process", "AzureResource", "CloudApplication", "MailMessage", "MailCluster", "SubmissionMail",
    "RegistryKey", "RegistryValue", "SecurityGroup", "Malware", "IoTDevice",
)  # fmt: skip


def _moment(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return f"'{text}' is no date such as 2026-12-31T00:00:00Z."
    return ""


INCIDENTS = Schema(
    "Incident content",
    {
        "id": Field("text", required=True, pattern=_ID, longest=120),
        "kind": Field("text", required=True, choices=("asset", "priority", "advice", "summary", "report", "reach")),
        "name": Field("text", longest=256),
        # asset: which hosts and accounts matter. The query's column Name has them, Group (if there is one) their device group.
        # reach: what accounts or hosts (entity) open: columns From, Type, Name, How and, where there are any, First, Last, Seen, Sid, Critical
        "entity": Field("text", choices=("Host", "Account")),
        "level": Field("text", choices=("veryHigh", "high", "medium", "low")),
        "query": Field("text", longest=100_000),
        # priority: points by technique, and by tag of an incident or its alerts
        "techniques": Field("map", item=_POINTS),
        "tags": Field("map", item=_POINTS),
        # advice: what to do next, for incidents with one of these techniques or tactics
        "tactics": Field("list", item=Field("text")),
        "for": Field("list", item=Field("text")),
        "steps": Field(
            "list",
            item=Field(
                "map",
                schema=Schema(
                    "A step",
                    {
                        "do": Field("text", required=True, longest=300),
                        "why": Field("text", longest=500),
                        "action": Field("text"),
                        # … to which of the incident's things, how soon, and what a responder is asked to do to them, by Microsoft's name;
                        # target: by the name that the action's input has, which identifier of the thing (or label, or upn) it is
                        "on": Field("list", item=Field("text", choices=tuple(ENTITY_IDENTIFIERS))),
                        "urgency": Field("text", choices=("now", "soon", "later")),
                        "response": Field("text"),
                        "target": Field("map", item=Field("text")),
                    },
                ),
            ),
        ),
        # report: a threat report; what of it in an incident says that this is it: one of the indicators, or `least` of the techniques in `for`,
        # all of `insists` among them
        "description": Field("text", longest=5000),
        "threat": Field("text", longest=60),
        "indicators": Field("list", item=Field("text", longest=2048)),
        "insists": Field("list", item=Field("text")),
        "least": Field("int", least=0),
        # … until when an indicator holds, and what the report says of itself
        "until": Field("map", item=Field("text", test=_moment)),
        "published": Field("text", longest=40),
        "modified": Field("text", longest=40),
        "author": Field("text", longest=256),
        "about": Field("list", item=Field("text", longest=300)),
        "references": Field("list", item=Field("text", longest=2048)),
        # summary: a sentence or two, Jinja text over the incident's story; facts likewise, each with its name
        "template": Field("text", longest=20_000),
        "facts": Field(
            "list",
            item=Field(
                "map",
                schema=Schema(
                    "A key fact",
                    {
                        "name": Field("text", required=True, longest=60),
                        "template": Field("text", required=True, longest=5000),
                    },
                ),
            ),
        ),
    },
)

ENTITIES = Schema(
    "Entity content",
    {
        "id": Field("text", required=True, pattern=_ID, longest=120),
        "kind": Field(
            "text", required=True, choices=("alias", "shared", "facts", "timeline", "related", "prevalence", "hunt")
        ),
        "name": Field("text", required=True, longest=256),
        "description": Field("text", longest=2000),
        "entity": Field("text", required=True, choices=_PAGES),
        "query": Field("text", required=True, longest=100_000),
        # alias: which kinds of identifier its columns One and Other are, and how long what First and Last say holds before and after
        "one": Field("text"),
        "other": Field("text"),
        "confidence": Field("number", least=0, most=1),
        "before": Field("text"),
        "lasts": Field("text"),
        "exclusive": Field("bool"),
        "source": Field("text", longest=64),
        # hunt: what it may find
        "tactics": Field("list", item=Field("text")),
    },
)

_ROW_LIST = Field("list", item=Field("map", nullable=False))

TESTS = Schema(
    "A test file",
    {
        "cases": Field(
            "list",
            required=True,
            item=Field(
                "map",
                nullable=False,
                schema=Schema(
                    "A case",
                    {
                        "name": Field("text", required=True),
                        "fires": Field("bool", required=True),
                        "alerts": Field("int", least=0),
                        "now": Field("text"),
                        "rows": Field("map", required=True, item=_ROW_LIST),
                        "watchlists": Field("map", item=_ROW_LIST),
                        "entities": Field(
                            "list",
                            item=Field(
                                "map",
                                schema=Schema(
                                    "An expected entity",
                                    {
                                        "type": Field("text", required=True),
                                        "identifiers": Field("map"),
                                        "label": Field("text"),
                                    },
                                ),
                            ),
                        ),
                    },
                ),
            ),
        )
    },
)


_COLUMN = r"[A-Za-z_][A-Za-z0-9_]*"
_SHARE = Field("number", least=0, most=1)

ENTITY_MAPPING = Schema(
    "An entity mapping",
    {
        "entityType": Field("text", required=True),
        "fieldMappings": Field(
            "list",
            required=True,
            item=Field(
                "map",
                nullable=False,
                schema=Schema(
                    "A field mapping",
                    {"identifier": Field("text", required=True), "columnName": Field("text", required=True)},
                ),
            ),
        ),
    },
)
"""How an alert's entities come of its rows' columns, as rules and anomalies say it."""

ANOMALY = Schema(
    "An anomaly",
    {
        "id": Field("text", required=True, nullable=False, pattern=_ID, longest=120),
        "name": Field("text", required=True, nullable=False, longest=256),
        "description": Field("text", longest=5000),
        "version": Field("text"),
        "enabled": Field("bool"),
        "query": Field("text", required=True, nullable=False, longest=100_000),
        "entity": Field("text", required=True, nullable=False, pattern=_COLUMN),
        "peer": Field("text", pattern=_COLUMN),
        "history": Field("text"),
        "frequency": Field("text"),
        "threshold": _SHARE,
        "ready": Field(
            "map",
            schema=Schema(
                "ready",
                {
                    "days": Field("int", least=1, most=90),
                    "events": Field("int", least=1),
                    "peers": Field("int", least=1),
                },
            ),
        ),
        "terms": Field(
            "list",
            longest=5,
            item=Field(
                "map",
                nullable=False,
                schema=Schema(
                    "A term",
                    {
                        "column": Field("text", required=True, nullable=False, pattern=_COLUMN),
                        "first": Field("text"),
                        "uncommon": Field("text"),
                        "peers": Field("text"),
                        "rare": _SHARE,
                        "rarePeers": _SHARE,
                    },
                ),
            ),
        ),
        "volume": Field(
            "map",
            schema=Schema(
                "volume",
                {
                    "measure": Field("text"),
                    "bin": Field("text", required=True, nullable=False),
                    "season": Field("text", choices=("none", "hourOfDay", "hourOfWeek")),
                    "high": Field("text", required=True, nullable=False),
                    "peers": Field("text"),
                    "deviations": Field("number", least=1),
                    "least": Field("number", least=0),
                },
            ),
        ),
        "tactics": Field("list", item=Field("text")),
        "relevantTechniques": Field("list", item=Field("text")),
        "columns": Field("map", item=Field("text")),
        "entityMappings": Field(
            "list",
            item=Field(
                "map",
                nullable=False,
                schema=ENTITY_MAPPING,
            ),
        ),
    },
)

ANOMALY_TESTS = Schema(
    "A test file of an anomaly",
    {
        "cases": Field(
            "list",
            required=True,
            item=Field(
                "map",
                nullable=False,
                schema=Schema(
                    "A case",
                    {
                        "name": Field("text", required=True),
                        # rows that repeat: each of `rows`, `times` times, `every` so long, the last one so long before its own time
                        "history": Field(
                            "list",
                            item=Field(
                                "map",
                                nullable=False,
                                schema=Schema(
                                    "History",
                                    {
                                        "every": Field("text", required=True, nullable=False),
                                        "times": Field("int", required=True, least=1, most=10_000),
                                        "rows": Field("map", item=_ROW_LIST),
                                    },
                                ),
                            ),
                        ),
                        "rows": Field("map", required=True, item=_ROW_LIST),
                        "now": Field("text"),
                        "anomalies": Field("int", required=True, least=0),
                        "insights": Field("map"),
                    },
                ),
            ),
        )
    },
)


def is_moved(value: Any) -> bool:
    """True for the stub that public repositories leave where a rule was: an id and a name, no query, and a word that it moved."""
    if not isinstance(value, dict) or value.get("query"):
        return False
    return "moved" in " ".join(str(value.get(k) or "") for k in ("name", "description", "title")).lower()
