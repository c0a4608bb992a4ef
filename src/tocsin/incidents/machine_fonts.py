"""Fonts of the machine for letters that Tocsin's own fonts lack: Chinese, Japanese, Korean, Thai, Devanagari, signs and emoji in one colour.

Looked for where fontconfig, macOS and Windows keep them. What is taken follows from the files alone, so that the same fonts give the same pages; a
file that is broken, too large, has no outlines, or may not be put into documents by its own word (OS/2 fsType) is passed by.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

__all__ = ["Font", "fonts_for", "the_same"]

MOST_BYTES = 40 * 2**20
"""A larger file is passed by: the largest of Noto's have 26 MiB."""

MOST_FILES = 500
"""Files that are looked into at most, of plain styles, and where these don't suffice of others."""

MOST_FONTS = 8
"""Fonts that one document takes at most."""

_ENDS = {".ttf", ".otf", ".ttc", ".otc"}
_STYLED = re.compile(
    r"bold|italic|oblique|light|thin|black|heavy|medium|semi|demi|extra|condensed|narrow|mono|serif|display",
    re.IGNORECASE,
)
_RESTRICTED, _NO_SUBSET, _BITMAPS_ONLY = 0x0002, 0x0100, 0x0200
_MEASURES = ("head", "hhea", "hmtx", "maxp", "post", "OS/2", "name")
_COLOURED = ("CBDT", "sbix", "SVG ", "COLR")


@dataclass(frozen=True, slots=True)
class Font:
    """A font file, of a collection its first font. `letters`: the code points that it draws."""

    path: Path
    name: str
    letters: frozenset[int]

    @property
    def sha256(self) -> str:
        """The file's hash."""
        return _hash(self.path)

    def to_dict(self) -> dict[str, str]:
        """What a proof says of it: `name`, `file` and `sha256`."""
        return {"name": self.name, "file": self.path.name, "sha256": self.sha256}


def fonts_for(letters: frozenset[int]) -> tuple[Font, ...]:
    """The machine's fonts that draw most of these letters, each as long as it draws some that those before don't."""
    left, taken, refused = set(letters), list[Font](), set[Path]()
    for plain in (True, False):
        every = _readable(plain) if left else []
        while left and len(taken) < MOST_FONTS:
            best = max((f for f in every if f.path not in refused), key=lambda f: len(f.letters & left), default=None)
            if best is None or not best.letters & left:
                break
            refused.add(best.path)
            if _draws(best, sorted(best.letters & left)):
                taken.append(best)
                left -= best.letters
    return tuple(taken)


def the_same(told: Sequence[Mapping[str, Any]]) -> tuple[Font, ...] | None:
    """The fonts that a proof names (`Font.to_dict`), in its order; None where this machine lacks one of them."""
    files = _files()
    found = []
    for each in told:
        # By its file's name first: hashing every font there is takes long.
        likely = sorted(files, key=lambda f: f[0].name != each.get("file"))
        path = next((f for f, *_ in likely if _hash(f) == each.get("sha256")), None)
        font = path and _read(path, *next(f[1:] for f in files if f[0] == path))
        if not font:
            return None
        found.append(font)
    return tuple(found)


def folders() -> list[Path]:
    """Where fonts are kept: fontconfig's usual folders, macOS's, Windows's."""
    home = Path(os.environ.get("HOME") or os.environ.get("USERPROFILE") or "/")
    if sys.platform == "win32":
        local = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
        return [Path(os.environ.get("WINDIR") or "C:/Windows") / "Fonts", local / "Microsoft" / "Windows" / "Fonts"]
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library" / "Fonts"]
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), data / "fonts", home / ".fonts"]


def _readable(plain: bool) -> list[Font]:
    """The fonts that can be read, of a plain style or of another, by their paths."""
    files = [f for f in _files() if bool(_STYLED.search(f[0].stem)) != plain]
    return [font for f in files[:MOST_FILES] if (font := _read(*f)) is not None]


def _files() -> list[tuple[Path, int, float]]:
    """The files with their sizes and when they were changed, by their paths."""
    found: dict[Path, tuple[Path, int, float]] = {}
    for folder in folders():
        for top, _, names in os.walk(folder):
            for path in (Path(top) / name for name in names):
                if path.suffix.lower() not in _ENDS or not path.is_file():
                    continue
                try:
                    stat = path.stat()
                except OSError:
                    continue
                if 0 < stat.st_size <= MOST_BYTES:
                    found[path] = (path, stat.st_size, stat.st_mtime)
    return [found[path] for path in sorted(found)]


def _hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


@lru_cache(maxsize=4 * MOST_FILES)
def _read(path: Path, size: int, _changed: float) -> Font | None:
    """What a file draws; None for one that can't be used."""
    from fontTools.ttLib import TTFont

    try:
        with path.open("rb") as file, TTFont(file, fontNumber=0, lazy=True) as font:
            tables = font.reader.tables.values()
            if any(t.offset + t.length > size for t in tables):
                return None  # cut off
            if not ("glyf" in font or "CFF " in font) or any(t in font for t in _COLOURED):
                return None
            embeds = font["OS/2"].fsType if "OS/2" in font else 0
            if embeds & 0x000F == _RESTRICTED or embeds & (_NO_SUBSET | _BITMAPS_ONLY):
                return None
            return Font(
                path, str(font["name"].getBestFamilyName() or path.stem)[:80], frozenset(font.getBestCmap() or {})
            )
    except Exception:  # whatever somebody's file does to a reader of fonts, no page is lost for it
        return None


def _draws(font: Font, letters: Sequence[int]) -> bool:
    """Whether what a page takes of it can be taken: its measures, these letters' glyphs, and how they join."""
    import uharfbuzz
    from fontTools.subset import Options, Subsetter
    from fontTools.ttLib import TTFont

    try:
        with font.path.open("rb") as file, TTFont(file, fontNumber=0) as opened:
            for table in _MEASURES:
                opened[table]
            subsetter = Subsetter(Options(notdef_outline=True, recommended_glyphs=True))  # as fpdf2 takes them
            subsetter.populate(unicodes=letters)
            subsetter.subset(opened)
            opened.save(io.BytesIO())
        buffer = uharfbuzz.Buffer()
        buffer.add_str("".join(map(chr, letters)))
        buffer.guess_segment_properties()
        uharfbuzz.shape(uharfbuzz.Font(uharfbuzz.Face(font.path.read_bytes(), 0)), buffer)
    except Exception:  # as above: a broken table may show only when its glyphs are taken
        return False
    return True
