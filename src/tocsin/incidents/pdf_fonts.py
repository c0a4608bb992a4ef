"""Letters for the proof's pages: the PDF's built-in fonts for Latin text, Arimo and Noto Sans Arabic for what they lack.

The built-in fonts stand in every reader and keep the file small; the others are read only for pages that need them, and only the letters that
occur are put into the file. What no font has (Chinese, Japanese, Korean, emoji; characters that turn the direction of writing) is written as its
code point, as in \\u4e2d, and the attached data has it as it was.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from fpdf import FPDF

__all__ = ["BUILT_IN", "WIDE", "family_of", "prepare", "written"]

BUILT_IN = "Helvetica"
WIDE = "Arimo"
"""The family of texts that aren't Latin."""

_ARABIC = "Noto Sans Arabic"
_REPLACED = {"→": "->", "–": "-", "—": "-", "…": "...", "’": "'", "‘": "'", "“": '"', "”": '"', "×": "x", "•": "-"}
_BOLD = {"wght": 700.0}


def written(text: str) -> str:
    """The text in letters that there are."""
    for there, here in _REPLACED.items():
        text = text.replace(there, here)
    if not _is_latin(text):
        text = "".join(c if _is_latin(c) or ord(c) in _letters() else f"\\u{ord(c):04x}" for c in text)
    return text.replace("\t", "    ")


def family_of(text: str) -> str:
    """The family that has all letters of a `written` text."""
    return BUILT_IN if _is_latin(text) else WIDE


def prepare(pdf: FPDF) -> None:
    """Makes the wide family known to a document."""
    if f"{WIDE.lower()}" in pdf.fonts:
        return
    for family, path in ((WIDE, _arimo()), (_ARABIC, _arabic())):
        pdf.add_font(family, "", path)
        pdf.add_font(family, "B", path, variations=dict(_BOLD))
    pdf.set_fallback_fonts([_ARABIC], exact_match=True)
    pdf.set_text_shaping(True)


def _is_latin(text: str) -> bool:
    return all(c in "\n\t" or " " <= c <= "~" or "\xa1" <= c <= "\xff" for c in text)


@lru_cache(maxsize=1)
def _letters() -> frozenset[int]:
    """The code points of both fonts, without those that only turn the direction of writing."""
    from fontTools.ttLib import TTFont

    found: set[int] = set()
    for path in (_arimo(), _arabic()):
        with TTFont(path, lazy=True) as font:
            found.update(font.getBestCmap())
    turns = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
    return frozenset(c for c in found if c > 0xFF and c not in turns)


def _arimo() -> Path:
    return Path(str(files("fontpkg_arimo") / "files" / "Arimo[wght].ttf"))


def _arabic() -> Path:
    return Path(str(files("fontpkg_noto_sans_arabic") / "files" / "NotoSansArabic[wdth,wght].ttf"))
