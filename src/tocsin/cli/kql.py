"""`tocsin kql`: format, check and explain queries, and run files of recorded cases."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tocsin.kql.corpus import Outcome

__all__ = ["app"]

app = typer.Typer(help="Format, check and explain KQL queries; run files of recorded cases.", no_args_is_help=True)

_SUFFIXES = (".kql", ".kusto", ".csl")
_Files = Annotated[
    list[str], typer.Argument(metavar="PATH…", help="Query files (.kql, .kusto, .csl) or folders; - is standard input.")
]
_Cases = Annotated[
    Path, typer.Argument(metavar="CASES.jsonl", help="One JSON object a line: id, query, columns, rows.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command("fmt")
def fmt(
    paths: _Files,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit code 1 if a file would change.")] = False,
    show: Annotated[bool, typer.Option("--stdout", help="Print the formatted text instead of changing files.")] = False,
) -> None:
    """Format query files in place. Comments and meaning stay; formatting twice changes nothing."""
    from tocsin.kql import KqlErrors
    from tocsin.kql.format import format_query

    changed = failed = 0
    for path, text in _texts(paths):
        try:
            result = format_query(text)
        except KqlErrors as error:
            print(f"{path or '-'}: {error.render(text)}", file=sys.stderr)
            failed += 1
            continue
        if path is None or show:
            if not check:
                sys.stdout.write(result)
        elif result != text and not check:
            path.write_text(result, "utf-8")
        if result != text:
            changed += 1
            if path is not None and not show:
                print(f"{'would change' if check else 'formatted'} {path}", file=sys.stderr)
    raise typer.Exit(1 if failed or (check and changed) else 0)


@app.command("check")
def check(
    paths: _Files,
    sarif: Annotated[bool, typer.Option("--sarif", help="Print SARIF 2.1.0, as code scanning reads it.")] = False,
    as_json: _Json = False,
) -> None:
    """Check queries against the tables and functions that Tocsin has. Exit code 1 if one is wrong."""
    from tocsin.cli.kql_engine import CaseEngine

    found: list[tuple[str, str, Any]] = []
    count = 0
    with CaseEngine() as engine:
        for path, text in _texts(paths):
            count += 1
            found += [(str(path or "-"), text, d) for d in engine.diagnostics(text)]
    errors = sum(d.severity == "error" for _, _, d in found)
    if sarif:
        from tocsin.cli.sarif import sarif_log

        print(json.dumps(sarif_log(found), indent=2, ensure_ascii=False))
    elif as_json:
        print(json.dumps({"queries": count, "diagnostics": [_as_json(p, d) for p, _, d in found]}, ensure_ascii=False))
    else:
        for name, text, diagnostic in found:
            print(f"{name}: {diagnostic.render(text)}\n")
        print(f"{count} {'query' if count == 1 else 'queries'}, {errors} error{'' if errors == 1 else 's'}")
    raise typer.Exit(1 if errors else 0)


@app.command("explain")
def explain(
    text: Annotated[
        str | None, typer.Argument(metavar="KQL", help="The query; - reads it from standard input.", show_default=False)
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Read the query from a file.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="A data folder whose tables to plan over; without it the tables are empty.")
    ] = None,
) -> None:
    """Show what a query becomes: its tables, columns and SQL, and the engine's plan."""
    from tocsin.base.errors import UsageError

    if (text is None) == (file is None):
        raise UsageError("give a query, or --file with one", code="USE0004")
    source = _read(file) if file is not None else sys.stdin.read() if text == "-" else str(text)
    if data is not None:
        from tocsin.workspace.offline import open_queries

        with open_queries(data) as queries:
            print(queries.explain(source))
        return
    from tocsin.cli.kql_engine import CaseEngine

    with CaseEngine() as engine:
        print(engine.explain(source))


@app.command("test")
def run_tests(cases: _Cases, as_json: _Json = False) -> None:
    """Run cases with expected rows and compare. Exit code 1 if one does not give what it should."""
    from tocsin.cli.kql_engine import CaseEngine
    from tocsin.kql.corpus import tested

    with CaseEngine() as engine:
        outcomes = [o for case in _cases(cases, rows=True) if (o := tested(case, engine.run)) is not None]
    _report(outcomes, as_json)


@app.command("accept")
def accept(cases: _Cases, as_json: _Json = False) -> None:
    """Run queries over empty tables: which are refused, and why. Exit code 1 if one is.

    External data, watchlists and the ASIM functions stand as empty tables, the database of places as one that knows no address.
    """
    from tocsin.cli.kql_engine import CaseEngine
    from tocsin.kql.corpus import accepted

    with CaseEngine() as engine:
        outcomes = [accepted(case, engine.accept) for case in _cases(cases, rows=False)]
    _report(outcomes, as_json)


def _report(outcomes: Sequence[Outcome], as_json: bool) -> None:
    from tocsin.kql.corpus import summary

    found = summary(outcomes)
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        print(f"passed {found['passed']} of {found['total']}")
        for outcome in outcomes:
            if outcome.status == "failed":
                print(f"failed {outcome.id}: {outcome.kind}: {outcome.reason}")
        for outcome in outcomes:
            if outcome.status == "refused":
                place = f" at {outcome.place}" if outcome.place else ""
                print(f"refused {outcome.id}: {outcome.kind}: {outcome.code}{place}: {outcome.reason}")
        kinds = Counter(o.kind for o in outcomes if o.status == "refused")
        if kinds:
            print("refused by kind: " + ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()))
    raise typer.Exit(0 if found["passed"] == found["total"] else 1)


# ---------------------------------------------------------------------------------------------- input


def _texts(paths: Sequence[str]) -> Iterator[tuple[Path | None, str]]:
    """The texts of files, of the query files in folders, and of standard input (without a path)."""
    from tocsin.base.errors import UsageError

    for name in paths:
        if name == "-":
            yield None, sys.stdin.read()
            continue
        path = Path(name)
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.suffix in _SUFFIXES and p.is_file())
            if not files:
                raise UsageError(f"there is no query file in {path}", code="USE0005", hint="They end in .kql.")
            for file in files:
                yield file, _read(file)
        else:
            yield path, _read(path)


def _read(path: Path) -> str:
    from tocsin.base.errors import UsageError

    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}", code="USE0005") from error


def _cases(path: Path, *, rows: bool) -> list[Any]:
    from tocsin.kql.corpus import read_cases

    return list(read_cases(_read(path).splitlines(), str(path), rows=rows))


def _as_json(path: str, diagnostic: Any) -> dict[str, Any]:
    return {
        "path": path,
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        "line": diagnostic.line,
        "column": diagnostic.column,
        "start": diagnostic.span[0],
        "end": diagnostic.span[1],
        "hint": diagnostic.hint,
    }
