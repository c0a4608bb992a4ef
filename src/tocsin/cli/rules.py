"""`tocsin rules`: list, check and test detection rules, shipped ones or those of a file or folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tocsin.cli import rule_simulation, rule_tuning

if TYPE_CHECKING:
    from tocsin.base.errors import TocsinError
    from tocsin.content import Content
    from tocsin.detect.rule import Rule
    from tocsin.query import QueryService

__all__ = ["app"]

app = typer.Typer(help="List, check, test, simulate and tune detection rules.", no_args_is_help=True)
rule_tuning.add_to(app)
rule_simulation.add_to(app)

_Paths = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[PATH]…",
        help="Rule files, folders or packs; the shipped packs when none is given.",
        show_default=False,
    ),
]
_Packs = Annotated[
    list[Path] | None,
    typer.Option(
        "--packs", help="Packs whose functions and watchlists the rules use, besides the shipped ones; may be repeated."
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command("list")
def list_rules(
    paths: _Paths = None,
    costs: Annotated[
        list[Path] | None,
        typer.Option(
            "--costs", help="Logs on which to measure what Sigma rules take, costliest first; may be repeated."
        ),
    ] = None,
    as_json: _Json = False,
) -> None:
    """List rules: severity, kind, techniques, name; with `--costs`, the nanoseconds of CPU that each takes for an event of these logs."""
    _, rules, problems = _load(paths)
    rows = [_described(r) for r in sorted(rules, key=lambda r: (r.tactics, r.name))]
    if costs:
        spent, events = _measured(rules, costs)
        for row in rows:
            row["cost_ns"] = round(spent.get(row["id"], 0) / max(1, events))
        rows.sort(key=lambda row: -row["cost_ns"])
    if as_json:
        print(json.dumps({"rules": rows, "problems": [str(p) for p in problems]}, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    more = ["ns/event"] if costs else []
    table = Table(*more, "Severity", "Kind", "Techniques", "Name", "Pack", box=None, header_style="bold")
    for row in rows:
        taken = [f"{row['cost_ns']:,}"] if costs else []
        table.add_row(*taken, row["severity"], row["kind"], " ".join(row["techniques"]), row["name"], row["pack"])
    console = Console()
    console.print(table)
    console.print(f"{len(rows)} rules")
    _print_problems(problems)


@app.command("validate")
def validate(
    paths: _Paths = None,
    packs: _Packs = None,
    as_json: _Json = False,
    sarif: Annotated[bool, typer.Option("--sarif", help="Print SARIF 2.1.0, as code scanning reads it.")] = False,
) -> None:
    """Check rules: their files, queries and columns. Exit code 1 when one can't be used."""
    from tocsin.content import is_warning
    from tocsin.detect.check import check_rule

    content, rules, problems = _load(paths)
    with _queries(content, packs) as queries:
        for rule in rules:
            problems.extend(check_rule(rule, queries))
    errors = [p for p in problems if not is_warning(p)]
    if sarif:
        from tocsin.cli.sarif import problems_log

        print(json.dumps(problems_log(problems), indent=2, ensure_ascii=False))
    elif as_json:
        print(json.dumps({"rules": len(rules), "problems": [_problem(p) for p in problems]}, indent=2))
    else:
        _print_problems(problems)
        print(f"{len(rules)} rules, {len(errors)} errors, {len(problems) - len(errors)} warnings")
    raise typer.Exit(1 if errors else 0)


@app.command("test")
def run_tests(
    paths: _Paths = None,
    packs: _Packs = None,
    untested: Annotated[bool, typer.Option("--untested", help="Fail for rules without cases, too.")] = False,
    as_json: _Json = False,
) -> None:
    """Run the cases beside rules (NAME.test.yaml) on their own rows. Exit code 1 when one fails."""
    from tocsin.detect.cases import run_cases

    content, rules, problems = _load(paths)
    results = []
    tests = {str(path): cases for path, cases in content.tests.items()}
    bare = [r for r in rules if str(r.path) not in tests]
    with _queries(content, packs) as queries:
        for rule in rules:
            if str(rule.path) in tests:
                results.extend(run_cases(rule, tests[str(rule.path)], queries, queries.catalog))
    failed = [r for r in results if not r.passed]
    if as_json:
        summary: dict[str, Any] = {
            "rules": len(rules),
            "cases": len(results),
            "failed": len(failed),
            "untested": [r.name for r in bare],
            "results": [r.to_dict() for r in results],
            "problems": [_problem(p) for p in problems],
        }
        print(json.dumps(summary, indent=2))
    else:
        for result in failed:
            print(f"FAILED {result.place}: {result.rule.name}: {result.case.name}: {result.message}")
        _print_problems(problems)
        if untested:
            for rule in bare:
                print(f"NO CASES {rule.path}: {rule.name}")
        print(f"{len(rules)} rules, {len(results)} cases, {len(failed)} failed, {len(bare)} rules without cases")
    from tocsin.content import is_warning

    broken = any(not is_warning(p) for p in problems)
    raise typer.Exit(1 if failed or broken or (untested and bare) else 0)


@app.command("load")
def load(
    paths: _Paths = None,
    packs: _Packs = None,
    as_json: _Json = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 when a rule can't run.")] = False,
) -> None:
    """Say of each rule whether it runs, or what it lacks: a table, column, function, modifier, source or watchlist.

    Exit code 0, as the server goes on with the rules that run; `--strict` and `tocsin rules validate` give 1 when one can't.
    """
    from tocsin.content import is_warning
    from tocsin.detect.check import check_rule, prevents

    content, rules, problems = _load(paths)
    reasons: dict[str, list[TocsinError]] = {}
    named: dict[str, list[str]] = {}
    with _queries(content, packs) as queries:
        for rule in rules:
            file = str(rule.path or rule.id)
            named.setdefault(file, []).append(rule.name)
            reasons.setdefault(file, []).extend(p for p in check_rule(rule, queries) if _told(p))
    for problem in problems:
        if not is_warning(problem):
            reasons.setdefault(problem.place.source if problem.place else "", []).append(problem)
    rows: list[dict[str, Any]] = [
        {
            "file": file,
            "rules": named.get(file, []),
            "runs": not any(map(prevents, found)),
            "problems": [_problem(p) for p in found],
        }
        for file, found in sorted(reasons.items())
    ]
    broken = [r for r in rows if not r["runs"]]
    running = sum(len(r["rules"]) for r in rows if r["runs"])
    if as_json:
        print(json.dumps({"rules": rows, "running": running, "broken": len(broken)}, indent=2, ensure_ascii=False))
    else:
        for file, found in sorted(reasons.items()):
            for problem in found:
                print(problem)
            if not any(map(prevents, found)):
                print(f"{file}: runs")
        print(f"{running} rules run, {len(broken)} files have rules that can't")
        if content.hunts and paths:
            print(f"{len(content.hunts)} hunting queries; 'tocsin kql check' checks them")
    raise typer.Exit(1 if strict and broken else 0)


def _told(problem: TocsinError) -> bool:
    """Whether a complaint says that a rule, or a part of it, doesn't run."""
    from tocsin.content import is_warning

    return not is_warning(problem) or problem.code == "DET0015"


@app.command("coverage")
def show_coverage(
    paths: _Paths = None,
    packs: _Packs = None,
    as_json: _Json = False,
    navigator: Annotated[
        Path | None, typer.Option("--navigator", help="Write a layer file of ATT&CK Navigator there.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="A data folder: whether the rules' tables hold rows is asked of its lake.")
    ] = None,
    gaps: Annotated[bool, typer.Option("--gaps", help="Show the techniques too that no rule names.")] = False,
) -> None:
    """ATT&CK coverage: per technique whether a rule exists, its tables hold rows (with --data), and its cases pass or, with --data, it has fired."""
    from tocsin.content import load_packs, packs_dir
    from tocsin.detect.cases import run_cases
    from tocsin.detect.coverage import coverage, navigator_layer, tables_of_rule

    content, rules, problems = _load(paths)
    tests = {str(path): cases for path, cases in content.tests.items()}
    with _queries(content, packs) as queries:
        fired = _fired(data)

        def proven(rule: Rule) -> bool:
            if rule.id in fired:
                return True
            cases = tests.get(str(rule.path))
            return cases is not None and all(r.passed for r in run_cases(rule, cases, queries, queries.catalog))

        found = coverage(
            rules,
            tables=lambda r: tables_of_rule(r, queries),
            filled=_filled(data),
            proven=proven,
            attack={**load_packs([packs_dir()], only=("attack",)).attack, **content.attack},
        )
    if navigator is not None:
        navigator.write_text(json.dumps(navigator_layer(found), indent=2), "utf-8")
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    asked = data is not None
    for item in found["techniques"]:
        facts = item["facts"]
        marks = [
            "rule" if facts["rule"] else "off",
            ("rows" if facts["data"] else "no rows") if asked else "rows ?",
            "proven" if facts["proven"] else "",
        ]
        said = f"{marks[0]:4}  {marks[1]:7}  {marks[2]:6}"
        print(f"{item['technique']:10} {said} {len(item['rules']):3}  {item['name'] or ', '.join(item['tactics'])}")
    if gaps:
        for item in found["gaps"]:
            print(f"{item['technique']:10} no rule                    {item['name']}")
    facts = found["facts"]
    fed = (
        f"{facts['data']} with rows in its tables"
        if asked
        else "whether its tables hold rows is not known without --data"
    )
    print(
        f"{len(found['techniques'])} techniques: {facts['rule']} with a rule that is on, {facts['proven']} with one that is proven, {fed}; "
        f"{found['counts']['full']} with both; {found['rules']} rules; no rule names {len(found['gaps'])} of ATT&CK's techniques"
    )
    _print_problems(problems)


def _filled(data: Path | None) -> set[str] | None:
    if data is None:
        return None
    from tocsin.lake import Lake
    from tocsin.tables import catalogue

    with Lake.open(data / "lake", catalog=catalogue(), read_only=True) as lake:
        return {s.table for s in lake.stats() if s.rows}


def _fired(data: Path | None) -> set[str]:
    """The rules of which a data folder holds alerts."""
    if data is None or not (data / "state.db").is_file():
        return set()
    from tocsin.state import State

    state = State.open(data / "state.db")
    try:
        with state.read() as unit:
            return set(unit.incidents.alert_counts_by_rule())
    finally:
        state.close()


# ---------------------------------------------------------------------------------------------- shared


def _load(paths: list[Path] | None) -> tuple[Content, list[Rule], list[TocsinError]]:
    from tocsin.base.caches import user_cache
    from tocsin.base.errors import UsageError
    from tocsin.content import load_packs, packs_dir
    from tocsin.detect.load import rules_of_content

    for path in paths or ():
        if not path.exists():
            raise UsageError(f"there is no file or folder {path}", code="USE0006")
    content = load_packs(paths or [packs_dir()], cache=user_cache("sigma"))
    rules, problems = rules_of_content(content, cache=user_cache("sigma"))
    from tocsin.incidents.fusion import patterns_of

    return content, rules, [*content.problems, *problems, *patterns_of(content)[1]]


def _measured(rules: list[Rule], logs: list[Path]) -> tuple[dict[str, int], int]:
    """What Sigma rules took on logs, nanoseconds by rule id, and the events looked at."""
    from tocsin.base.errors import UsageError
    from tocsin.detect.sigma.costs import Costs
    from tocsin.detect.sigma.matcher import SigmaMatcher
    from tocsin.ingest.decoders import decode_path
    from tocsin.ingest.model import SourceBatch

    if missing := next((p for p in logs if not p.exists()), None):
        raise UsageError(f"there is no file or folder {missing}", code="USE0006")
    matcher = SigmaMatcher(rules, live=True, costs=Costs(every=1))
    for path in logs:
        for item in decode_path(path):
            if isinstance(item, SourceBatch):
                matcher.match(item)
    return matcher.spent(), matcher.stats.rows


@contextmanager
def _queries(content: Content, packs: list[Path] | None) -> Iterator[QueryService]:
    """A query service over no data, with the functions and watchlists of the content, of `packs` and of the shipped packs."""
    from tocsin.content import load_packs, packs_dir
    from tocsin.query import QueryService
    from tocsin.tables import catalogue

    helpers = load_packs([packs_dir(), *(packs or ())])
    functions = {f.name: f for f in (*helpers.functions, *content.functions)}
    watchlists = {w.alias: w.table for w in (*helpers.watchlists, *content.watchlists)}
    queries = QueryService(None, catalogue=catalogue(), functions=functions.values(), watchlists=watchlists)
    try:
        yield queries
    finally:
        queries.close()


def _described(rule: Rule) -> dict[str, Any]:
    from tocsin.detect.durations import duration_text

    return {
        "id": rule.id,
        "name": rule.name,
        "severity": rule.severity,
        "kind": rule.kind.value,
        "tactics": list(rule.tactics),
        "techniques": list(rule.techniques),
        "enabled": rule.enabled,
        "frequency": duration_text(rule.frequency),
        "period": duration_text(rule.period),
        "pack": rule.pack,
        "path": str(rule.path or ""),
    }


def _problem(problem: TocsinError) -> dict[str, Any]:
    from tocsin.content import is_warning

    return {
        "code": problem.code,
        "place": str(problem.place or ""),
        "message": problem.message,
        "hint": problem.hint,
        "warning": is_warning(problem),
    }


def _print_problems(problems: list[TocsinError]) -> None:
    import sys

    for problem in problems:
        print(problem, file=sys.stderr)
