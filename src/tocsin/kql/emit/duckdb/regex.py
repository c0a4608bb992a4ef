r"""KQL's regular expressions as RE2 takes them, checked before the engine sees them.

DuckDB compiles a constant pattern while it plans, and a bad one is an error that no TRY catches; so everything RE2 would refuse is
refused here, with a reason. Two meanings differ and are rewritten: `\d \w \s` are Unicode in KQL and ASCII in RE2, and
a named group is ``(?<n>…)``. What stays different: `\b` is ASCII.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Regex", "RegexError", "escape", "translate", "translate_rewrite"]

_WORD = r"\p{L}\p{M}\p{Nd}\p{Pc}"
_NOT_WORD = r"\p{Nl}\p{No}\p{Pd}\p{Ps}\p{Pe}\p{Pi}\p{Pf}\p{Po}\p{S}\p{Z}\p{C}"
_NOT_SPACE = r"\p{L}\p{M}\p{N}\p{P}\p{S}\p{Cf}\p{Co}\x00-\x08\x0e-\x1f\x7f-\x{84}\x{86}-\x{9f}"
_OUTSIDE = {
    "d": r"\p{Nd}",
    "D": r"\P{Nd}",
    "w": f"[{_WORD}]",
    "W": f"[^{_WORD}]",
    "s": r"[\s\p{Z}\x{85}]",
    "S": r"[^\s\p{Z}\x{85}]",
}
_INSIDE = {"d": r"\p{Nd}", "D": r"\P{Nd}", "w": _WORD, "W": _NOT_WORD, "s": r"\s\p{Z}\x{85}", "S": _NOT_SPACE}
_CONTROL = "aftnrv"
_POSIX = frozenset(
    [
        "alnum",
        "alpha",
        "ascii",
        "blank",
        "cntrl",
        "digit",
        "graph",
        "lower",
        "print",
        "punct",
        "space",
        "upper",
        "word",
        "xdigit",
    ]
)
_REPEAT = re.compile(r"\{(\d+)(?:(,)(\d*))?\}")
_CATEGORY = re.compile(r"\{(\^?)([A-Za-z_]+)\}")
_CATEGORIES = frozenset(
    [
        "C",
        "Cc",
        "Cf",
        "Co",
        "Cs",
        "L",
        "Ll",
        "Lm",
        "Lo",
        "Lt",
        "Lu",
        "M",
        "Mc",
        "Me",
        "Mn",
        "N",
        "Nd",
        "Nl",
        "No",
        "P",
        "Pc",
        "Pd",
        "Pe",
        "Pf",
        "Pi",
        "Po",
        "Ps",
        "S",
        "Sc",
        "Sk",
        "Sm",
        "So",
        "Z",
        "Zl",
        "Zp",
        "Zs",
        "Any",
    ]
)
_SCRIPTS = frozenset(
    [
        "Arabic",
        "Armenian",
        "Bengali",
        "Bopomofo",
        "Braille",
        "Cherokee",
        "Common",
        "Coptic",
        "Cyrillic",
        "Devanagari",
        "Ethiopic",
        "Georgian",
        "Greek",
        "Gujarati",
        "Gurmukhi",
        "Han",
        "Hangul",
        "Hebrew",
        "Hiragana",
        "Inherited",
        "Kannada",
        "Katakana",
        "Khmer",
        "Lao",
        "Latin",
        "Malayalam",
        "Mongolian",
        "Myanmar",
        "Oriya",
        "Runic",
        "Sinhala",
        "Syriac",
        "Tamil",
        "Telugu",
        "Thaana",
        "Thai",
        "Tibetan",
        "Yi",
    ]
)
_LONG_CATEGORIES = {
    "Letter": "L",
    "Alphabetic": "L",
    "Number": "N",
    "Punctuation": "P",
    "Symbol": "S",
    "Separator": "Z",
    "Other": "C",
    "Mark": "M",
    "Uppercase_Letter": "Lu",
    "Lowercase_Letter": "Ll",
    "Decimal_Number": "Nd",
    "Uppercase": "Lu",
    "Lowercase": "Ll",
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# RE2 gives a compiled program at most 8 MB. A Unicode letter class is about 400 instructions, and a counted repetition copies its operand.
_BUDGET = 150_000
_LETTERS = 400


class RegexError(ValueError):
    """A pattern that RE2 can't run; the text says why."""


@dataclass(frozen=True, slots=True)
class Regex:
    """A checked pattern: RE2's text and the number of its groups."""

    pattern: str
    groups: int


def escape(value: str) -> str:
    """`value` as a pattern that matches just it."""
    return re.sub(r"([^\w\s]|_)", lambda m: "\\" + m.group(0) if ord(m.group(0)) < 128 else m.group(0), value)


@lru_cache(maxsize=4096)
def translate(pattern: str) -> Regex:
    """Check `pattern` and rewrite it for RE2. Raises RegexError."""
    return _Translator(pattern).run()


def translate_rewrite(rewrite: str, groups: int) -> str:
    r"""Check the replacement of replace_regex: ``\0`` … ``\9`` within the pattern's groups, ``\\``; anything else is literal."""
    out: list[str] = []
    i = 0
    while i < len(rewrite):
        char = rewrite[i]
        if char != "\\":
            out.append(char)
            i += 1
            continue
        following = rewrite[i + 1 : i + 2]
        if following.isdigit() and following.isascii():
            if int(following) > groups:
                raise RegexError(f"the replacement uses group \\{following}, but the pattern has {groups}")
            out.append(char + following)
            i += 2
        elif following == "\\":
            out.append("\\\\")
            i += 2
        else:
            out.append("\\\\")
            i += 1
    return "".join(out)


class _Translator:
    """One pass over the pattern, with a stack of open groups and the size of what each makes."""

    def __init__(self, pattern: str) -> None:
        self.text = pattern
        self.at = 0
        self.out: list[str] = []
        self.groups = 0
        self.sizes: list[int] = [0]
        self.last = 0  # size of the last item, 0 when nothing can be repeated
        self.repeats: list[int] = [0]  # repetition product inside each open group, for RE2's limit of 1000
        self.last_repeat = 0

    def run(self) -> Regex:
        text = self.text
        if "\x00" in text:
            raise RegexError("a pattern may not hold a NUL character")
        if len(text) > 20_000:
            raise RegexError("the pattern is longer than 20,000 characters")
        while self.at < len(text):
            self._step(text[self.at])
        if len(self.sizes) > 1:
            raise RegexError("a '(' is not closed")
        if self.sizes[0] > _BUDGET:
            raise RegexError("the pattern is too large when its counted repetitions are written out")
        return Regex("".join(self.out), self.groups)

    def _step(self, char: str) -> None:
        if char == "\\":
            self._escape()
        elif char == "[":
            self._class()
        elif char == "(":
            self._open()
        elif char == ")":
            if len(self.sizes) == 1:
                raise RegexError("unexpected ')'")
            size, inner = self.sizes.pop(), self.repeats.pop()
            self._put(")", max(size, 1), inner)
            self.at += 1
        elif char in "*+?" or (char == "{" and _REPEAT.match(self.text, self.at)):
            self._repeat(char)
        elif char == "|":
            self.out.append("|")
            self.last = 0
            self.at += 1
        else:
            self._put(char, 0 if char == "^" else 1)
            if char == "^":
                self.last = 1
            self.at += 1

    def _put(self, text: str, size: int, inner_repeat: int = 0) -> None:
        self.out.append(text)
        self.sizes[-1] += size
        self.last = max(size, 1)
        self.last_repeat = inner_repeat
        self.repeats[-1] = max(self.repeats[-1], inner_repeat)

    def _repeat(self, char: str) -> None:
        if not self.last:
            raise RegexError(f"nothing to repeat before '{char}' at {self.at}")
        if char == "{":
            match = _REPEAT.match(self.text, self.at)
            assert match is not None
            low, high = int(match[1]), int(match[3]) if match[3] else int(match[1])
            if max(low, high) > 1000:
                raise RegexError(f"the repetition {match[0]} is above 1000")
            if match[3] and high < low:
                raise RegexError(f"the repetition {match[0]} ends before it starts")
            times = max(low, high, 1)
            product = times * max(self.last_repeat, 1)
            if product > 1000:
                raise RegexError("nested counted repetitions make more than 1000 copies")
            self.sizes[-1] += self.last * (times - 1)
            self.last_repeat = product
            self.repeats[-1] = max(self.repeats[-1], product)
            self.out.append(match[0])
            self.at = match.end()
        else:
            self.out.append(char)
            self.at += 1
        if self.text[self.at : self.at + 1] == "?":
            self.out.append("?")
            self.at += 1
        follower = self.text[self.at : self.at + 1]
        if follower and (follower in "*+?" or (follower == "{" and _REPEAT.match(self.text, self.at))):
            raise RegexError(f"'{follower}' follows another repetition at {self.at}")

    def _open(self) -> None:
        text, at = self.text, self.at
        self.sizes.append(0)
        self.repeats.append(0)
        if len(self.sizes) > 200:
            raise RegexError("groups are nested more than 200 deep")
        self.last = 0
        if not text.startswith("(?", at):
            self.groups += 1
            self.out.append("(")
            self.at += 1
            return
        for named in ("(?P<", "(?<"):
            if text.startswith(named, at) and text[at + len(named) : at + len(named) + 1] not in ("=", "!"):
                name = _NAME.match(text, at + len(named))
                if name is None or text[name.end() : name.end() + 1] != ">":
                    raise RegexError("a group's name is malformed")
                self.groups += 1
                self.out.append(f"(?P<{name[0]}>")
                self.at = name.end() + 1
                return
        flags = re.compile(r"\(\?([imsU]*(?:-[imsU]+)?)([:)])").match(text, at)
        if flags is not None and (flags[1] or flags[2] == ":"):
            self.out.append(flags[0])
            self.at = flags.end()
            if flags[2] == ")":
                self.sizes.pop()
                self.repeats.pop()
            return
        raise RegexError(
            "look-around, back-references and other '(?' extensions are not part of KQL's regular expressions"
        )

    def _escape(self) -> None:
        char = self.text[self.at + 1 : self.at + 2]
        if not char:
            raise RegexError("the pattern ends with '\\'")
        if char in _OUTSIDE:
            self._put(_OUTSIDE[char], _LETTERS * 2 if char in "wW" else 20)
            self.at += 2
        elif char in "bBAzCGZ":
            if char in "CGZ":
                raise RegexError(f"the escape '\\{char}' is not part of KQL's regular expressions")
            self._put("\\" + char, 1)
            self.at += 2
        elif char == "Q":
            end = self.text.find("\\E", self.at + 2)
            quoted = self.text[self.at + 2 : end if end >= 0 else None]
            for one in quoted:
                self._put(escape(one), 1)
            self.at = len(self.text) if end < 0 else end + 2
        else:
            piece, size = self._literal_escape(char)
            self._put(piece, size)

    def _literal_escape(self, char: str) -> tuple[str, int]:
        """An escape that means one character (or a category): its RE2 text; moves on."""
        text = self.text
        if char in "pP":
            match = _CATEGORY.match(text, self.at + 2)
            if match is not None:
                name = _LONG_CATEGORIES.get(match[2], match[2])
                if name not in _CATEGORIES and name not in _SCRIPTS:
                    raise RegexError(f"the character class '\\{char}{match[0]}' is unknown")
                self.at = match.end()
                return f"\\{char}{{{match[1]}{name}}}", _LETTERS
            name = text[self.at + 2 : self.at + 3]
            if name not in _CATEGORIES:
                raise RegexError(f"the character class '\\{char}{name}' is unknown")
            self.at += 3
            return f"\\{char}{{{name}}}", _LETTERS
        code = re.compile(r"x([0-9A-Fa-f]{2})|x\{([0-9A-Fa-f]{1,6})\}|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}").match(
            text, self.at + 1
        )
        if code is not None:
            value = int(next(g for g in code.groups() if g), 16)
            if value > 0x10FFFF:
                raise RegexError(f"'\\{code[0]}' is not a character")
            self.at = code.end()
            return f"\\x{{{value:x}}}", 1
        if char in _CONTROL:
            self.at += 2
            return "\\" + char, 1
        if char in "e0":
            octal = re.compile(r"0[0-7]{0,2}").match(text, self.at + 1)
            value = 27 if octal is None else int(octal[0], 8)
            self.at += 2 if octal is None else 1 + len(octal[0])
            return f"\\x{{{value:x}}}", 1
        if char.isalnum() and char.isascii():
            if char.isdigit():
                raise RegexError("back-references are not part of KQL's regular expressions")
            raise RegexError(f"the escape '\\{char}' is not part of KQL's regular expressions")
        self.at += 2
        return escape(char), 1

    def _class(self) -> None:
        text = self.text
        start = self.at
        self.at += 1
        out = ["["]
        if text[self.at : self.at + 1] == "^":
            out.append("^")
            self.at += 1
        size, first = 1, True
        while True:
            char = text[self.at : self.at + 1]
            if not char:
                raise RegexError(f"a '[' at {start} is not closed")
            if char == "]" and not first:
                self.at += 1
                break
            first = False
            if char == "[" and text.startswith("[:", self.at):
                end = text.find(":]", self.at)
                name = text[self.at + 2 : end].lstrip("^") if end >= 0 else ""
                if name in _POSIX:
                    out.append(text[self.at : end + 2])
                    self.at = end + 2
                    continue
            single, piece, cost = self._class_item(char)
            size += cost
            if text[self.at : self.at + 1] == "-" and text[self.at + 1 : self.at + 2] not in ("]", "") and single:
                self.at += 1
                upper_single, upper, upper_cost = self._class_item(text[self.at])
                size += upper_cost
                if not upper_single:
                    out.append(f"{piece}\\-{upper}")
                    continue
                if _code(piece) > _code(upper):
                    raise RegexError(f"the range '{piece}-{upper}' is out of order")
                out.append(f"{piece}-{upper}")
                continue
            out.append("\\-" if piece == "-" else piece)
        out.append("]")
        self._put("".join(out), size)

    def _class_item(self, char: str) -> tuple[bool, str, int]:
        """One item of a class: is it a single character, its text, its size."""
        if char != "\\":
            self.at += 1
            return True, (("\\" + char) if char in "[]^" else char), 1
        following = self.text[self.at + 1 : self.at + 2]
        if not following:
            raise RegexError("the pattern ends with '\\'")
        if following in _INSIDE:
            self.at += 2
            return False, _INSIDE[following], _LETTERS * 2 if following in "wWS" else 20
        if following == "b":
            self.at += 2
            return True, "\\x{8}", 1
        piece, size = self._literal_escape(following)
        return following not in "pP", piece, size


_NAMED_CODES = {"\\a": 7, "\\f": 12, "\\t": 9, "\\n": 10, "\\r": 13, "\\v": 11}


def _code(piece: str) -> int:
    if piece.startswith("\\x{"):
        return int(piece[3:-1], 16)
    return _NAMED_CODES.get(piece, ord(piece[-1]))
