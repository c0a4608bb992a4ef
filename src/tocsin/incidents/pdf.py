"""The proof as pages for people (fpdf2): summary, priority and its reasons, story, processes, what it reached and could reach, tasks, activity,
actions, hashes; its data attached.

The same bundle gives the same bytes, as long as the same programs make them with the same fonts: its `product` and `fonts` name them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal

from fpdf import FPDF, XPos, YPos
from fpdf.enums import MethodReturnValue, TableCellFillMode
from fpdf.fonts import FontFace

from tocsin.incidents.brief import brief, cut
from tocsin.incidents.export import ATTACHMENT, FontsError, naming_fonts, to_json
from tocsin.incidents.machine_fonts import fonts_for, the_same
from tocsin.incidents.model import spaced
from tocsin.incidents.pdf_fonts import WIDE, Letters
from tocsin.incidents.story import Step, fold

__all__ = ["made_again", "to_pdf"]

_INK, _DIM, _RULE, _FILL = (32, 31, 30), (96, 94, 92), (200, 198, 196), (243, 242, 241)
_MOST_STEPS = 500
_MOST_PROCESSES = 200
_NAME = 80
"""Characters of a name in the story's table: a whole command line has its place in the evidence."""
_BELOW = 14
"""Room in millimetres that a heading wants below itself: it never stands alone at a page's end."""
_LINE = 4.2
"""Height in millimetres of a line in a table."""
_PADDING = 2.0
"""Room in millimetres beside a cell's text, on both sides together."""
_WIDEST = 2.9
"""Width in millimetres of a table's widest letters."""
_MOST_LINES = 45
"""Lines of a cell: with the heading above and what says that it is cut it stays below a page, which a table's row can't be higher than."""


def to_pdf(bundle: Mapping[str, Any]) -> bytes:
    """The bundle as a PDF that carries it. Where its pages want letters that Tocsin's own fonts lack, fonts of this machine are taken, and the bundle
    that it carries names them in its head, so that the pages can be made again."""
    dry = Letters(dry=True)
    made = _Pages(bundle, dry).written_out(bundle)
    if not dry.wide and not dry.missing:
        return made
    fonts = fonts_for(frozenset(dry.missing))
    if fonts:
        whole = naming_fonts(bundle, [f.to_dict() for f in fonts])
        with suppress(Exception):  # no page is lost for a font of somebody's machine
            return _Pages(whole, Letters(fonts)).written_out(whole)
    return _Pages(bundle, Letters()).written_out(bundle)


def made_again(bundle: Mapping[str, Any]) -> bytes:
    """The PDF of a bundle that a PDF carried, with the fonts that it names and no others. FontsError INC0008 where this machine lacks one of them."""
    named = bundle.get("fonts") or []
    fonts = the_same(named)
    if fonts is None:
        raise FontsError(f"This machine lacks fonts of its pages ({', '.join(str(f.get('name'))[:80] for f in named)})")
    return _Pages(bundle, Letters(fonts)).written_out(bundle)


def _owner(incident: Mapping[str, Any]) -> str:
    name = str(incident["owner"] or "nobody")
    return f"{name} (group)" if incident.get("owner_type") == "Group" else name


def _write(pdf: _Pages, bundle: Mapping[str, Any]) -> None:
    sections = bundle["sections"]
    incident, told = sections["incident"], sections["narrative"]
    pdf.heading(f"Incident #{incident['number']}: {incident['title']}", 16)
    pdf.facts(
        {
            "Severity": incident["severity"],
            "Priority": f"{incident['priority']} of 100",
            "Status": incident["status"],
            "Owner": _owner(incident),
            "Classification": " / ".join(x for x in (incident["classification"], incident["determination"]) if x)
            or "none",
            "Phase": incident.get("phase") or "none",
            "Activity": f"{_clock(incident['first'])} to {_clock(incident['last'])}",
            "Created": _clock(incident["created"]),
            "Acknowledged": _clock(incident.get("acknowledged")) or "not yet",
            "Closed": _clock(incident.get("closed")) or "open",
            "Tags": ", ".join(incident["tags"]) or "none",
            **({"Page": str(incident["url"])} if incident.get("url") else {}),
        }
    )
    if told.get("summary"):
        pdf.heading("Summary")
        pdf.text(told["summary"])
        if facts := {f["name"]: f["text"] for f in told.get("facts") or ()}:
            pdf.facts(facts)
    pdf.heading("Why this priority")
    pdf.table(("Reason", "Points"), [(r["text"], f"{r['weight']:+g}") for r in incident["reasons"]], (84, 16))
    if cause := told.get("root_cause"):
        pdf.heading("Where it probably began")
        pdf.text(f"{_clock(cause['time'])}  {cause['title']}")
        pdf.table(("Reason", "Points"), [(r["text"], f"{r['weight']:+g}") for r in cause["reasons"]], (84, 16))
        if other := cause["runner_up"]:
            pdf.text(
                f"Next to it, with {other['score']:g} points: {_clock(other['time'])}  {other['title']}. It lost by:"
            )
            pdf.table(("Because", "Points"), [(r["text"], f"{r['weight']:+g}") for r in other["lost_by"]], (84, 16))
        if cause["looked_at"] < cause["alerts"]:
            pdf.text(f"Of {cause['alerts']:,} alerts the first {cause['looked_at']:,} were looked at.")
    _story(pdf, incident["story"])
    if trees := sections.get("processes"):
        _processes(pdf, trees, {a["id"]: a["title"] or a["rule"] for a in incident["alerts"]})
    if reached := told.get("blast_radius"):
        pdf.heading("What it reached")
        found = [e for name in reached["counts"] for e in reached[name]]
        things = [
            (e["type"], e["label"], _clock(e["first"]), str(e["alerts"]), e["why_critical"])
            for e in found[:_MOST_STEPS]
        ]
        pdf.table(("Kind", "Name", "First seen", "Alerts", "Critical because"), things, (12, 36, 18, 8, 26))
        if len(found) > _MOST_STEPS:
            pdf.text(f"{len(found) - _MOST_STEPS:,} further things are in the attached data.")
    if reach := sections.get("reach"):
        _reach(pdf, reach)
    _work(pdf, sections)
    pdf.heading("Proof")
    pdf.text(
        f"The file {ATTACHMENT} attached to this document holds everything above with all alerts and evidence rows. "
        "`tocsin incidents verify FILE` recomputes these SHA-256 hashes and makes these pages again."
    )
    pdf.table(("Part", "SHA-256"), [*bundle["hashes"].items(), ("all", bundle["hash"])], (18, 82), mono=True)
    if head := sections["audit"]["head"]:
        pdf.text(f"Audit log: entry {head['seq']}, chain hash {head['hash']}.")
    if fonts := bundle.get("fonts"):
        each = "; ".join(f"{f['name']} (SHA-256 {f['sha256']})" for f in fonts)
        pdf.text(
            f"Its pages have letters of fonts of the machine that made it: {each}. Only with these can they be made again."
        )
    if missing := sorted(pdf.letters.missing):
        said = ", ".join(f"\\u{code:04x}" for code in missing[:12]) + (" and more" if len(missing) > 12 else "")
        pdf.text(
            f"{len(missing):,} character{'' if len(missing) == 1 else 's'} stand{'s' if len(missing) == 1 else ''} above as code points, because the "
            f"machine that made it has no font for them: {said}. The attached data has them as they were."
        )


def _story(pdf: _Pages, told: Sequence[Mapping[str, Any]]) -> None:
    """The steps, what was told again and again as one; patterns, which say of other steps what these say themselves, apart from them
    as on the incident's page."""
    runs = [r.to_dict() for r in fold(map(Step.from_dict, told))]
    plain = [s for s in runs if not s["pattern"]]
    steps, patterns = (plain, [s for s in runs if s["pattern"]]) if plain else (runs, [])
    pdf.heading(f"Attack story ({len(steps)} step{'' if len(steps) == 1 else 's'})")
    rows = [
        (
            _clock(s["time"]) + (f", {s['count']} times until {_clock(s['last'])}" if s["count"] > 1 else ""),
            spaced(s["tactic"]),
            ", ".join(s["techniques"][:3]) + (f" +{len(s['techniques']) - 3}" if len(s["techniques"]) > 3 else ""),
            s["title"],
            _label(s.get("actor")),
            _label(s.get("target")),
        )
        for s in steps[:_MOST_STEPS]
    ]
    pdf.table(("Time (UTC)", "Stage", "Technique", "Step", "Actor", "Target"), rows, (16, 13, 11, 28, 16, 16))
    if len(steps) > _MOST_STEPS:
        pdf.text(f"{len(steps) - _MOST_STEPS:,} further steps are in the attached data.")
    if patterns:
        pdf.text(f"Multistage patterns in it: {'; '.join(dict.fromkeys(p['title'] for p in patterns))}.")


def _processes(pdf: _Pages, told: Mapping[str, Any], titles: Mapping[str, str]) -> None:
    """Who started whom near the alerts, as of the moment at which the tables were asked: a line each, what it started below it and further in."""
    pdf.heading("Processes")
    if why := told.get("not_asked"):
        pdf.text(f"They were not asked for: {why}.")
        return
    hosts = ", ".join(told["hosts"]) or "none: the incident names none"
    pdf.text(f"As of {_clock(told['at'])} UTC, asked by {told['asked_by']}. Hosts: {hosts}.")
    rows: list[tuple[str, ...]] = []
    count = 0
    left = [(tree, 0) for tree in reversed(told["trees"])]  # a stack: trees may be deeper than calls can be
    while left:
        node, deep = left.pop()
        count += 1
        if len(rows) < _MOST_PROCESSES:
            number = "" if node["pid"] is None else f" ({node['pid']})"
            mark = "" if node["certain"] else "~ "
            name = f"{mark}{node['file'] or brief('Process', node['command']) or 'unknown program'}{number}"
            ended = f" to {node['ended'][11:19]}" if node["ended"] else ""
            times = f"{_clock(node['started'])}{ended}" if node["started"] else f"start not seen{ended}"
            alerts = "; ".join(dict.fromkeys(titles.get(a, "") for a in node["alerts"]))
            # Dots tell how deep it is: spaces at a cell's start are lost. A deep tree stops at what leaves room for names.
            rows.append(("\xb7 " * min(deep, 12) + name, times, node["account"], cut(node["command"], 160), alerts))
        left += [(child, deep + 1) for child in reversed(node["children"])]
    if not rows:
        pdf.text("No row tells of a process's start near its alerts.")
        return
    pdf.table(("Process (id)", "Ran (UTC)", "Account", "Command", "Alerts"), rows, (26, 17, 15, 25, 17))
    notes = [
        f"{count - len(rows):,} further processes are in the attached data" if count > len(rows) else "",
        f"{told['left_out']:,} further processes are near its alerts" if told["left_out"] else "",
        f"{told['hosts_left_out']} of its hosts weren't looked at" if told["hosts_left_out"] else "",
        "there were more rows than a query gives" if told["truncated"] else "",
        "" if told["ends_known"] else "the tables of event logs could not be read",
        "~: the link to what started it follows from the process id alone" if any("~ " in r[0] for r in rows) else "",
    ]
    if said := "; ".join(n for n in notes if n):
        pdf.text(f"{said[0].upper()}{said[1:]}.")


def _reach(pdf: _Pages, told: Mapping[str, Any]) -> None:
    """What could be reached and wasn't yet, as of the moment at which the tables were asked."""
    pdf.heading("What could be reached from there")
    if why := told.get("not_asked"):
        pdf.text(f"It was not asked: {why}.")
        return
    starts = ", ".join(s["label"] for s in told["starts"]) or "nothing: the incident names no account and no machine"
    more = f" and {told['starts_left_out']} more, which were not asked" if told["starts_left_out"] else ""
    rows = f", of rows from {_clock(told['from'])} to {_clock(told['to'])}" if told["from"] else ""
    pdf.text(f"As of {_clock(told['at'])} UTC, asked by {told['asked_by']}{rows}. From {starts}{more}.")
    things = [(t["type"], t["label"], _ways(t), t["why_critical"]) for t in told["things"]]
    if things:
        pdf.table(("Kind", "Name", "How", "Critical because"), things, (12, 28, 40, 20))
    else:
        pdf.text("Nothing is known that could be reached from there.")
    if told["left_out"]:
        pdf.text(f"{told['left_out']:,} further things were left out.")
    if unknown := [(q["name"], q["why"]) for q in (*told["unknown"], *told["failed"])]:
        pdf.table(("Of this nothing is known", "Why"), unknown, (50, 50))


def _ways(thing: Mapping[str, Any]) -> str:
    """The ways to a thing, each from what and how, and when it was last seen."""
    said = [
        f"{w['from']['label']} {w['how']}"
        + (f", {w['seen']:,} times" if w["seen"] > 1 else "")
        + (f", last {_clock(w['last'])}" if w["last"] else "")
        for w in thing["ways"]
    ]
    said += [f"{thing['ways_left_out']} more ways"] if thing["ways_left_out"] else []
    return ("In a second step: " if thing["hops"] > 1 else "") + "; ".join(said)


def _work(pdf: _Pages, sections: Mapping[str, Any]) -> None:
    incident, told = sections["incident"], sections["narrative"]
    if incident["tasks"]:
        pdf.heading("Tasks")
        rows = [
            (
                t["title"],
                t["created_by"],
                f"{_clock(t['completed'])} by {t['completed_by']}" if t["completed"] else "open",
            )
            for t in incident["tasks"]
        ]
        pdf.table(("Task", "Added by", "Done"), rows, (55, 15, 30))
    if told.get("advice"):
        pdf.heading("What to do next")
        steps = [(a["urgency"], a["state"], a["do"], _of(a), a["why"], a["because"]) for a in told["advice"]]
        pdf.table(("When", "State", "Step", "To what", "Why", "Because of"), steps, (8, 9, 26, 22, 24, 11))
    if sections["actions"]:
        pdf.heading("Actions")
        done = [
            (
                str(a["number"]),
                a["title"],
                a["status"],
                a["proposed_by"],
                a["decided_by"] or "",
                _clock(a["decided_at"] or a["proposed_at"]),
            )
            for a in sections["actions"][:_MOST_STEPS]
        ]
        pdf.table(("No.", "Action", "Status", "Proposed by", "Decided by", "When"), done, (7, 34, 13, 15, 15, 16))
        if len(sections["actions"]) > _MOST_STEPS:
            pdf.text(f"{len(sections['actions']) - _MOST_STEPS:,} further actions are in the attached data.")
    pdf.heading("Activity")
    entries = incident["activity"][-_MOST_STEPS:]
    if left_out := len(incident["activity"]) - len(entries):
        pdf.text(f"The newest {len(entries):,} entries; {left_out:,} earlier ones are in the attached data.")
    pdf.table(
        ("Time (UTC)", "Who", "What"), [(_clock(a["time"]), a["actor"], a["text"]) for a in entries], (18, 16, 66)
    )


class _Pages:
    """A document being written, top to bottom."""

    def __init__(self, bundle: Mapping[str, Any], letters: Letters) -> None:
        self.letters = letters
        written = letters.written
        self._pdf = _Numbered(format="A4")
        self._pdf.said = written(f"Tocsin - made {_clock(bundle['created'])} UTC - SHA-256 {bundle['hash']}")
        self._pdf.set_creation_date(datetime.fromisoformat(bundle["created"]))
        self._pdf.set_title(written(f"Incident #{bundle['sections']['incident']['number']}"))
        self._pdf.set_producer(written(bundle["product"]))
        self._pdf.set_margins(15, 15, 15)
        self._pdf.set_auto_page_break(True, 18)
        self._pdf.add_page()
        self._pdf.embed_file(
            bytes=to_json(bundle),
            basename=ATTACHMENT,
            mime_type="application/json",
            modification_date=datetime.fromisoformat(bundle["created"]),
            compress=True,
        )

    def heading(self, text: str, size: int = 12) -> None:
        pdf = self._pdf
        if pdf.will_page_break(size * 2 + _BELOW):
            pdf.add_page()
        pdf.ln(3)
        said = self._lettered(text, "B", size)
        pdf.set_text_color(*_INK)
        pdf.multi_cell(0, size * 0.5, said, new_x=XPos.LMARGIN, new_y=YPos.NEXT, align="L")
        pdf.ln(1)

    def text(self, text: str) -> None:
        pdf = self._pdf
        said = self._lettered(text, "", 9)
        pdf.set_text_color(*_INK)
        pdf.multi_cell(0, 4.6, said, new_x=XPos.LMARGIN, new_y=YPos.NEXT, align="L")
        pdf.ln(1)

    def facts(self, facts: Mapping[str, str]) -> None:
        self.table(("", ""), list(facts.items()), (20, 80), headings=False)

    def table(
        self,
        names: Sequence[str],
        rows: Iterable[Sequence[str]],
        widths: Sequence[int],
        *,
        headings: bool = True,
        mono: bool = False,
    ) -> None:
        pdf = self._pdf
        pdf.set_font("Courier" if mono else "Helvetica", "", 8)
        pdf.set_text_color(*_INK)
        pdf.set_draw_color(*_RULE)
        style = FontFace(emphasis="B", family="Helvetica", color=_DIM, fill_color=_FILL)
        with pdf.table(
            col_widths=tuple(widths),
            line_height=_LINE,
            first_row_as_headings=headings,
            headings_style=style,
            borders_layout="HORIZONTAL_LINES",
            cell_fill_mode=TableCellFillMode.NONE,
            text_align="LEFT",
            padding=(0.6, _PADDING / 2),
            wrapmode="CHAR" if mono else "WORD",
        ) as table:
            if headings:
                table.row([self.letters.written(n) for n in names])
            for row in rows:
                line = table.row()
                for cell, width in zip(row, widths, strict=True):
                    said = self.letters.written(_cut(cell))
                    face = self._face(said)
                    line.cell(self._within_a_page(said, face, pdf.epw * width / sum(widths)), style=face)
        pdf.ln(1)

    def _within_a_page(self, said: str, face: FontFace | None, width: float) -> str:
        """A cell's text as far as a page has room for it in that width: few characters are many lines where they are wide, written as code points, or
        each on a line of its own."""
        room = width - _PADDING
        if 2 * _WIDEST * len(said) <= room * _MOST_LINES and "\n" not in said:
            return said  # also where each line is but half full
        pdf = self._pdf
        with pdf.use_font_face(face or FontFace()):
            lines = pdf.multi_cell(room, _LINE, said, dry_run=True, output=MethodReturnValue.LINES, align="L")
        assert isinstance(lines, list)
        if len(lines) <= _MOST_LINES:
            return said
        return "\n".join([*lines[:_MOST_LINES], "[... more in the attached data]"])

    def _lettered(self, text: str, style: Literal["", "B"], size: float) -> str:
        """The text as it is written, and the font for it set."""
        said = self.letters.written(text)
        if self._face(said, style) is not None:
            self._pdf.set_font(WIDE, style, size)
        else:
            self._pdf.set_font("Helvetica", style, size)
        return said

    def _face(self, said: str, style: str = "") -> FontFace | None:
        """The face of a cell; None for the table's own."""
        if self.letters.family_of(said) != WIDE:
            return None
        self.letters.prepare(self._pdf, style)
        return FontFace(family=WIDE)

    def written_out(self, bundle: Mapping[str, Any]) -> bytes:
        """The document of the bundle."""
        _write(self, bundle)
        return bytes(self._pdf.output())


class _Numbered(FPDF):
    """Each page's foot says what document it belongs to."""

    said = ""

    def footer(self) -> None:
        self.set_y(-12)
        self.set_font("Helvetica", "", 6.5)
        self.set_text_color(*_DIM)
        self.cell(0, 4, f"{self.said} - page {self.page_no()}", align="L")


def _cut(text: str) -> str:
    """A cell's text; one that would fill a page is cut, and says so: the attached data has it whole."""
    return text if len(text) <= 1500 else f"{text[:1500]} [... {len(text) - 1500} more characters in the attached data]"


def _of(step: Mapping[str, Any]) -> str:
    """The things that a step is to be done to, with how far it is for each."""
    names = [t["label"] + (f" ({t['state']})" if t["state"] else "") for t in step["about"]]
    return "; ".join(names) + (f"; {step['about_left_out']} more" if step["about_left_out"] else "")


def _label(entity: Mapping[str, Any] | None) -> str:
    return cut(str(entity["label"]), _NAME) if entity else ""


def _clock(text: str | None) -> str:
    return "" if not text else text.replace("T", " ").split(".")[0].removesuffix("Z")
