"""The machine's fonts on a proof's pages: taken where they are, named in its head, passed by where they are broken, told of where they lack."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pypdf import PdfReader
from typer.testing import CliRunner

from tests.incidents.test_correlate import ANN, T0, WS1, alert
from tocsin import __version__
from tocsin.base.clock import ManualClock
from tocsin.cli.app import app
from tocsin.content import Content
from tocsin.incidents import machine_fonts
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.export import FontsError, attachment_of, bundle, to_json, verify
from tocsin.incidents.pdf import made_again, to_pdf
from tocsin.incidents.pdf_fonts import Letters
from tocsin.state import State

REAL = {
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc": "中文 日本語 한국어",
    "/usr/share/fonts/truetype/lohit-devanagari/Lohit-Devanagari.ttf": "क्षत्रिय प्रार्थना",
}


def font(path: Path, letters: str, *, name: str = "Squares", fs_type: int = 0) -> Path:
    """A font in which each letter is a square."""
    glyphs = [".notdef", *(f"g{ord(c):x}" for c in letters)]
    pen = TTGlyphPen(None)
    for step, point in enumerate(((100, 0), (100, 700), (800, 700), (800, 0))):
        (pen.lineTo if step else pen.moveTo)(point)
    pen.closePath()
    square = pen.glyph()
    built = FontBuilder(1000, isTTF=True)
    built.setupGlyphOrder(glyphs)
    built.setupCharacterMap({ord(c): f"g{ord(c):x}" for c in letters})
    built.setupGlyf(dict.fromkeys(glyphs, square))
    built.setupHorizontalMetrics(dict.fromkeys(glyphs, (900, 100)))
    built.setupHorizontalHeader(ascent=800, descent=-200)
    built.setupNameTable({"familyName": name, "styleName": "Regular"})
    built.setupOS2(fsType=fs_type)
    built.setupPost()
    built.font["head"].created = built.font["head"].modified = 3_000_000_000
    built.font.recalcTimestamp = False
    built.save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where this machine keeps fonts."""
    made = tmp_path / "fonts"
    made.mkdir()
    monkeypatch.setattr(machine_fonts, "folders", lambda: [made])
    return made


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A proof with a title in Chinese, in Hebrew and Arabic, and with one that turns the direction of writing."""
    state = State.open(tmp_path_factory.mktemp("fonts") / "state.db", clock=ManualClock(T0))
    try:
        desk = IncidentDesk(state)
        title = "中文文件 שלום مرحبا \u202egpj.exe"
        desk.add([alert("dump", 0, WS1, ANN, severity="High"), alert("hop", 5, WS1, ANN, title=title)])
        with state.read() as unit:
            return bundle(unit, desk.page()["items"][0]["id"], Content(), None, __version__)
    finally:
        state.close()


def text_of(pdf: bytes) -> str:
    return " ".join("".join(p.extract_text() for p in PdfReader(io.BytesIO(pdf)).pages).split())


def test_letters_are_taken_from_the_machine_and_the_proof_names_the_font(
    plain: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    there = font(folder / "squares.ttf", "中文件")
    pdf = to_pdf(plain)
    assert pdf == to_pdf(plain), "the same font gives the same bytes"
    carried = json.loads(attachment_of(pdf))
    assert [f["name"] for f in carried["fonts"]] == ["Squares"]
    assert carried["sections"] == plain["sections"]
    text = text_of(pdf)
    assert "中文文件" in text
    assert "letters of fonts of the machine that made it: Squares" in text
    assert "gpj.exe" in text
    assert "\\u202e" in text, "what turns the direction of writing stays visible"
    assert not any(f"\\u{part}" in text for part in ("05", "06", "4e2d"))
    found = verify(pdf)
    assert (found.intact, found.pages, found.problems) == (True, True, ())
    # Elsewhere the data can still be checked, the pages can't.
    file = tmp_path / "case.pdf"
    file.write_bytes(pdf)
    there.unlink()
    found = verify(pdf)
    assert (found.intact, found.pages, found.pages_why) == (
        True,
        None,
        "This machine lacks fonts of its pages (Squares)",
    )
    said = CliRunner().invoke(app, ["incidents", "verify", str(file)])
    assert said.exit_code == 0
    assert "This machine lacks fonts of its pages (Squares): they can't be compared, its data is intact." in said.stdout
    font(folder / "squares.ttf", "中文件日")
    assert verify(pdf).pages is None, "another file of that name is another font"
    with pytest.raises(FontsError):
        made_again(carried)


def test_without_a_font_the_page_says_what_it_couldn_t_write(plain: dict[str, Any], folder: Path) -> None:
    pdf = to_pdf(plain)
    assert "fonts" not in json.loads(attachment_of(pdf))
    text = text_of(pdf)
    assert "\\u4e2d\\u6587\\u6587\\u4ef6" in text
    assert (
        "3 characters stand above as code points, because the machine that made it has no font for them: \\u4e2d, \\u4ef6, \\u6587."
        in text
    )
    font(folder / "squares.ttf", "中文件")
    assert verify(pdf).pages is True, "who checks it has the font, who made it hadn't"
    font(folder / "squares.ttf", "中")
    assert "中\\u6587" in text_of(to_pdf(plain)), "what there is, is taken"


def test_no_font_is_looked_for_because_of_what_draws_nothing(folder: Path) -> None:
    letters = Letters()
    assert letters.written("a\xa0b\u202e\ue000") == "a\\u00a0b\\u202e\\ue000"
    assert letters.missing == set()
    assert Letters(machine_fonts.fonts_for(frozenset())).written("中") == "\\u4e2d"
    font(folder / "squares.ttf", "中\u3000")
    assert Letters(machine_fonts.fonts_for(frozenset({ord("中")}))).written("中\u3000中") == "中\u3000中", (
        "its own space goes with it"
    )


def test_pages_or_fonts_that_were_changed_are_told(plain: dict[str, Any], folder: Path) -> None:
    font(folder / "squares.ttf", "中文件")
    pdf = to_pdf(plain)
    assert verify(pdf.replace(b"/Title", b"/Titel", 1)).problems == ("The pages don't say what the data says.",)
    for change in (
        lambda m: m.pop("fonts"),
        lambda m: m["fonts"][0].update(name="Other"),
        lambda m: m["fonts"].clear(),
    ):
        other = json.loads(attachment_of(pdf))
        change(other)
        assert not verify(to_json(other)).intact


def broken(folder: Path) -> Iterable[Path]:
    whole = font(folder / "whole.ttf", "中文件").read_bytes()
    (folder / "whole.ttf").unlink()
    glyf = whole.index(b"glyf", 12)
    at = int.from_bytes(whole[glyf + 8 : glyf + 12], "big")
    for name, data in {
        "cut.ttf": whole[: at + 4],
        "empty.ttf": b"",
        "noise.otf": bytes(range(256)) * 64,
        "head.ttf": whole[:40],
        "glyphs.ttf": whole[:at] + b"\xff" * 8 + whole[at + 8 :],
    }.items():
        (folder / name).write_bytes(data)
        yield folder / name
    (folder / "folder.ttf").mkdir()
    yield font(folder / "restricted.ttf", "中文件", fs_type=0x0002)
    yield font(folder / "no-subset.ttf", "中文件", fs_type=0x0100)


def test_a_broken_or_restricted_font_breaks_no_page(plain: dict[str, Any], folder: Path) -> None:
    assert len(list(broken(folder))) == 7
    pdf = to_pdf(plain)
    assert "fonts" not in json.loads(attachment_of(pdf))
    assert "\\u4e2d" in text_of(pdf)
    font(folder / "zz.ttf", "中文件", name="Whole")
    assert [f["name"] for f in json.loads(attachment_of(to_pdf(plain)))["fonts"]] == ["Whole"], (
        "the whole one beside them is found"
    )


def test_a_file_that_is_too_large_is_not_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = font(folder / "squares.ttf", "中")
    assert [f.path for f in machine_fonts.fonts_for(frozenset({ord("中")}))] == [there]
    monkeypatch.setattr(machine_fonts, "MOST_BYTES", there.stat().st_size - 1)
    assert machine_fonts.fonts_for(frozenset({ord("中")})) == ()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_bytes_a_font_has_nothing_is_raised(folder: Path, data: st.DataObject) -> None:
    path = font(folder / "squares.ttf", "中文")
    changed = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 20))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(changed)
    machine_fonts._read.cache_clear()
    for each in machine_fonts.fonts_for(frozenset(map(ord, "中文"))):
        assert each.letters & set(map(ord, "中文"))


@pytest.mark.parametrize("path", REAL)
def test_scripts_of_real_fonts_are_read_on_the_pages(
    path: str, plain: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path(path).is_file():
        pytest.skip(f"{path} is not installed: run tools/system.py")
    monkeypatch.setattr(machine_fonts, "folders", lambda: [Path(path).parent])
    other = json.loads(to_json(plain))
    other["sections"]["incident"]["title"] = REAL[path]
    text = text_of(to_pdf(other))
    assert "\\u" not in text.split("Severity")[0]
    # Devanagari's syllables are joined glyphs: what is read back needn't have each code point at its place, but none is an escape.
    if "中" in REAL[path]:
        assert REAL[path] in text
