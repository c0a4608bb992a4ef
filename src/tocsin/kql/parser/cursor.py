"""Walking the tokens: looking, taking, refusing with prose, and going on after a fault."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NoReturn, TypeVar

from tocsin.base.errors import Advice, did_you_mean
from tocsin.kql.ast import Expr, Operator
from tocsin.kql.diagnostics import Diagnostic
from tocsin.kql.lexer import BAD, END, NAME, NUMBER, STRING, tokenize, unquote
from tocsin.kql.parser.height import MAX_HEIGHT, TOO_HIGH
from tocsin.kql.parser.literals import number

__all__ = ["MAX_DEPTH", "MAX_ERRORS", "Cursor", "StopParsing", "SyntaxFault"]

MAX_DEPTH = 150
"""How deep brackets may nest; a pipeline in brackets counts three. Python's own limit of frames lies beyond it."""

MAX_ERRORS = 20
"""Faults after which a text is not read further."""

_OPENING = {"(": ")", "[": "]", "{": "}"}
_LOOK_AHEAD = 4
_CLOSING = frozenset(")]}")

T = TypeVar("T")


class SyntaxFault(Exception):  # noqa: N818 - control flow inside the parser, never seen outside
    """A fault at a token; caught where the parser can go on."""

    def __init__(self, diagnostic: Diagnostic, index: int) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic
        self.index = index


class StopParsing(Exception):  # noqa: N818 - control flow inside the parser
    """Nothing after this place is worth reading: too deep, or too many faults."""


class Cursor:
    """The tokens of one text and a place among them. `i` is the index of the next token."""

    def __init__(self, text: str) -> None:
        self.text = text
        tokens = tokenize(text)
        self.kinds = tokens.kinds
        self.values = tokens.values
        self.starts = tokens.starts
        self.ends = tokens.ends
        for _ in range(_LOOK_AHEAD):  # so that a look past the end needs no check
            self.kinds.append(END)
            self.values.append("")
            self.starts.append(len(text))
            self.ends.append(len(text))
        self.i = 0
        self.depth = 0
        self.deepest = 0
        self.longest = 0
        self.in_search = False
        self.diagnostics: list[Diagnostic] = []

    # ------------------------------------------------------------------------------------ what other parts provide

    def expr(self, level: int = 0) -> Expr:
        """A scalar expression whose operators bind at least as tightly as `level`."""
        raise NotImplementedError

    def pipes(self) -> tuple[Operator, ...]:
        """Every ``| operator`` from here on."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------ looking and taking

    def span_from(self, start: int) -> tuple[int, int]:
        """From the offset `start` to the end of the token taken last."""
        return start, self.ends[self.i - 1]

    def at(self, value: str) -> bool:
        """Whether the next token is that one."""
        return self.values[self.i] == value

    def accept(self, value: str) -> bool:
        """Takes the next token if it is that one."""
        if self.values[self.i] == value:
            self.i += 1
            return True
        return False

    def expect(self, value: str, after: str = "") -> int:
        """Takes that token and gives its index; anything else is a fault."""
        index = self.i
        if self.values[index] != value:
            self.fail_expected(f"'{value}'" + (f" {after}" if after else ""))
        self.i = index + 1
        return index

    def close(self, value: str, opened: int) -> None:
        """Takes the bracket that closes the one at index `opened`."""
        if self.values[self.i] != value:
            line, column = self.place(opened)
            what = f"the '{self.values[opened]}' at line {line}, column {column}"
            if self.kinds[self.i] == END:
                self.fail(
                    "KQL0013", f"The query ends, but {what} is not closed.", hint=Advice(f"Add '{value}'.", value)
                )
            self.fail_expected(f"'{value}' to close {what}")
        self.i += 1

    def at_name(self) -> bool:
        """Whether the next token can be a name (``3rdParty`` can; ``['a b']`` can too)."""
        kind = self.kinds[self.i]
        if kind == NAME:
            return self.values[self.i][0] != "!"
        if kind == NUMBER:
            return is_name(self.values[self.i])
        return self.values[self.i] == "[" and self.kinds[self.i + 1] == STRING and self.values[self.i + 2] == "]"

    def name(self, what: str = "a name") -> str:
        """Takes a name; keywords are names, ``['a b']`` and ``["a b"]`` too."""
        index = self.i
        kind = self.kinds[index]
        value = self.values[index]
        if (kind == NAME and value[0] != "!" and value[-1] != "~") or (kind == NUMBER and is_name(value)):
            self.i = index + 1
            return value
        if value == "[" and self.kinds[index + 1] == STRING and self.values[index + 2] == "]":
            self.i = index + 3
            return self.string_value(index + 1)
        return self.fail_expected(what)

    def string_value(self, index: int) -> str:
        """The value of the string token at `index`; an escape that is none is a fault."""
        token = self.values[index]
        if "\\" in token and token.lstrip("hH")[0] in "\"'":
            at = bad_escape(token)
            if at >= 0:
                where = self.starts[index] + at
                self.fail(
                    "KQL0003",
                    f"'{token[at : at + 2]}' is no escape sequence.",
                    span=(where, where + 2),
                    index=index,
                    hint='Double the backslash, or write the string as @"…", which takes every character as it is.',
                )
        return unquote(token)

    def adjacent(self, index: int) -> bool:
        """Whether no space lies between the token at `index` and the one before it."""
        return self.ends[index - 1] == self.starts[index]

    def word(self) -> str:
        """The next word with its hyphens, not taken: ``project-away`` where that is written without spaces."""
        index = self.i
        if self.kinds[index] != NAME:
            return self.values[index]
        word = self.values[index]
        while (
            self.values[index + 1] == "-"
            and self.kinds[index + 2] == NAME
            and self.adjacent(index + 1)
            and self.adjacent(index + 2)
        ):
            word += "-" + self.values[index + 2]
            index += 2
        return word

    def take_word(self, word: str) -> None:
        """Takes what `word()` has given."""
        self.i += 1 + 2 * word.count("-")

    def separated(self, item: Callable[[], T]) -> tuple[T, ...]:
        """One or more items between commas."""
        items = [item()]
        while self.values[self.i] == ",":
            self.i += 1
            items.append(item())
        return tuple(items)

    def bracketed(self, item: Callable[[], T], opening: str = "(") -> tuple[T, ...]:
        """Items between commas in brackets; none at all and a comma after the last are allowed."""
        opened = self.expect(opening)
        closing = _OPENING[opening]
        items: list[T] = []
        while self.values[self.i] != closing:
            items.append(item())
            if not self.accept(","):
                break
        self.close(closing, opened)
        return tuple(items)

    def enter(self, weight: int = 1) -> None:
        """Counts a level of nesting; a fault that ends the reading if there are too many."""
        self.depth += weight
        if self.depth > self.deepest:
            self.deepest = self.depth
            if self.depth > MAX_DEPTH:
                self.stop("KQL0020", "The query is nested too deeply here.", hint="Give inner parts names with 'let'.")

    def chained(self, run: int) -> None:
        """Notes the longest chain of operators or path; one that alone is higher than a tree may be ends the reading."""
        self.longest = run
        if run > MAX_HEIGHT:
            self.stop("KQL0020", "This expression has too many parts in a row.", hint=TOO_HIGH)

    # ------------------------------------------------------------------------------------ refusing

    def place(self, index: int) -> tuple[int, int]:
        """Line and column of a token."""
        start = self.starts[index]
        return self.text.count("\n", 0, start) + 1, start - self.text.rfind("\n", 0, start)

    def found(self, index: int) -> str:
        """How a token is named in a sentence."""
        if self.kinds[index] == END:
            return "the end of the query"
        value = self.values[index]
        if self.kinds[index] == STRING:
            return f"the string {_short(value)}"
        return f"'{_short(value)}'"

    def fail_expected(self, what: str, *, known: Iterable[str] = (), hint: str = "", code: str = "") -> NoReturn:
        """Refuses the next token: `what` would have been right. `known` are the words to suggest from."""
        index = self.i
        found = self.found(index)
        if not hint and self.kinds[index] == NAME:
            hint = did_you_mean(self.values[index], known)
        code = code or ("KQL0013" if self.kinds[index] == END else "KQL0010")
        self.fail(code, f"Expected {what}, but found {found}.", hint=hint)

    def fail(
        self, code: str, message: str, *, span: tuple[int, int] | None = None, index: int | None = None, hint: str = ""
    ) -> NoReturn:
        """A fault at the next token or at `index`. A `BAD` token there is the real reason and is told instead."""
        index = self.i if index is None else index
        if self.kinds[index] == BAD and span is None:
            code, message, hint = self._bad(index)
        if span is None:
            span = self.starts[index], self.ends[index]
        raise SyntaxFault(Diagnostic.at(self.text, span, code, message, hint=hint), index)

    def stop(self, code: str, message: str, hint: str = "") -> NoReturn:
        """A fault after which nothing is read."""
        span = self.starts[self.i], self.ends[self.i]
        self.diagnostics.append(Diagnostic.at(self.text, span, code, message, hint=hint))
        raise StopParsing

    def _bad(self, index: int) -> tuple[str, str, str]:
        value = self.values[index]
        bare = value.lstrip("hH@")[:3] or value
        if bare[0] in "\"'":
            return (
                "KQL0002",
                f"The string that begins here with {bare[0]} is not closed on its line.",
                (f"Add {bare[0]} at its end; a string over several lines stands between ``` and ```."),
            )
        if bare in ("```", "~~~"):
            return "KQL0002", f"The text that begins here with {bare} is not closed.", f"Add {bare} at its end."
        twin = {"“": '"', "”": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "\u037e": ";"}.get(value, "")
        name = f"U+{ord(value[0]):04X}"
        shown = f"'{value}' ({name})" if value.isprintable() else name
        return (
            "KQL0001",
            f"The character {shown} has no meaning in a query.",
            (self._plain(index, twin) if twin else ""),
        )

    def _plain(self, index: int, twin: str) -> Advice:
        """Advice to write a plain character instead of a typographic one; of a quote, both at once."""
        start, end = self.starts[index], self.ends[index]
        closing = {"“": "”", "‘": "’"}.get(self.values[index])
        last = self.text.find(closing, end) if closing else -1
        if last < 0 or "\n" in self.text[end:last]:
            return Advice(f"Write {twin} instead.", twin)
        return Advice(f"Write {twin} instead.", f"{twin}{self.text[end:last]}{twin}", (start, last + 1))

    # ------------------------------------------------------------------------------------ going on

    def report(self, fault: SyntaxFault) -> None:
        """Keeps a fault; after too many the text is given up."""
        self.diagnostics.append(fault.diagnostic)
        if len(self.diagnostics) >= MAX_ERRORS:
            span = fault.diagnostic.span
            self.diagnostics.append(
                Diagnostic.at(self.text, span, "KQL0021", "There are more errors after this one.", severity="info")
            )
            raise StopParsing

    def recover(self, start: int, fault: int, stops: str) -> None:
        """Goes to the next token of `stops` on the bracket level of the token `start`, after the token `fault`.

        A bracket that closes that level and the end of the text stop it too. Where brackets do not match, the first of `stops` that
        begins a line after the fault is taken, whatever its level seems to be.
        """
        values, kinds = self.values, self.kinds
        level = 0
        index = start
        fallback = -1
        while kinds[index] != END:
            value = values[index]
            if value in _OPENING:
                level += 1
            elif value in _CLOSING:
                level -= 1
                if level < 0:
                    if index >= fault:
                        break
                    level = 0
            elif value in stops and index >= fault and value:
                if level == 0:
                    break
                if fallback < 0 and self.begins_line(index):
                    fallback = index
            index += 1
        if kinds[index] == END and fallback >= 0 and level > 0:
            index = fallback
        self.i = index

    def begins_line(self, index: int) -> bool:
        """Whether the token at `index` is the first on its line."""
        return index == 0 or "\n" in self.text[self.ends[index - 1] : self.starts[index]]


def is_name(token: str) -> bool:
    """Whether a `NUMBER` token is really a name that begins with digits."""
    return number(token) is None and "." not in token


def bad_escape(token: str) -> int:
    """Where in a quoted token a backslash is followed by what it can't be; -1 if nowhere."""
    at = token.find("\\")
    while at >= 0:
        follower = token[at + 1]
        if follower in "uUx":
            digits = {"u": 4, "U": 8, "x": 2}[follower]
            text = token[at + 2 : at + 2 + digits]
            if len(text) < digits or any(c not in "0123456789abcdefABCDEF" for c in text):
                return at
        elif follower not in "\"'\\nrtabfv01234567":
            return at
        at = token.find("\\", at + 2)
    return -1


def _short(value: str) -> str:
    return value if len(value) <= 40 else value[:37] + "…"
