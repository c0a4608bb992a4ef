"""An incident's proof in a file: all that belongs to it, with hashes, as JSON or as a PDF that carries the same JSON.

    {"format": "tocsin.incident/1", "created": …, "product": …, "sections": {name: …}, "hashes": {name: sha256}, "hash": sha256}

A section's hash is the SHA-256 of its canonical JSON (UTF-8, keys sorted, no spaces, integers as they are); `hash` is that of the canonical JSON of
`format`, `created`, `product` and `hashes`, and of `fonts` where pages were made with fonts of a machine. The `audit` section has the head of the
audit log's chain when the file was made: it ties the file to a log that can't be rewritten unseen. `verify` needs the file and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from tocsin.base.errors import UsageError
from tocsin.content import Content
from tocsin.incidents.advice import done_of
from tocsin.incidents.desk import full
from tocsin.incidents.load import from_row
from tocsin.incidents.narrative import narrative
from tocsin.incidents.priority import Judge
from tocsin.incidents.similar import similar
from tocsin.state import Unit, text_of

__all__ = [
    "FORMAT",
    "ExportError",
    "FontsError",
    "Proof",
    "attachment_of",
    "bundle",
    "canonical",
    "makers",
    "naming_fonts",
    "to_json",
    "verify",
]

FORMAT = "tocsin.incident/1"
ATTACHMENT = "incident.json"
_AUDIT = 100_000
_HEAD = ("format", "created", "product", "hashes", "fonts")
"""The parts that `hash` is of; `fonts` only where there are any."""
_MAKERS = ("fpdf2", "fontpkg-arimo", "fontpkg-noto-sans-arabic", "uharfbuzz")


class ExportError(UsageError):
    """A file that is no incident's proof."""

    code = "INC0005"


class FontsError(UsageError):
    """Pages that this machine can't make, because it lacks their fonts."""

    code = "INC0008"


def makers(version: str) -> str:
    """Who makes a file: Tocsin's version, and those of the programs that its pages' bytes depend on."""
    return f"Tocsin {version} ({', '.join(f'{name} {metadata.version(name)}' for name in _MAKERS)})"


def canonical(value: Any) -> bytes:
    """The bytes that are hashed."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str).encode(
        "utf-8", "replace"
    )


def _sha(value: Any) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()


def bundle(
    unit: Unit,
    incident_id: str,
    content: Content,
    judge: Judge | None,
    product: str,
    *,
    audit: bool = True,
    reach: Mapping[str, Any] | None = None,
    processes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """All of an incident: itself with alerts, evidence, tasks and activity; its log; its meaning; actions with who decided; audit rows (null
    where they are not asked for); what could be `reach`ed and the trees of `processes`, as the tables answered `at` a moment, or why they were
    `not_asked`."""
    whole = full(unit, incident_id)
    incident = from_row(unit.incidents.require(incident_id), unit.incidents.alerts_of(incident_id))
    told = narrative(incident, content, judge, done_of(unit, incident_id)) if incident.alerts else {}
    rows, _, _ = unit.actions.page(incident_id=incident_id, include_edits=True, limit=_AUDIT)
    history = unit.actions.history_of([r.id for r in rows])
    audited, count = unit.audit.page(limit=_AUDIT, object_id=incident_id)
    head = unit.audit.page(limit=1)[0]
    sections = {
        "incident": whole,
        "log": [e.to_dict() for e in unit.incidents.history.of(incident_id)],
        "narrative": {**told, "similar": similar(unit, incident_id)},
        "reach": reach or {"not_asked": "there were no tables to ask"},
        "processes": processes or {"not_asked": "there were no tables to ask"},
        "actions": [_action(r, history.get(r.id, ())) for r in rows],
        "audit": {
            "rows": [r.to_dict() for r in audited] if audit else None,
            "count": count,
            "head": {"seq": head[0].seq, "hash": head[0].hash} if head else None,
        },
    }
    sections = json.loads(canonical(sections))  # what is hashed is what is written
    made = {
        "format": FORMAT,
        "created": text_of(unit.clock.now()),
        "product": makers(product),
        "hashes": {name: _sha(value) for name, value in sections.items()},
    }
    return {**made, "hash": _sha(made), "sections": sections}


def naming_fonts(made: Mapping[str, Any], fonts: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """The bundle with the fonts of its pages in its head, and the hash that it has with them."""
    head = {**_head(made), "fonts": list(fonts)}
    return {**head, "hash": _sha(head), "sections": made["sections"]}


def _head(made: Mapping[str, Any]) -> dict[str, Any]:
    return {n: made[n] for n in _HEAD if n in made}


def _action(row: Any, history: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "number": row.number,
        "kind": row.kind,
        "title": row.title,
        "status": row.status,
        "input": row.input,
        "proposed_by": row.proposed_by,
        "proposed_at": text_of(row.proposed_at),
        "decided_by": row.decided_by,
        "decided_at": text_of(row.decided_at),
        "result": row.result,
        "error": row.error,
        "history": [{"time": text_of(h.time), "actor": h.actor, "event": h.event, "text": h.text} for h in history],
    }


def to_json(made: Mapping[str, Any]) -> bytes:
    """The bundle as a file. What is hashed stands in it as it is hashed, a line each, so that `sha256sum` alone can check it: the first line (closed
    by a brace) is what `hash` is of, and each section's line, after its name, what its entry of `hashes` is of."""
    head = canonical(_head(made))
    sections = [canonical(name) + b":" + canonical(value) for name, value in made["sections"].items()]
    return b"".join(
        (
            head.removesuffix(b"}") + b"\n",
            b',"hash":' + canonical(made["hash"]) + b"\n",
            b',"sections":{\n' + b"\n,".join(sections) + b"\n}}\n",
        )
    )


@dataclass(frozen=True, slots=True)
class Proof:
    """What a check of a file found. `pages`: for a PDF whether its pages say what its data says; None for JSON, and where that can't be told, because
    of what `pages_why` says."""

    intact: bool
    hash: str
    incident: str
    created: str
    problems: tuple[str, ...]
    pages: bool | None = None
    pages_why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "intact": self.intact,
            "hash": self.hash,
            "incident": self.incident,
            "created": self.created,
            "problems": list(self.problems),
            "pages": self.pages,
            "pages_why": self.pages_why,
        }


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; ValueError where a name is told twice: readers differ in which of the two they show."""
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(n for n in names if names.count(n) > 1)!r} stands twice in an object")
    return made


def verify(data: bytes) -> Proof:
    """Recomputes every hash of a file (JSON or PDF); a PDF's pages are made again from its data and compared byte for byte.

    ExportError INC0005 for a file that is no incident's proof.
    """
    pdf = data.startswith(b"%PDF-")
    raw = attachment_of(data) if pdf else data
    try:
        made = json.loads(raw, object_pairs_hook=_once)
        json.dumps(made, ensure_ascii=False).encode()  # refuses lone surrogates, which would be hashed as "?"
    except (ValueError, RecursionError) as error:
        raise ExportError(f"The file is no incident's proof: its data is no JSON ({error}).") from error
    if not isinstance(made, dict) or made.get("format") != FORMAT:
        raise ExportError("The file is no incident's proof.", hint=f"Its `format` would be {FORMAT}.")
    sections, hashes = made.get("sections"), made.get("hashes")
    if not isinstance(sections, dict) or not isinstance(hashes, dict):
        raise ExportError("The file is no incident's proof: it has no sections.")
    problems = [f"The section {n!r} was changed." for n in hashes if n in sections and _sha(sections[n]) != hashes[n]]
    problems += [f"The section {n!r} is missing." for n in hashes if n not in sections]
    problems += [f"The section {n!r} was added." for n in sections if n not in hashes]
    problems += [f"The part {n!r} was added." for n in made if n not in (*_HEAD, "hash", "sections")]
    if _sha(_head(made)) != made.get("hash"):
        problems.append("The file's own hash isn't that of its parts.")
    pages: bool | None = None
    why = ""
    if pdf and not problems:
        from tocsin import __version__
        from tocsin.incidents.pdf import made_again

        if made.get("product") != makers(__version__):
            why = "Another version of Tocsin, or of what it makes pages with, made its pages"
        else:
            try:
                pages = made_again(made) == data
            except FontsError as error:
                why = error.message.rstrip(".")
            except Exception:  # the data is whoever's wrote the file: hashes that fit don't make it an incident
                pages = False
                problems.append("The data is no incident's: no pages can be made of it.")
            if pages is False and not problems:
                problems.append("The pages don't say what the data says.")
    incident = sections.get("incident")
    number = incident.get("number") if isinstance(incident, dict) else None
    return Proof(
        not problems, str(made.get("hash")), f"#{number}", str(made.get("created")), tuple(problems), pages, why
    )


def attachment_of(data: bytes) -> bytes:
    """The JSON that a PDF carries; ExportError for one that carries none."""
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    try:
        attached = [(str(a.name), bytes(a.content)) for a in PdfReader(io.BytesIO(data)).attachment_list]
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ExportError(f"The PDF can't be read: {error}", hint="It was cut off or changed, or is none.") from error
    found = [content for name, content in attached if name == ATTACHMENT]
    if not found:
        raise ExportError("The PDF carries no incident's data.")
    if len(found) > 1:
        raise ExportError(
            f"The PDF was changed: it carries {len(found)} files named {ATTACHMENT}, of which each reader may show another."
        )
    if further := sorted({name for name, _ in attached if name != ATTACHMENT}):
        raise ExportError(f"The PDF was changed: Tocsin didn't attach {', '.join(further)[:200]}.")
    return found[0]
