"""Letters for the proof's pages: the PDF's built-in fonts for Latin text, Arimo and Noto Sans Arabic for what they lack, fonts of the machine beyond.

The built-in fonts stand in every reader and keep the file small; the others are read only for pages that need them, and only the letters that
occur are put into the file. What no font has, and characters that turn the direction of writing, is written as its code point, as in \\u4e2d, and
the attached data has it as it was.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from fpdf import FPDF

from tocsin.incidents.machine_fonts import Font

__all__ = ["BUILT_IN", "WIDE", "Letters"]

BUILT_IN = "Helvetica"
WIDE = "Arimo"
"""The family of texts that aren't Latin."""

_ARABIC = "Noto Sans Arabic"
_REPLACED = {"→": "->", "–": "-", "—": "-", "…": "...", "’": "'", "‘": "'", "“": '"', "”": '"', "×": "x", "•": "-"}
_BOLD = {"wght": 700.0}


class Letters:
    """The letters of one document. `missing`: code points that were wanted and that no font so far has, but for those that draw nothing; `wide`:
    whether letters beyond Latin were wanted. `dry`: none but Latin ones are written, so that a first round tells quickly what there is to write."""

    def __init__(self, fonts: Sequence[Font] = (), *, dry: bool = False) -> None:
        self._fonts, self._dry = tuple(fonts), dry
        self.wide = False
        self._more = frozenset(c for f in self._fonts for c in f.letters if not _draws_nothing(c))
        self.missing: set[int] = set()

    def written(self, text: str) -> str:
        """The text in letters that there are."""
        for there, here in _REPLACED.items():
            text = text.replace(there, here)
        if not _is_latin(text):
            text = "".join(map(self._letter, text))
        return text.replace("\t", "    ")

    def _letter(self, char: str) -> str:
        code = ord(char)
        if _is_latin(char):
            return char
        if code in _letters() or code in self._more:
            self.wide = True
            return "?" if self._dry else char
        if not _draws_nothing(code) and not char.isspace():  # spaces of other widths are no reason to look for a font
            self.missing.add(code)
        return f"\\u{code:04x}"

    @staticmethod
    def family_of(text: str) -> str:
        """The family that has all letters of a `written` text."""
        return BUILT_IN if _is_latin(text) else WIDE

    def prepare(self, pdf: FPDF, style: str = "") -> None:
        """Makes the wide family known to a document in a style ("" or "B"), and those that help it out. Bold is cut from variable fonts, which takes
        seconds: only who needs it asks for it."""
        if f"{WIDE.lower()}{style}" in pdf.fonts:
            return
        first = WIDE.lower() not in pdf.fonts
        for family, path in ((WIDE, _arimo()), (_ARABIC, _arabic())):
            if first:
                pdf.add_font(family, "", path)
            if style:
                pdf.add_font(family, style, path, variations=dict(_BOLD))
        names = [f"machine-{n}" for n in range(len(self._fonts))]
        if first:
            for name, font in zip(names, self._fonts, strict=True):
                pdf.add_font(name, "", font.path)
            pdf.set_text_shaping(True)
        # The machine's fonts have one style: a heading takes it too.
        pdf.set_fallback_fonts([_ARABIC, *names], exact_match=False)


def _draws_nothing(code: int) -> bool:
    """Whether a character only controls how others are shown, or stands for nothing: no font is looked for because of it."""
    return unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


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
