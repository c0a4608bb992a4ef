"""A proof's file that readers could take for another one is refused, though each hash in it is right."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfWriter

from tests.incidents.test_correlate import ANN, T0, WS1, alert
from tocsin import __version__
from tocsin.base.clock import ManualClock
from tocsin.content import Content
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.export import FORMAT, ExportError, _sha, attachment_of, bundle, to_json, verify
from tocsin.incidents.pdf import to_pdf
from tocsin.state import State


def _file() -> bytes:
    sections = {"incident": {"number": 7, "title": "a?b"}, "log": []}
    head = {"format": FORMAT, "created": "c", "product": "p", "hashes": {n: _sha(v) for n, v in sections.items()}}
    return to_json({**head, "hash": _sha(head), "sections": sections})


def test_an_added_part_is_named() -> None:
    assert verify(_file()).intact
    proof = verify(_file().replace(b',"sections"', b',"verdict":"benign","sections"', 1))
    assert not proof.intact
    assert proof.problems == ("The part 'verdict' was added.",)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'{"created"', b'{"sections":{"incident":{"number":666}},"created"', "'sections' stands twice"),
        (b'"number":7', b'"number":666,"number":7', "'number' stands twice"),
        (b"a?b", b"a\\ud800b", "surrogates"),
        (b'"log":[]', b'"log":' + b"[" * 200_000, "recursion"),
    ],
)
def test_what_readers_would_read_differently_is_refused(old: bytes, new: bytes, said: str) -> None:
    with pytest.raises(ExportError, match=said):
        verify(_file().replace(old, new, 1))


@pytest.fixture(scope="module")
def pdf(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    state = State.open(tmp_path_factory.mktemp("tamper") / "state.db", clock=ManualClock(T0 + timedelta(hours=1)))
    try:
        desk = IncidentDesk(state)
        desk.add([alert("dump", 0, WS1, ANN, severity="High"), alert("hop", 5, WS1, ANN)])
        with state.read() as unit:
            made = bundle(unit, desk.page()["items"][0]["id"], Content(), None, __version__)
    finally:
        state.close()
    return to_pdf(made)


def _again(data: bytes, change: Callable[[PdfWriter], Any]) -> bytes:
    writer = PdfWriter(clone_from=io.BytesIO(data))
    change(writer)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def _said(data: bytes) -> str:
    """What is said of a file that was changed."""
    try:
        proof = verify(data)
    except ExportError as error:
        return str(error)
    assert not proof.intact
    return " ".join(proof.problems)


def test_attachments_that_come_or_go_are_told(pdf: bytes) -> None:
    assert verify(pdf).pages is True
    other = attachment_of(pdf).replace(b'"severity":"High"', b'"severity":"Low"')
    assert "note.txt" in _said(_again(pdf, lambda w: w.add_attachment("note.txt", b"all is well")))
    assert "2 files named incident.json" in _said(_again(pdf, lambda w: w.add_attachment("incident.json", other)))
    assert "carries no incident's data" in _said(_again(pdf, lambda w: w.root_object.pop("/Names")))
    assert "pages don't say" in _said(_again(pdf, lambda w: None)), "written anew by another program"


@pytest.mark.parametrize("end", [-1, -10, -1000, 5000, 200, 12])
def test_a_file_that_was_cut_off_is_told(pdf: bytes, end: int) -> None:
    assert _said(pdf[:end])
    whole = attachment_of(pdf)
    assert _said(whole.rstrip(b"\n")[:end])


@settings(max_examples=25)
@given(data=st.data())
def test_one_bit_is_told_wherever_it_is(pdf: bytes, data: st.DataObject) -> None:
    for file in (pdf, attachment_of(pdf)):
        at, bit = data.draw(st.integers(0, len(file) - 1)), data.draw(st.integers(0, 7))
        changed = bytearray(file)
        changed[at] ^= 1 << bit
        if file is pdf or changed[at : at + 1].strip():  # of JSON, what is between its tokens says nothing
            assert _said(bytes(changed))


def test_data_whose_hashes_fit_but_that_is_no_incident_crashes_nothing(pdf: bytes) -> None:
    made = json.loads(attachment_of(pdf))
    made["sections"]["incident"] = {"number": 1}
    made["hashes"]["incident"] = _sha(made["sections"]["incident"])
    made["hash"] = _sha({n: made[n] for n in ("format", "created", "product", "hashes")})

    def swap(writer: PdfWriter) -> None:
        writer.root_object.pop("/Names")
        writer.add_attachment("incident.json", to_json(made))

    proof = verify(_again(pdf, swap))
    assert (proof.intact, proof.pages) == (False, False)
    assert proof.problems == ("The data is no incident's: no pages can be made of it.",)
