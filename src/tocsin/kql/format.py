"""Formatting a query: the same tokens and comments with other white space.

One operator a line, sub-queries indented, long lists and predicates broken, comments kept where they were. The text keeps its
meaning by construction (tokens are never changed), and that is checked: should the tree of the result ever differ, the text is given back
as it was. Formatting twice changes nothing.
"""

from __future__ import annotations

from typing import Final

from tocsin.kql import ast
from tocsin.kql.atoms import Atom, atoms_of
from tocsin.kql.diagnostics import KqlErrors
from tocsin.kql.document import BLANK, HARD, LINE, SOFT, SPACE, Doc, Fill, Group, Indent, Text, Trail, render
from tocsin.kql.lexer import NAME, PUNCTUATION
from tocsin.kql.parser import OPERATORS, parse
from tocsin.kql.walk import same_tree

__all__ = ["WIDTH", "format_query"]

WIDTH: Final = 120
"""Characters of a line."""

_CLOSERS: Final = {"(": ")", "[": "]", "{": "}"}
_DEEPEST = 40  # brackets below this level are written on one line; deeper trees are nobody's text to read
_LISTS: Final = frozenset(
    (
        "project",
        "extend",
        "summarize",
        "distinct",
        "print",
        "sort",
        "order",
        "serialize",
        "make-series",
        "union",
        "mv-expand",
    )
) | {word for word in OPERATORS if word.startswith("project-")}
"""Operators whose items go on lines of their own where they do not fit on one."""


def format_query(text: str) -> str:
    """The query with Tocsin's layout, ending with a line break.

    Raises KqlErrors if the text can't be parsed: there is nothing to lay out then.
    """
    tree = parse(text)
    result = layout(text, tree)
    try:
        same = same_tree(parse(result), tree)
    except KqlErrors:
        same = False
    return result if same else text


def layout(text: str, tree: ast.Query) -> str:
    """The text laid out, unchecked. `format_query` is what to call; tests prove that its check never fails."""
    return render(_Layout(atoms_of(text, tree)).query(), WIDTH)


class _Layout:
    """Makes the document of a list of atoms; `i` and `j` are indexes of the first atom and of the one after the last."""

    def __init__(self, atoms: list[Atom]) -> None:
        self.atoms = atoms
        self.match = _brackets(atoms)
        self.level = 0

    # ------------------------------------------------------------------------------------ statements

    def query(self) -> list[Doc]:
        """The whole text."""
        return self.statements(0, len(self.atoms) - 1) + self.comments_before(len(self.atoms) - 1, blanks=True)

    def statements(self, i: int, j: int) -> list[Doc]:
        """Statements with their semicolons, each on its own line."""
        docs: list[Doc] = []
        for begin, end in self.split(i, j, ";"):
            if begin < end:
                if docs and not self.atoms[begin].leading and self.atoms[begin].blank:
                    docs.append(BLANK)
                docs += self.comments_before(begin, blanks=bool(docs) or begin > 0)
                docs += self.statement(begin, end)
            if end < j and (begin < end or self.atoms[end].leading or self.atoms[end].trailing):
                docs += self.atom(end)
            docs.append(HARD)
        return docs

    def statement(self, i: int, j: int) -> list[Doc]:
        """One statement; the comments before it are written already."""
        if self.atoms[i].text == "let" and self.has(i, j, "|"):
            equal = next((k for k in self.top(i, j) if self.atoms[k].text == "="), None)
            if equal is not None:
                head = self.run(i, equal + 1, first=True)
                return [*head, Indent([HARD, *self.pipeline(equal + 1, j)])]
        return self.pipeline(i, j, first=True)

    def pipeline(self, i: int, j: int, *, first: bool = False, line: Doc = HARD) -> list[Doc]:
        """A source and its operators, each after `line`."""
        docs: list[Doc] = []
        for number, (begin, end) in enumerate(self.split(i, j, "|")):
            if number:
                docs.append(line)
                docs += self.comments_before(begin - 1)
                docs += self.atom(begin - 1, leading=False)
                docs.append(SPACE)
            docs += self.segment(begin, end, first=first and not number)
        return docs

    # ------------------------------------------------------------------------------------ operators and expressions

    def segment(self, i: int, j: int, *, first: bool = False) -> list[Doc]:
        """A source, an operator with its parts, or an expression."""
        if i >= j:
            return []
        keyword = self.atoms[i].text
        if keyword in _LISTS and self.atoms[i].kind == NAME and i + 1 < j:
            return [self.listed(i, j, first=first)]
        return self.logic(i, j, first=first)

    def listed(self, i: int, j: int, *, first: bool) -> Doc:
        """``keyword item, item by item``: items on lines of their own where the whole does not fit."""
        by = next((k for k in self.top(i, j) if self.atoms[k].text in ("by", "on") and k > i + 1), j)
        items = self.items(i + 1, by)
        if len(items) == 1 and by == j:
            return Group([*self.atom(i, leading=not first), SPACE, *self.logic(i + 1, j)])
        if self.atoms[i + 1].text == "by" or len(items) == 1:
            rest = self.tail(by, j) if by < j else []
            if self.atoms[i + 1].text == "by":
                return Group([*self.atom(i, leading=not first), *self.tail(i + 1, j)])
            return Group([*self.atom(i, leading=not first), SPACE, *self.logic(i + 1, by), Indent([LINE, *rest])])
        body: list[Doc] = []
        for begin, end in items:
            body += [LINE, *self.logic(begin, end), *(self.atom(end) if end < by else [])]
        if by < j:
            body += [LINE, *self.tail(by, j)]
        return Group([*self.atom(i, leading=not first), Indent(body)])

    def tail(self, i: int, j: int) -> list[Doc]:
        """``by a, b`` and what follows."""
        items = self.items(i + 1, j)
        body: list[Doc] = []
        for number, (begin, end) in enumerate(items):
            body += [LINE if number else SPACE, *self.logic(begin, end), *(self.atom(end) if end < j else [])]
        gap = [SPACE] if i > 0 else []
        return [Group([*gap, *self.atom(i), Indent(body)])]

    def items(self, i: int, j: int) -> list[tuple[int, int]]:
        """What lies between commas."""
        return self.split(i, j, ",")

    def logic(self, i: int, j: int, *, first: bool = False) -> list[Doc]:
        """An expression; where it does not fit on a line it breaks before ``or``, else before ``and``."""
        for word in ("or", "and"):
            parts = self.split(i, j, word)
            if len(parts) > 1:
                head = self.logic(*parts[0], first=first)
                more: list[Doc] = []
                for begin, end in parts[1:]:
                    more += [LINE, *self.atom(begin - 1), SPACE, *self.logic(begin, end)]
                return [Group([*head, Indent(more)])]
        return self.run(i, j, first=first)

    def run(self, i: int, j: int, *, first: bool = False) -> list[Doc]:
        """Atoms and brackets in a row, with the spaces between them."""
        docs: list[Doc] = []
        k = i
        while k < j:
            if k > i and self.spaced(k):
                docs.append(SPACE)
            closing = self.match.get(k)
            if closing is None:
                docs += self.atom(k, leading=not (first and k == i))
                k += 1
            else:
                docs += self.bracket(k, closing, leading=not (first and k == i))
                k = closing + 1
        return docs

    # ------------------------------------------------------------------------------------ brackets

    def bracket(self, opening: int, closing: int, *, leading: bool) -> list[Doc]:
        """A pair of brackets with what is between them."""
        lead = self.comments_before(opening) if leading else []
        self.level += 1
        opened = self.atom(opening, leading=False)
        closed = self.atom(closing)
        trail = [closed.pop()] if self.atoms[closing].trailing else []
        i, j = opening + 1, closing
        if i == j and not self.atoms[closing].leading:
            docs: list[Doc] = [*opened, *closed]
        elif self.level > _DEEPEST:
            docs = [*opened, *self.run(i, j), *closed]
        elif self.atoms[opening].rows > 1:
            docs = self.rows(opening, closing, opened, closed)
        elif self.atoms[opening].text == "{" and not self.atoms[opening].json:
            docs = self.braces(i, j, opened, closed)
        elif any(end < j for _, end in self.split(i, j, ";")):
            docs = [*opened, Indent([HARD, *self.statements(i, j)]), HARD, *closed]
        elif self.has(i, j, "|"):
            short = len(self.split(i, j, "|")) == 2
            line = LINE if short else HARD
            edge = SOFT if short else HARD
            docs = [Group([*opened, Indent([edge, *self.pipeline(i, j, line=line)]), edge, *closed])]
        else:
            docs = [self.listing(i, j, opened, closed)]
        self.level -= 1
        return [*lead, *docs, *trail]

    def listing(self, i: int, j: int, opened: list[Doc], closed: list[Doc]) -> Doc:
        """Items between commas: filled lines where all are single atoms, else one a line."""
        items = self.items(i, j)
        body: list[Doc] = []
        single = len(items) > 3 and all(end - begin <= 1 for begin, end in items)
        for number, (begin, end) in enumerate(items):
            if number:
                body.append(LINE)
            content: list[Doc] = [*self.segment(begin, end), *(self.atom(end) if end < j else [])]
            body += [Group(content)] if single else content
        inner: list[Doc] = [Fill(body)] if single else body
        return Group([*opened, Indent([SOFT, *inner]), SOFT, *closed])

    def rows(self, opening: int, closing: int, opened: list[Doc], closed: list[Doc]) -> list[Doc]:
        """The values of a datatable: a row a line."""
        columns = self.atoms[opening].rows
        items = [item for item in self.items(opening + 1, closing) if item[0] < item[1]]
        edge = SOFT if len(items) <= columns else HARD
        body: list[Doc] = []
        for number, (begin, end) in enumerate(items):
            if number:
                body.append(edge if number % columns == 0 else SPACE)
            body += [*self.logic(begin, end), *(self.atom(end) if end < closing else [])]
        if edge is SOFT and body:
            body = [Fill(body)]
        return [Group([*opened, Indent([edge, *body]), edge, *closed])]

    def braces(self, i: int, j: int, opened: list[Doc], closed: list[Doc]) -> list[Doc]:
        """The body of a function, or a query in braces."""
        parts = [part for part in self.split(i, j, ";") if part[0] < part[1]]
        if len(parts) == 1 and not self.has(i, j, "|"):
            begin, end = parts[0]
            rest: list[Doc] = []
            for k in range(end, j):
                rest += self.atom(k)
            return [Group([*opened, Indent([LINE, *self.logic(begin, end), *rest]), LINE, *closed])]
        return [*opened, Indent([HARD, *self.statements(i, j)]), HARD, *closed]

    # ------------------------------------------------------------------------------------ atoms

    def atom(self, k: int, *, leading: bool = True) -> list[Doc]:
        """One atom with its comments."""
        atom = self.atoms[k]
        docs: list[Doc] = self.comments_before(k) if leading and atom.leading else []
        docs.append(Text(atom.text))
        if atom.trailing:
            docs.append(Trail(atom.trailing))
        return docs

    def comments_before(self, k: int, *, blanks: bool = False) -> list[Doc]:
        """The comments on lines of their own before an atom; with empty lines where they were, between statements."""
        docs: list[Doc] = []
        for comment, blank in self.atoms[k].leading:
            docs += [BLANK if blanks and blank else HARD, Text(comment)]
            blanks = blanks or bool(docs)
        if docs:
            docs.append(BLANK if blanks and self.atoms[k].blank and self.level == 0 and self._begins(k) else HARD)
        return docs

    def _begins(self, k: int) -> bool:
        return k == 0 or self.atoms[k - 1].text == ";"

    def spaced(self, k: int) -> bool:
        """Whether a space belongs before an atom (not the first of its line)."""
        return self.atoms[k].space

    # ------------------------------------------------------------------------------------ looking

    def top(self, i: int, j: int) -> list[int]:
        """The atoms of a stretch that are in no bracket of it."""
        found: list[int] = []
        k = i
        while k < j:
            found.append(k)
            k = self.match.get(k, k) + 1
        return found

    def has(self, i: int, j: int, text: str) -> bool:
        """Whether that atom is in the stretch, in no bracket of it."""
        return any(self.atoms[k].text == text for k in self.top(i, j))

    def split(self, i: int, j: int, text: str) -> list[tuple[int, int]]:
        """The stretches between atoms of that text; the last is left out where it is empty."""
        parts: list[tuple[int, int]] = []
        begin = i
        for k in self.top(i, j):
            if self.atoms[k].text == text:
                parts.append((begin, k))
                begin = k + 1
        if begin < j or not parts:
            parts.append((begin, j))
        return parts


def _brackets(atoms: list[Atom]) -> dict[int, int]:
    match: dict[int, int] = {}
    open_: list[int] = []
    for k, atom in enumerate(atoms):
        if atom.kind == PUNCTUATION:
            if atom.text in _CLOSERS:
                open_.append(k)
            elif atom.text in (")", "]", "}") and open_:
                match[open_.pop()] = k
    return match
