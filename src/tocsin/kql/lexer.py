"""From text to tokens, by one compiled expression.

The lexer knows no keywords: whether `count` is an operator, a function or a column is settled by the parser. It knows five
kinds of token, and gives them as parallel lists because a list of numbers is the fastest thing to walk in Python:

* `NAME`: an identifier, `$left`, and the word operators with their marks (`!has`, `in~`, `!in~`);
* `NUMBER`: everything that begins with a digit: `1`, `0x1F`, `1.5e-3`, `1.5h`, and also `3rdParty`, which is a name;
* `STRING`: every spelling of a string, with its quotes;
* `PUNCTUATION`: operators and brackets, `..` included;
* `BAD`: a quote that is never closed (with the rest of its line) or a character that begins nothing.

White space is what Kusto calls so: no-break and zero-width spaces and a byte order mark too. Comments (`//` to the end of the
line) lie between tokens; the formatter finds them there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["BAD", "END", "NAME", "NUMBER", "PUNCTUATION", "STRING", "Tokens", "comments", "tokenize", "unquote"]

NAME, PUNCTUATION, STRING, NUMBER, BAD, END = 1, 2, 3, 4, 5, 6

# Every repetition is possessive: no text makes the matcher go back, so the time is linear in the length.
_GAP = r"(?:[\s\ufeff\u200b-\u200d\u180e\u2060]++|//[^\r\n\u2028\u2029]*+)*+"
_TOKEN = re.compile(
    _GAP
    + r"""(?:
      ((?:!?in~)|(?![hH]@?["'`~])[!$]?[^\W\d]\w*+)                       # NAME
    | (\.\.|=>|==|=~|!=|!~|<=|>=|<>|[-()\[\]{},.:;|=<>+*/%$?!&^\#])         # PUNCTUATION
    | ((?:[hH]?@)?(?:                                                       # STRING; h hides it from logs, @ is verbatim
          (?<=@)(?:"(?:[^"\r\n]++|"")*+"(?!")|'(?:[^'\r\n]++|'')*+'(?!'))
        | (?<!@)[hH]?(?:```(?:[^`]++|`(?!``))*+```|~~~(?:[^~]++|~(?!~~))*+~~~
          |"(?:[^"\\\r\n]++|\\[^\r\n])*+"|'(?:[^'\\\r\n]++|\\[^\r\n])*+')))
    | (\d++(?:\.(?!\.)\d*+)?[eE][-+]?\d++(?!\w)                      # NUMBER
      |\d++\.(?![.\w])|\d\w*+(?:\.\d\w*+)?)
    | ((?:[hH]?@?["'])[^\r\n]*+|[hH]?(?:```|~~~)[\s\S]*+|[\s\S])            # BAD
    | (\Z))""",
    re.VERBOSE,
)
_COMMENT = re.compile(r"//[^\r\n\u2028\u2029]*+")


@dataclass(slots=True)
class Tokens:
    """The tokens of a text; the last is `END`, with an empty value."""

    text: str
    kinds: list[int]
    values: list[str]
    starts: list[int]
    ends: list[int]


def tokenize(text: str) -> Tokens:
    """Splits a text. It never fails: what is no token becomes `BAD`, to be reported by whoever comes upon it."""
    kinds: list[int] = []
    values: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    add_kind, add_value, add_start, add_end = kinds.append, values.append, starts.append, ends.append
    for match in _TOKEN.finditer(text):
        kind = match.lastindex or END
        add_kind(kind)
        add_value(match[kind])
        start, end = match.span(kind)
        add_start(start)
        add_end(end)
    if len(kinds) > 1 and kinds[-2] == END:  # white space before the end makes \Z match twice
        for column in (kinds, values, starts, ends):
            del column[-1]
    return Tokens(text, kinds, values, starts, ends)


def comments(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """The spans of the comments in a gap between two tokens."""
    return [m.span() for m in _COMMENT.finditer(text, start, end)]


_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|([0-7]{1,3})|([\s\S]))")
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}


def _escape(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    if code:
        point = int(code, 16)
        # A lone surrogate is no character; the engine's strings can hold it, ours (UTF-8) can't.
        return chr(point) if point < 0x110000 and not 0xD800 <= point < 0xE000 else "�"
    if match[4]:
        return chr(int(match[4], 8))
    return _SIMPLE.get(match[5], match[5])


def unquote(token: str) -> str:
    """The value of a `STRING` token."""
    if token[0] in "hH":
        token = token[1:]
    first = token[0]
    if first == "@":
        quote = token[1]
        return token[2:-1].replace(quote + quote, quote)
    if first in "`~":
        return token[3:-3]
    body = token[1:-1]
    return _ESCAPE.sub(_escape, body) if "\\" in body else body
