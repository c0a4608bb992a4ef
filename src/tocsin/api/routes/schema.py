"""/schema: tables, columns and functions, for the editor's completion."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import Output

router = APIRouter(prefix="/schema", tags=["query"])


class SchemaColumn(Output):
    """A column."""

    name: str
    type: str
    doc: str = ""


class SchemaTable(Output):
    """A table. `has_data`: rows of it are in the lake."""

    name: str
    category: str
    doc: str = ""
    has_data: bool = False
    columns: list[SchemaColumn]


class SchemaFunction(Output):
    """A stored function: `parameters` is the text between the parentheses, `body` the one between the braces."""

    name: str
    parameters: str
    body: str
    doc: str = ""


class Schema(Output):
    """What queries can name. `version` grows whenever anything of it changes."""

    version: int
    tables: list[SchemaTable]
    functions: list[SchemaFunction]


@router.get("", response_model=Schema, dependencies=[Depends(needs("query.run"))])
def get_schema(
    request: Request,
    tables: Annotated[
        Literal["all", "core"],
        Query(description="`core`: tables that hold rows, and those that shipped rules and parsers name"),
    ] = "all",
) -> Response:
    """The schema; answers 304 to an If-None-Match with the ETag of the same version."""
    from tocsin.api.schema import answer

    return answer(workspace_of(request), request, core=tables == "core")
