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

_Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH…",
        help="Query files (.kql, .kusto, .csl) or folders; - is standard input, which is also read when nothing is named.",
        show_default=False,
    ),
]
_Checked = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH…",
        help="Query files (.kql, .kusto, .csl), rules and functions in YAML, or folders of them; - is standard input.",
    ),
]
_Cases = Annotated[
    Path, typer.Argument(metavar="CASES.jsonl", help="One JSON object a line: id, query, columns, rows.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command("fmt")
def fmt(
    paths: _Files = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit code 1 if a file would change.")] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Change nothing; print the changes, exit code 1 if any.")
    ] = False,
    show: Annotated[bool, typer.Option("--stdout", help="Print the formatted text instead of changing files.")] = False,
) -> None:
    """Format query files in place. Comments and meaning stay; formatting twice changes nothing.

    Standard input is formatted to standard output. A text that can't be read stays as it is; exit code 1 then.
    """
    from tocsin.base.errors import UsageError
    from tocsin.cli.output import pipe_may_end
    from tocsin.cli.texts import texts
    from tocsin.kql import KqlErrors
    from tocsin.kql.format import format_query

    if not paths and sys.stdin.isatty():
        raise UsageError("give files or folders, or a text on standard input", code="USE0004")
    changed = failed = count = 0
    with pipe_may_end():
        for path, text in texts(paths or ["-"]):
            count += 1
            try:
                result = format_query(text)
            except KqlErrors as error:
                print(f"{path or '-'}: {error.render(text)}", file=sys.stderr)
                failed += 1
                continue
            changed += result != text
            if diff:
                _print_diff(str(path or "-"), text, result)
            elif path is None or show:
                if not check:
                    sys.stdout.write(result)
            elif result != text:
                if not check:
                    path.write_text(result, "utf-8")
                print(f"{'would change' if check else 'formatted'} {path}", file=sys.stderr)
    if paths and paths != ["-"] and not (show or diff):
        what = "would change" if check else "changed"
        print(f"{changed} of {count} {'file' if count == 1 else 'files'} {what}", file=sys.stderr)
    raise typer.Exit(1 if failed or ((check or diff) and changed) else 0)


def _print_diff(name: str, before: str, after: str) -> None:
    from difflib import unified_diff

    lines = unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), name, f"{name} (formatted)")
    for line in lines:
        sys.stdout.write(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")


@app.command("check")
def check(
    paths: _Checked,
    sarif: Annotated[bool, typer.Option("--sarif", help="Print SARIF 2.1.0, as code scanning reads it.")] = False,
    as_json: _Json = False,
) -> None:
    """Check queries against the tables and functions that Tocsin has: in query files, and in rules, hunts and functions in YAML.

    Exit code 0: all are right. 1: one is wrong, or a YAML file can't be read. 2: wrong usage. Of functions with parameters, and of
    parsers whose rows have no fixed columns, only the syntax is checked.
    """
    from tocsin.cli.kql_engine import CaseEngine
    from tocsin.cli.output import pipe_may_end
    from tocsin.kql.diagnostics import Diagnostic

    found: list[tuple[str, str, Diagnostic]] = []
    count = 0
    with CaseEngine() as engine:
        for name, text, findings in _checked(paths, engine):
            count += 1
            found += [(name, text, d) for d in findings]
    errors = sum(d.severity == "error" for _, _, d in found)
    with pipe_may_end():
        if sarif:
            from tocsin.cli.sarif import sarif_log

            print(json.dumps(sarif_log(found), indent=2, ensure_ascii=False))
        elif as_json:
            shown = [_as_json(p, d) for p, _, d in found]
            print(json.dumps({"queries": count, "errors": errors, "diagnostics": shown}, ensure_ascii=False))
        else:
            for name, text, diagnostic in found:
                print(f"{name}:{diagnostic.line}:{diagnostic.column}\n{diagnostic.render(text)}\n")
            print(f"{count} {'query' if count == 1 else 'queries'}, {errors} error{'' if errors == 1 else 's'}")
    raise typer.Exit(1 if errors else 0)


def _checked(paths: Sequence[str], engine: Any) -> Iterator[tuple[str, str, list[Any]]]:
    """Each query's file, the file's text, and the findings with their places in the file."""
    from tocsin.cli.texts import located_texts
    from tocsin.kql.diagnostics import Diagnostic
    from tocsin.kql.parser import parse_partial

    for query in located_texts(paths):
        whole = query.file_text
        if query.fault is not None:
            place = query.fault.place
            start = _offset(whole, (place and place.line) or 1, (place and place.column) or 1)
            hint = query.fault.hint
            yield (
                query.path,
                whole,
                [Diagnostic.at(whole, (start, start), query.fault.code, query.fault.message, hint=hint)],
            )
            continue
        findings = parse_partial(query.text)[1] if query.syntax_only else engine.diagnostics(query.text, query.source)
        moved = []
        for d in findings:
            start, end = query.offset(d.span[0]), query.offset(d.span[1])
            span = (start, max(start, end))
            moved.append(Diagnostic.at(whole, span, d.code, d.message, hint=d.hint, severity=d.severity))
        yield query.path, whole, moved


def _offset(text: str, line: int, column: int) -> int:
    lines = text.splitlines(keepends=True)
    return min(sum(map(len, lines[: line - 1])) + column - 1, len(text))


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
    from tocsin.cli.output import pipe_may_end
    from tocsin.cli.texts import one_text

    source = one_text(text, file)
    if data is not None:
        from tocsin.workspace.offline import open_queries

        with open_queries(data) as queries, pipe_may_end():
            print(queries.explain(source))
        return
    from tocsin.cli.kql_engine import CaseEngine

    with CaseEngine() as engine, pipe_may_end():
        print(engine.explain(source))


@app.command("test")
def run_tests(cases: _Cases, as_json: _Json = False) -> None:
    """Run cases with expected rows and compare. Exit code 1 if one does not give what it should."""
    from tocsin.cli.kql_engine import CaseEngine
    from tocsin.kql.corpus import tested

    with CaseEngine() as engine:
        found = (tested(case, engine.run) for case in _shown(_cases(cases, rows=True), "tested"))
        outcomes = [outcome for outcome in found if outcome is not None]
    _report(outcomes, as_json)


@app.command("accept")
def accept(cases: _Cases, as_json: _Json = False) -> None:
    """Run queries over empty tables: which are refused, and why. Exit code 1 if one is.

    External data, watchlists and the ASIM functions stand as empty tables, the database of places as one that knows no address.
    """
    from tocsin.cli.kql_engine import CaseEngine
    from tocsin.kql.corpus import accepted

    with CaseEngine() as engine:
        outcomes = [accepted(case, engine.accept) for case in _shown(_cases(cases, rows=False), "tried")]
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


def _shown(cases: Sequence[Any], verb: str) -> Iterator[Any]:
    """The cases, with a bar on the terminal: thousands of them take minutes. Nothing is shown to a pipe or file."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(cases, f"{verb}", console=console, transient=True, disable=not console.is_terminal)


def _cases(path: Path, *, rows: bool) -> list[Any]:
    from tocsin.cli.texts import read_text
    from tocsin.kql.corpus import read_cases

    return list(read_cases(read_text(path).splitlines(), str(path), rows=rows))


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
