"""What stands around a place in a query that is being written: the operator, the call, the tables and columns in reach.

Works on tokens, because the text under an editor's cursor seldom parses. What is in scope is told by the binder itself: the part of the
query before the cursor, with the statements before it, is bound as a query of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from tocsin.kql.diagnostics import KqlErrors
from tocsin.kql.lexer import BAD, NAME, NUMBER, STRING, Tokens, comments, tokenize
from tocsin.kql.parser import OPERATORS
from tocsin.kql.parser.expressions import INFIX_WORDS
from tocsin.kql.parser.literals import TYPE_NAMES
from tocsin.kql.types import Catalog, Column

__all__ = ["CallPlace", "Place", "Scope", "Where", "place_at", "scope_at"]

_MOMENT: Final = datetime(2024, 1, 1, tzinfo=UTC)  # which moment does not matter: nothing is run
_TABLE_OPERATORS: Final = frozenset(("join", "lookup", "union"))
_SUBQUERIES: Final = frozenset(("mv-apply", "mvapply", "partition", "fork", "facet", "make-graph", "__partitionby"))
_QUERY_CALLS: Final = frozenset(("toscalar", "totable", "materialize", "view"))
_NO_CALL: Final = frozenset(
    ("by", "on", "with", "where", "and", "or", "as", "to", "of", "from", "step", "declare", "not in", "kind")
)
_CLAUSE_WORDS: Final = frozenset(("by", "on", "from", "with", "of", "to", "where", "project", "declare"))
_FOLLOWED: Final = frozenset(("matches", "nulls"))
_DESCRIBED = 20  # tables of one scope whose columns' texts are looked up
_RETRIES = 6  # operators before the cursor that are left out one by one where they can't be bound


class Where(StrEnum):
    """What may be written at a place."""

    NOWHERE = "nowhere"
    STATEMENT = "statement"
    OPERATOR = "operator"
    EXPRESSION = "expression"
    AFTER_OPERAND = "after operand"
    TABLE = "table"
    TYPE = "type"
    VALUE = "value"
    PLUGIN = "plugin"
    FUNCTION = "function"
    VISUALIZATION = "visualization"
    LEFT = "left"
    RIGHT = "right"
    STRING = "string"
    WORD = "word"


@dataclass(frozen=True, slots=True)
class CallPlace:
    """The call whose arguments are being written: its name and the number of the argument, from 0."""

    name: str
    argument: int
    span: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a text. `word` is what is written of a word so far, `span` the whole word; `keyword` the operator it is in.

    `setting` is the name before ``=`` where a setting's value is written, and the word before where that decides (`WORD`). `clause` is
    the last word of the operator that opened a clause (``by``, ``on``). In a STRING, `word` is its text so far. `queries` are texts that
    give the columns in scope, best first; `right` one that gives those of a join's right side; `prelude` the statements before.
    """

    where: Where
    word: str
    span: tuple[int, int]
    keyword: str = ""
    setting: str = ""
    call: CallPlace | None = None
    prelude: str = ""
    queries: tuple[str, ...] = ()
    right: str = ""
    clause: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """The columns at a place, in order, and the tables that they come from."""

    columns: tuple[Column, ...] = ()
    tables: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Frame:
    """A bracket that is open, or the whole text: where its first token is, where its statement begins, where its last ``|`` is."""

    opened: int
    start: int
    pipe: int = -1
    commas: int = 0

    @property
    def segment(self) -> int:
        """The first token of the operator or expression that is being written."""
        return self.pipe + 1 if self.pipe >= 0 else self.start


def place_at(text: str, offset: int) -> Place:
    """Where the offset is."""
    offset = min(max(offset, 0), len(text))
    tokens = tokenize(text[:offset])
    count = len(tokens.kinds) - 1
    last_end = tokens.ends[count - 1] if count else 0
    nowhere = Place(Where.NOWHERE, "", (offset, offset))
    if any(end == offset for _, end in comments(text, last_end, offset)):
        return nowhere
    if count and tokens.kinds[count - 1] == BAD and tokens.values[count - 1].lstrip("hH@")[:1] in "\"'`~":
        return _in_string(text, offset, tokens, count - 1)
    if count and tokens.kinds[count - 1] == STRING and last_end == offset:
        return nowhere
    word = ""
    if count and last_end == offset and tokens.kinds[count - 1] in (NAME, NUMBER):
        count -= 1
        word = tokens.values[count]
        while (  # mv-exp|: the hyphen belongs to the word at an operator's place
            count >= 2
            and tokens.values[count - 1] == "-"
            and tokens.kinds[count - 2] == NAME
            and tokens.ends[count - 2] == tokens.starts[count - 1] == tokens.ends[count - 1] - 1
            and (count == 2 or tokens.values[count - 3] in ("|", "("))
        ):
            word = tokens.values[count - 2] + "-" + word
            count -= 2
    elif (
        count >= 2
        and tokens.values[count - 1] == "-"
        and last_end == offset
        and tokens.values[count - 3 : count - 2] == ["|"]
    ):
        word = tokens.values[count - 2] + "-"
        count -= 2
    end = offset
    while end < len(text) and (text[end].isalnum() or text[end] == "_" or (text[end] == "-" and "-" in word)):
        end += 1
    span = (offset - len(word), end)
    return _Reader(text, tokens, count).place(word, span)


def _in_string(text: str, offset: int, tokens: Tokens, index: int) -> Place:
    """The place in a string that is not closed before it: its text so far is the word, up to its closing quote the span."""
    value = tokens.values[index]
    opening = len(value) - len(value.lstrip("hH@"))
    quote = value[opening : opening + 1]
    if quote not in "\"'":
        return Place(Where.NOWHERE, "", (offset, offset))
    start = tokens.starts[index] + opening + 1
    end = offset
    while end < len(text) and text[end] not in (quote, "\n"):
        end += 1
    if text[end : end + 1] != quote:
        end = offset
    place = _Reader(text, tokens, index).place(text[start:offset], (start, end))
    return replace(place, where=Where.STRING)


class _Reader:
    """Reads the first `count` tokens of a text."""

    def __init__(self, text: str, tokens: Tokens, count: int) -> None:
        self.text = text
        self.tokens = tokens
        self.count = count
        self.values = tokens.values[:count]
        self.frames = self._frames()

    def _frames(self) -> list[_Frame]:
        frames = [_Frame(-1, 0)]
        for k, value in enumerate(self.values):
            if value in ("(", "[", "{"):
                frames.append(_Frame(k, k + 1))
            elif value in (")", "]", "}"):
                if len(frames) > 1:
                    frames.pop()
            elif value == ";":
                frames[-1].start, frames[-1].pipe = k + 1, -1
            elif value == "|":
                frames[-1].pipe = k
            elif value == ",":
                frames[-1].commas += 1
        return frames

    def place(self, word: str, span: tuple[int, int]) -> Place:
        """The place after the tokens."""
        frame = self.frames[-1]
        owner = self._owner()
        keyword = self._keyword(owner) if owner is not None else ""
        where, setting = self._where(frame, keyword, owner)
        queries = tuple(self._queries(owner)) if owner is not None else ()
        right = self._right(owner) if owner is not None and keyword in ("join", "lookup") else ""
        clause = self._clause(owner) if owner is not None else ""
        return Place(where, word, span, keyword, setting, self._call(), self._prelude(), queries, right, clause)

    def _clause(self, level: int) -> str:
        """The last word on a frame's own level that opens a clause of its operator."""
        depth, first = 0, self.frames[level].segment
        for k in range(self.count - 1, first, -1):
            value = self.values[k]
            if value in (")", "]", "}"):
                depth += 1
            elif value in ("(", "[", "{"):
                depth = max(depth - 1, 0)  # a bracket that is still open lies around the place
            elif depth == 0 and value in _CLAUSE_WORDS:
                return value
        return ""

    # ------------------------------------------------------------------------------------ what may be written

    def _where(self, frame: _Frame, keyword: str, owner: int | None) -> tuple[Where, str]:
        values = self.values
        segment = values[frame.segment :]
        before = values[frame.opened - 1] if frame.opened > 0 else ""
        last = values[-1] if values else ""
        if last == ".":
            side = values[-2] if len(values) > 1 else ""
            return {"$left": (Where.LEFT, ""), "$right": (Where.RIGHT, "")}.get(side, (Where.NOWHERE, ""))
        if last == ":" and keyword not in ("search", "find", "scan"):
            return Where.TYPE, ""
        if before == "typeof" and values[frame.opened] == "(" and not segment:
            return Where.TYPE, ""
        if not segment:
            return self._at_beginning(frame, before), ""
        if last == "=" and len(values) > 1:
            if segment[0] == "let" and len(segment) == 3:
                return Where.TABLE, ""
            setting = values[-2]
            info = OPERATORS.get(keyword)
            if info is not None and setting in info.settings and owner == len(self.frames) - 1:
                return Where.VALUE, setting
        if segment[0] == "let" and len(segment) < 3:
            return Where.NOWHERE, ""
        if last in _FOLLOWED and (last == "matches" or len(segment) > 1):
            return Where.WORD, last
        if frame is self.frames[-1] and owner == len(self.frames) - 1:
            found = self._in_operator(segment, keyword)
            if found is not None:
                return found, ""
        if before == "in" and values[frame.opened] == "(" and self._searches():
            return Where.TABLE, ""
        return (Where.AFTER_OPERAND if self._after_operand() else Where.EXPRESSION), ""

    def _at_beginning(self, frame: _Frame, before: str) -> Where:
        if frame.pipe >= 0:
            return Where.OPERATOR
        if frame.opened < 0:
            return Where.STATEMENT
        bracket = self.values[frame.opened]
        if bracket == "{":
            return Where.STATEMENT
        if bracket == "[":
            return Where.EXPRESSION
        outer = len(self.frames) - 2
        keyword = self._keyword(outer)
        if keyword in _TABLE_OPERATORS and before not in ("on", "where"):
            return Where.TABLE
        if keyword in _SUBQUERIES and (
            before in ("on", "with", "=", keyword.rsplit("-", 1)[-1]) or keyword in ("partition", "fork")
        ):
            return Where.OPERATOR
        if before in _QUERY_CALLS or (before == "in" and self._searches()):
            return Where.TABLE
        return Where.EXPRESSION

    def _in_operator(self, segment: Sequence[str], keyword: str) -> Where | None:
        """What an operator takes where it stands in the innermost bracket."""
        written = len(segment) - (2 * keyword.count("-") + 1)
        last = segment[-1]
        if keyword == "render" and written == 0:
            return Where.VISUALIZATION
        if keyword == "evaluate" and written == 0:
            return Where.PLUGIN
        if keyword == "invoke" and written == 0:
            return Where.FUNCTION
        if keyword in _TABLE_OPERATORS and "on" not in segment:
            if written == 0 or (keyword == "union" and last == ","):
                return Where.TABLE
            if len(segment) > 2 and segment[-2] == "=":
                return Where.TABLE
        return None

    def _searches(self) -> bool:
        frame = self.frames[-2] if len(self.frames) > 1 else self.frames[-1]
        return self.values[frame.segment : frame.segment + 1] in (["search"], ["find"])

    def _after_operand(self) -> bool:
        last, kind = self.values[-1], self.tokens.kinds[self.count - 1]
        if kind in (STRING, NUMBER) or last in (")", "]"):
            return True
        if kind != NAME:
            return False
        words = (
            "by",
            "on",
            "to",
            "of",
            "from",
            "step",
            "with",
            "where",
            "default",
            "in",
            "regex",
            "as",
            "limit",
            "project",
        )
        segment = self.frames[-1].segment
        keyword = self._keyword(len(self.frames) - 1)
        first_word = self.count - segment <= 2 * keyword.count("-") + 1 and keyword in OPERATORS
        return not first_word and last not in INFIX_WORDS and last not in words

    # ------------------------------------------------------------------------------------ what is around

    def _keyword(self, level: int) -> str:
        """The operator at the beginning of a frame's segment, or its first word."""
        k = self.frames[level].segment
        if k >= self.count or self.tokens.kinds[k] != NAME:
            return ""
        word = self.values[k]
        while self.values[k + 1 : k + 2] == ["-"] and k + 2 < self.count and self.tokens.kinds[k + 2] == NAME:
            if self.tokens.ends[k] != self.tokens.starts[k + 1] or self.tokens.ends[k + 1] != self.tokens.starts[k + 2]:
                break
            word += "-" + self.values[k + 2]
            k += 2
        return word

    def _owner(self) -> int | None:
        """The innermost frame whose operator the place belongs to."""
        for level in range(len(self.frames) - 1, -1, -1):
            frame = self.frames[level]
            if frame.pipe >= 0 or self._is_subquery(level):
                return level
            if frame.opened >= 0 and self.values[frame.opened] == "{":
                return level
        return 0

    def _is_subquery(self, level: int) -> bool:
        """Whether a bracket holds operators without a source, such as that of mv-apply."""
        frame = self.frames[level]
        if level == 0 or self.values[frame.opened] != "(":
            return False
        keyword = self._keyword(level - 1)
        if keyword not in _SUBQUERIES:
            return False
        before = self.values[frame.opened - 1]
        if keyword in ("mv-apply", "mvapply"):
            return before == "on"
        if keyword == "facet":
            return before == "with"
        return True

    def _call(self) -> CallPlace | None:
        for frame in reversed(self.frames[1:]):
            k = frame.opened
            if self.values[k] != "(" or k == 0 or self.tokens.kinds[k - 1] != NAME:
                if self.values[k] == "{":
                    return None
                continue
            name = self.values[k - 1]
            operator = k >= 2 and self.values[k - 2] == "|" and name in OPERATORS
            if name in INFIX_WORDS or name in _NO_CALL or operator:
                continue
            return CallPlace(name, frame.commas, (self.tokens.starts[k - 1], self.tokens.ends[k - 1]))
        return None

    # ------------------------------------------------------------------------------------ what is in scope

    def _text(self, first: int, last: int) -> str:
        """The text from token `first` up to before token `last`."""
        if first >= last:
            return ""
        return self.text[self.tokens.starts[first] : self.tokens.ends[last - 1]]

    def _source(self, level: int) -> int:
        """The first token of a frame's pipeline: behind ``let x =``."""
        start = self.frames[level].start
        if self.values[start : start + 1] == ["let"] and "=" in self.values[start : start + 6]:
            return self.values.index("=", start) + 1
        return start

    def _queries(self, level: int) -> list[str]:
        """Texts that give the columns before the operator of a frame, the whole first and then with fewer operators."""
        frame = self.frames[level]
        if self._is_subquery(level):
            outer = self._queries(level - 1)
            inner = self._text(frame.start, frame.pipe) if frame.pipe >= 0 else ""
            expanded = self._expanded(level - 1)
            found = [f"{query}{expanded}" + (f"\n| {inner}" if inner else "") for query in outer]
            return found + [query + expanded for query in outer] if inner else found
        if frame.pipe < 0:
            return []
        source = self._source(level)
        cuts = [frame.pipe]
        depth = 0
        for k in range(frame.pipe - 1, source, -1):
            depth += {")": 1, "]": 1, "}": 1, "(": -1, "[": -1, "{": -1}.get(self.values[k], 0)
            if depth == 0 and self.values[k] == "|":
                cuts.append(k)
            if len(cuts) >= _RETRIES:
                break
        return [self._text(source, cut) for cut in cuts]

    def _expanded(self, level: int) -> str:
        """The columns that mv-apply adds, as an mv-expand; nothing for other operators with subqueries."""
        if self._keyword(level) not in ("mv-apply", "mvapply"):
            return ""
        first = self.frames[level].segment + (3 if self._keyword(level) == "mv-apply" else 1)
        last = first
        while last < self.count and self.values[last] != "on":
            last += 1
        return f"\n| mv-expand {self._text(first, last)}"

    def _right(self, level: int) -> str:
        """The right side of the join that is being written."""
        frame = self.frames[level]
        k = frame.segment + 1
        while k < self.count and self.values[k] != "(":
            if self.values[k] == "on":
                return self.values[k - 1]
            k += 1
        depth = 0
        for last in range(k, self.count):
            depth += {"(": 1, ")": -1}.get(self.values[last], 0)
            if depth == 0:
                return self._text(k + 1, last)
        return ""

    def _prelude(self) -> str:
        """The statements before, and the parameters of the functions around the place as lets."""
        parts: list[str] = []
        for frame in self.frames:
            if frame.opened >= 0 and self.values[frame.opened] != "{":
                continue
            if frame.opened >= 0:
                parts.append(self._parameters(frame.opened))
            parts.append(self._text(frame.opened + 1, frame.start))
        return "\n".join(part for part in parts if part)

    def _parameters(self, brace: int) -> str:
        """Lets that stand for a function's parameters: nulls, and tables without rows."""
        if brace == 0 or self.values[brace - 1] != ")":
            return ""
        k = brace - 1
        depth = 0
        while k >= 0:
            depth += {")": 1, "(": -1}.get(self.values[k], 0)
            if depth == 0:
                break
            k -= 1
        lets = []
        k += 1
        while k < brace - 1:
            if self.values[k + 1] == ":" and self.tokens.kinds[k] == NAME:
                name, type_ = self.values[k], self.values[k + 2]
                if type_ == "(":
                    last = k + 2
                    while self.values[last] != ")":
                        last += 1
                    schema = self._text(k + 3, last)
                    lets.append(f"let {name} = datatable({'' if schema == '*' else schema})[];")
                    k = last
                elif type_ in TYPE_NAMES:
                    value = "''" if type_ == "string" else f"{type_}(null)"
                    lets.append(f"let {name} = {value};")
            k += 1
        return "\n".join(lets)


def scope_at(place: Place, catalog: Catalog, *, right: bool = False) -> Scope:
    """The columns in scope at a place, or those of a join's right side."""
    queries = [query for query in ((place.right,) if right else place.queries) if query.strip()]
    prelude = place.prelude.strip() and place.prelude + "\n"
    while queries:
        found = _bound(prelude + queries[0], catalog)
        if isinstance(found, Scope):
            return found
        # The fault's place tells what to leave out: the statements before, or the operators from the wrong one on.
        if found < len(prelude):
            prelude = ""
            continue
        length = min(found - len(prelude), len(queries[0]) - 1)
        queries = [query for query in queries[1:] if len(query) <= length] or queries[-1:] * (len(queries) > 1)
    return Scope()


def _bound(text: str, catalog: Catalog) -> Scope | int:
    """The columns that a text gives, or where it is wrong."""
    from tocsin.kql.compile import columns_of

    try:
        columns, tables = columns_of(
            text, catalog, now=_MOMENT, external=lambda *_: None, resolver=lambda _: (), parameters=_AnyValue()
        )
    except KqlErrors as error:
        return error.diagnostics[0].span[0]
    docs: dict[str, str] = {}
    for name in sorted(tables) if len(tables) <= _DESCRIBED else ():
        for column in catalog.table(name) or ():
            docs.setdefault(column.name, column.doc)
    return Scope(tuple(Column(c.name, c.type, docs.get(c.name, "")) for c in columns), tables)


class _AnyValue(dict[str, object]):
    """Values of query parameters while nothing is run: every one is given, as null."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> object:
        return None
