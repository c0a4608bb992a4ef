"""/kql: the language service. It says of a text what the compiler would, without running anything.

Places count as `tocsin.api.positions` describes: UTF-16 code units by default, as Monaco and JavaScript do. Every answer has ranges both as
offsets and as lines and columns.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import ConfigDict, Field, model_validator

from tocsin.access import Principal
from tocsin.api.positions import Positions, Units
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import Diagnostic, Input, Output, TextRange

router = APIRouter(tags=["query"])

Run = Annotated[Principal, Depends(needs("query.run"))]
MAX_TEXT = 100_000


class KqlText(Input):
    """A KQL text as it stands in the editor: white space at its ends counts."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)

    query: str = Field(max_length=MAX_TEXT)
    units: Units = Field(
        default="utf16",
        description="What offsets and columns count: UTF-16 code units (JavaScript, Java, C#, Monaco) or code points (Python)",
    )


class KqlPlace(KqlText):
    """A place in a KQL text: either `offset` (from 0) or `line` and `column` (from 1). Past the end means the end."""

    offset: int | None = Field(default=None, ge=0, le=2 * MAX_TEXT)
    line: int | None = Field(default=None, ge=1, le=MAX_TEXT)
    column: int | None = Field(default=None, ge=1, le=2 * MAX_TEXT)

    @model_validator(mode="after")
    def _one_place(self) -> KqlPlace:
        if (self.offset is None) == (self.line is None) or (self.line is None) != (self.column is None):
            raise ValueError("give either offset, or line and column")
        return self

    def positions(self) -> tuple[Positions, int]:
        """The converter for this text, and the place as the compiler's offset."""
        positions = Positions(self.query, self.units)
        if self.offset is not None:
            return positions, positions.offset(self.offset)
        assert self.line is not None
        assert self.column is not None
        return positions, positions.at(self.line, self.column)


class CompletionRequest(KqlPlace):
    """Where completion is asked, and for how many suggestions."""

    limit: int = Field(default=200, ge=1, le=2000)


class RenameRequest(KqlPlace):
    """Which name is to be what."""

    name: str = Field(max_length=200)


class Diagnostics(Output):
    """Findings about a text; none when it can run."""

    diagnostics: list[Diagnostic]


class CompletionItem(Output):
    """A suggestion: `insert` goes in place of the answer's `range`."""

    label: str
    kind: Literal[
        "table",
        "column",
        "function",
        "aggregate",
        "operator",
        "statement",
        "keyword",
        "value",
        "type",
        "variable",
        "plugin",
        "setting",
    ]
    insert: str
    detail: str = Field(default="", description="A type, or a signature")
    doc: str = Field(default="", description="Markdown")


class Completions(Output):
    """Suggestions, likeliest first. `incomplete`: there were more than asked for, so ask again with the next letter."""

    items: list[CompletionItem]
    range: TextRange
    incomplete: bool


class HoverText(Output):
    """What the word there is, as Markdown."""

    range: TextRange
    text: str


class HoverAnswer(Output):
    """`hover` is null where there is nothing to say."""

    hover: HoverText | None


class SignatureParameter(Output):
    """A parameter: `label` is its part of the signature's label."""

    label: str
    doc: str = ""


class SignatureHelp(Output):
    """The call around the place. `active`: the index of the parameter that is being written; past the end when there are too many."""

    label: str
    doc: str
    parameters: list[SignatureParameter]
    active: int


class SignatureAnswer(Output):
    """`signature` is null outside of the arguments of known functions."""

    signature: SignatureHelp | None


class Formatted(Output):
    """The text laid out; `changed` when it is another one."""

    text: str
    changed: bool


class KqlSymbol(Output):
    """A name that the text defines."""

    name: str
    kind: Literal["function", "table", "value", "parameter"]
    range: TextRange
    name_range: TextRange


class KqlFold(Output):
    """Lines of which all but the first can be hidden."""

    first: int
    last: int
    kind: Literal["region", "comment"]


class Symbols(Output):
    """What a text defines, and what of it can be folded."""

    symbols: list[KqlSymbol]
    folds: list[KqlFold]


class DefinitionAnswer(Output):
    """`definition` is null for words that the text doesn't define. `references` are all places of the name, the definition's too."""

    definition: KqlSymbol | None
    references: list[TextRange] = []


class KqlEdit(Output):
    """`text` goes in place of the range."""

    range: TextRange
    text: str


class Edits(Output):
    """Edits that belong together; they don't overlap."""

    edits: list[KqlEdit]


@router.post("/kql/diagnostics")
def diagnose(body: KqlText, request: Request, principal: Run) -> Diagnostics:
    """What is wrong with a query text, without running it: also what policy or the caller's rights would refuse."""
    from tocsin.api.language import findings

    return Diagnostics.model_validate(
        {"diagnostics": findings(workspace_of(request), body.query, body.units, principal)}
    )


@router.post("/kql/completion", dependencies=[Depends(needs("query.run"))])
def complete(body: CompletionRequest, request: Request) -> Completions:
    """What can be written at a place of a query text, likeliest first."""
    from tocsin.kql.language import completion

    positions, offset = body.positions()
    found = completion(body.query, offset, workspace_of(request).queries.catalog, body.limit + 1)
    return Completions.model_validate(
        {
            "items": [
                {"label": i.label, "kind": i.kind, "insert": i.insert, "detail": i.detail, "doc": i.doc}
                for i in found[: body.limit]
            ],
            "range": positions.range(found[0].span if found else (offset, offset)),
            "incomplete": len(found) > body.limit,
        }
    )


@router.post("/kql/hover", dependencies=[Depends(needs("query.run"))])
def explain_word(body: KqlPlace, request: Request) -> HoverAnswer:
    """What the word at a place of a query text is: a column's type, a function's signature, a table's columns."""
    from tocsin.kql.language import hover

    positions, offset = body.positions()
    found = hover(body.query, offset, workspace_of(request).queries.catalog)
    shown = {"range": positions.range(found.span), "text": found.text} if found is not None else None
    return HoverAnswer.model_validate({"hover": shown})


@router.post("/kql/signature", dependencies=[Depends(needs("query.run"))])
def help_with_call(body: KqlPlace, request: Request) -> SignatureAnswer:
    """The signature of the call whose arguments are being written at a place."""
    from dataclasses import asdict

    from tocsin.kql.language import signature_help

    _, offset = body.positions()
    found = signature_help(body.query, offset, workspace_of(request).queries.catalog)
    return SignatureAnswer.model_validate({"signature": asdict(found) if found is not None else None})


@router.post("/kql/format", dependencies=[Depends(needs("query.run"))])
def format_text(body: KqlText) -> Formatted:
    """The query text with Tocsin's layout. A text that can't be parsed is answered 400 with `diagnostics`."""
    from tocsin.kql.format import format_query

    text = format_query(body.query)
    return Formatted(text=text, changed=text != body.query)


@router.post("/kql/symbols", dependencies=[Depends(needs("query.run"))])
def list_symbols(body: KqlText) -> Symbols:
    """The names that a query text defines, and what of it can be folded."""
    from tocsin.kql.language import folds, symbols

    positions = Positions(body.query, body.units)
    return Symbols.model_validate(
        {
            "symbols": [_symbol(s, positions) for s in symbols(body.query)],
            "folds": [{"first": f.first, "last": f.last, "kind": f.kind} for f in folds(body.query)],
        }
    )


@router.post("/kql/definition", dependencies=[Depends(needs("query.run"))])
def find_definition(body: KqlPlace, request: Request) -> DefinitionAnswer:
    """Where the name at a place is defined in the query text, and every place where it is used."""
    from tocsin.kql.language import definition, references

    positions, offset = body.positions()
    found = definition(body.query, offset)
    if found is None:
        return DefinitionAnswer(definition=None)
    places = references(body.query, offset, workspace_of(request).queries.catalog)
    return DefinitionAnswer.model_validate(
        {"definition": _symbol(found, positions), "references": [positions.range(span) for span in places]}
    )


@router.post("/kql/rename", dependencies=[Depends(needs("query.run"))])
def rename_symbol(body: RenameRequest, request: Request) -> Edits:
    """The edits that give a name of the query text's own another; none where none stands. 400 when the new name can't be one or is taken."""
    from tocsin.kql.language import rename

    positions, offset = body.positions()
    edits = rename(body.query, offset, body.name, workspace_of(request).queries.catalog)
    return Edits.model_validate({"edits": [{"range": positions.range(span), "text": text} for span, text in edits]})


def _symbol(symbol: Any, positions: Positions) -> dict[str, Any]:
    return {
        "name": symbol.name,
        "kind": symbol.kind,
        "range": positions.range(symbol.span),
        "name_range": positions.range(symbol.name_span),
    }
