"""What the formatter moves about: tokens, some of them glued, with their comments and the space before them.

Whether a `-` is a sign or a bracket an index is read from the tree; everything else from the tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from tocsin.kql import ast
from tocsin.kql.lexer import END, NAME, PUNCTUATION, Tokens, comments, tokenize
from tocsin.kql.parser import OPERATORS
from tocsin.kql.parser.literals import TYPED
from tocsin.kql.walk import walk

__all__ = ["Atom", "atoms_of"]

_HYPHENATED: Final = frozenset(
    [word for word in OPERATORS if "-" in word] + ["granny-asc", "granny-desc", "project-smart", "partitioned-by"]
)
_CALLED: Final = frozenset(
    ("toscalar", "totable", "typeof", "dynamic", "datatable", "externaldata", "external_data", "inline_external_table")
)


@dataclass(slots=True)
class Atom:
    """A token, or several that stay together.

    `leading` are comments on lines of their own before it, each with whether an empty line is before it; `trailing` is the comment
    that ends its line. `blank`: an empty line stands before the atom itself. `space`: a space belongs before it. `rows`: on a
    datatable's bracket, its number of columns. `json`: it lies in a dynamic literal.
    """

    text: str
    kind: int
    leading: list[tuple[str, bool]] = field(default_factory=list)
    trailing: str = ""
    blank: bool = False
    space: bool = True
    rows: int = 0
    json: bool = False


@dataclass(slots=True)
class _Marks:
    """What the tree says about tokens, by their index."""

    glue_before: set[int] = field(default_factory=set)
    glue_after: set[int] = field(default_factory=set)
    spaced_colons: dict[int, bool] = field(default_factory=dict)  # index → whether a space stands before it too
    joined: dict[int, int] = field(default_factory=dict)  # first token → last token of an atom
    rows: dict[int, int] = field(default_factory=dict)
    json: set[int] = field(default_factory=set)


def atoms_of(text: str, tree: ast.Query) -> list[Atom]:
    """The atoms of a text whose tree is given; the last is the end of the text, which only holds comments."""
    tokens = tokenize(text)
    marks = _marks(tokens, tree)
    atoms: list[Atom] = []
    moved: list[tuple[str, bool]] = []
    end = 0
    k = 0
    count = len(tokens.kinds)
    while k < count:
        last = _joined(tokens, marks, k)
        start = tokens.starts[k]
        leading, blank = _before(text, end, start, atoms, moved)
        moved = []
        kind = tokens.kinds[k]
        value = text[start : tokens.ends[last]] if last > k else tokens.values[k]
        if k in marks.joined:
            value = "".join(tokens.values[k : last + 1])
        elif last > k and tokens.values[k] in TYPED and '"' not in value and "'" not in value:
            value = f"{tokens.values[k]}({' '.join(text[tokens.ends[k + 1] : tokens.starts[last]].split())})"
        space = bool(atoms) and _space(tokens, marks, k)
        atom = Atom(value, kind, leading, "", blank, space, marks.rows.get(k, 0), k in marks.json)
        if kind == PUNCTUATION and value in (",", ";") and atoms and atoms[-1].trailing and not leading:
            # The comment after `a` in "a // why⏎, b" goes behind the comma.
            atom.trailing, atoms[-1].trailing = atoms[-1].trailing, ""
        atoms.append(atom)
        end = tokens.ends[last]
        k = last + 1
    return atoms


def _before(
    text: str, start: int, end: int, atoms: list[Atom], moved: list[tuple[str, bool]]
) -> tuple[list[tuple[str, bool]], bool]:
    """The comments of a gap: the first may trail the atom before; and whether an empty line ends the gap."""
    leading = list(moved)
    position = start
    for begin, finish in comments(text, start, end):
        newlines = text.count("\n", position, begin)
        comment = text[begin:finish].rstrip()
        if not newlines and atoms and position == start:
            if atoms[-1].trailing:
                leading.append((comment, False))
            else:
                atoms[-1].trailing = comment
        else:
            leading.append((comment, newlines > 1))
        position = finish
    return leading, text.count("\n", position, end) > 1


def _joined(tokens: Tokens, marks: _Marks, k: int) -> int:
    """The last token of the atom that begins at token `k`."""
    if k in marks.joined:
        return marks.joined[k]
    value = tokens.values[k]
    if tokens.kinds[k] != NAME:
        return k
    if value in TYPED and tokens.values[k + 1] == "(":
        closing = tokens.text.find(")", tokens.starts[k + 1])
        last = k + 1
        while tokens.starts[last] < closing:
            last += 1
        return last
    last = k
    word = value
    while (
        tokens.values[last + 1 : last + 2] == ["-"]
        and tokens.kinds[last + 2] == NAME
        and tokens.ends[last] == tokens.starts[last + 1]
        and tokens.ends[last + 1] == tokens.starts[last + 2]
    ):
        word += "-" + tokens.values[last + 2]
        last += 2
        if word in _HYPHENATED:
            k = last
    return k


def _space(tokens: Tokens, marks: _Marks, k: int) -> bool:
    """Whether a space belongs between token `k` and the one before it."""
    value, before = tokens.values[k], tokens.values[k - 1]
    if tokens.kinds[k] == END or k in marks.glue_before or k - 1 in marks.glue_after:
        return False
    if k - 1 in marks.spaced_colons:
        return True
    if k in marks.spaced_colons:
        return marks.spaced_colons[k]
    if tokens.kinds[k] == PUNCTUATION:
        if value in (",", ";", ")", "]", "."):
            return False
        if value == ":" or (value == "(" and (before in _CALLED or tokens.values[k - 2 : k - 1] == ["."])):
            return False
    if tokens.kinds[k - 1] == PUNCTUATION:
        if before in ("(", "[", "."):
            return False
        if before == ":":
            return k in marks.json
        if before == "{":
            return k - 1 not in marks.json
    return not (value == "}" and k in marks.json)


# ---------------------------------------------------------------------------------------------- what the tree says


def _marks(tokens: Tokens, tree: ast.Query) -> _Marks:
    marks = _Marks()
    finder = _Finder(tokens, marks)
    for node in walk(tree):
        if isinstance(node, ast.Operator):
            finder.settings(node)
        visit = _VISITS.get(type(node))
        if visit is not None:
            visit(finder, node)
    for k, value in enumerate(tokens.values):
        if value == "output" and tokens.values[k + 1] == "=" and tokens.values[k - 1] != ",":
            finder.tight(k + 1)
    return marks


class _Finder:
    """Turns places of nodes into marks on tokens."""

    def __init__(self, tokens: Tokens, marks: _Marks) -> None:
        self.tokens = tokens
        self.marks = marks
        self.at = {start: k for k, start in enumerate(tokens.starts)}
        self.ending = {end: k for k, end in enumerate(tokens.ends[:-1])}

    def tight(self, k: int) -> None:
        """No spaces around an equals sign."""
        if self.tokens.values[k] == "=":
            self.marks.glue_before.add(k)
            self.marks.glue_after.add(k)

    def settings(self, node: ast.Operator) -> None:
        """``kind=inner``."""
        for value in node.params.values():
            self.tight(self.at[value.span[0]] - 1)

    def options(self, node: ast.Node) -> None:
        """``threshold=0.1``."""
        for value in getattr(node, "options", {}).values():
            self.tight(self.at.get(value.span[0], 0) - 1)

    def after(self, offset: int, bracket: str) -> None:
        """An opening bracket that belongs to what ends at `offset`."""
        k = self.ending[offset] + 1
        if self.tokens.values[k] == "." and bracket == "[":
            k += 1
        if self.tokens.values[k] == bracket:
            self.marks.glue_before.add(k)

    def call(self, node: ast.Call) -> None:
        self.after(node.callee_span[1], "(")

    def index(self, node: ast.Index) -> None:
        self.after(node.target.span[1], "[")

    def unary(self, node: ast.Unary) -> None:
        self.marks.glue_after.add(self.at[node.span[0]])

    def literal(self, node: ast.Literal) -> None:
        k = self.at[node.span[0]]
        if node.type == "dynamic":
            while self.tokens.starts[k] < node.span[1]:
                self.marks.json.add(k)
                if self.tokens.values[k] in ("-", "+"):
                    self.marks.glue_after.add(k)
                elif self.tokens.values[k] == ":":
                    self.marks.spaced_colons[k] = False
                k += 1
            return
        while self.tokens.values[k] in ("-", "+"):
            self.marks.glue_after.add(k)
            k += 1

    def star(self, node: ast.Star) -> None:
        self.join(node.span)

    def member(self, node: ast.Member) -> None:
        if "*" in node.name and node.name != "*":
            k = self.ending[node.target.span[1]] + 2
            self.join((self.tokens.starts[k], node.span[1]))

    def join(self, span: tuple[int, int]) -> None:
        """Tokens without anything between them."""
        first, last = self.at[span[0]], self.ending[span[1]]
        if last > first and all(self.tokens.ends[k] == self.tokens.starts[k + 1] for k in range(first, last)):
            self.marks.joined[first] = last

    def match(self, node: ast.GraphMatch) -> None:
        """A graph pattern is written without spaces, if no comment is in it."""
        for pattern in node.patterns:
            first, last = self.at[pattern[0].span[0]], self.ending[pattern[-1].span[1]]
            if not comments(self.tokens.text, pattern[0].span[0], pattern[-1].span[1]):
                self.marks.joined[first] = last

    def make_graph(self, node: ast.MakeGraph) -> None:
        """``a --> b``."""
        k = self.ending[node.source.span[1]] + 1
        self.marks.glue_after.update((k, k + 1))

    def datatable(self, node: ast.Datatable) -> None:
        k = self.ending[node.schema[-1].span[1]] if node.schema else self.at[node.span[0]]
        while self.tokens.values[k] != "[":
            k += 1
        self.marks.rows[k] = max(1, len(node.schema))

    def graph_table(self, node: ast.GraphOther) -> None:
        """``nodes as N with_node_id=id``."""
        for item in node.items:
            for named in item.args if isinstance(item, ast.Call) else ():
                if isinstance(named, ast.Named) and named.names != ("as",):
                    self.tight(self.at[named.value.span[0]] - 1)

    def step(self, node: ast.ScanStep) -> None:
        self.marks.spaced_colons[self.at[node.condition.span[0]] - 1] = False

    def evaluate(self, node: ast.Evaluate) -> None:
        if node.schema is not None:
            k = self.ending[node.call.span[1]] + 1
            self.marks.spaced_colons[k] = True

    def series(self, node: ast.MakeSeriesAgg) -> None:
        if node.default is not None:
            self.tight(self.at[node.default.span[0]] - 1)

    def nested(self, node: ast.TopNestedLevel) -> None:
        if node.others is not None:
            self.tight(self.at[node.others.span[0]] - 1)


_VISITS: Final[dict[type[ast.Node], Callable[[_Finder, Any], None]]] = {
    ast.Call: _Finder.call,
    ast.Index: _Finder.index,
    ast.Unary: _Finder.unary,
    ast.Literal: _Finder.literal,
    ast.Star: _Finder.star,
    ast.Member: _Finder.member,
    ast.GraphMatch: _Finder.match,
    ast.MakeGraph: _Finder.make_graph,
    ast.GraphOther: _Finder.graph_table,
    ast.Datatable: _Finder.datatable,
    ast.ScanStep: _Finder.step,
    ast.Evaluate: _Finder.evaluate,
    ast.MakeSeriesAgg: _Finder.series,
    ast.TopNestedLevel: _Finder.nested,
    ast.ParseKv: _Finder.options,
    ast.Reduce: _Finder.options,
    ast.ExternalData: _Finder.options,
}
