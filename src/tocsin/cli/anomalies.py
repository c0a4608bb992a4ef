"""`tocsin anomalies`: behaviour that differs from a baseline: what runs, how ready its baseline is, and the cases beside the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli.remote import Ca, Remote, Server, TokenFile

__all__ = ["app"]

app = typer.Typer(help="Anomalies: baselines' readiness, and the cases beside the files.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_anomalies(server: Server = "", token_file: TokenFile = None, ca: Ca = None, as_json: AsJson = False) -> None:
    """Print a running server's anomaly rules: entities whose baseline is ready, of how many, what was found, the last error."""
    with Remote(server, token_file, ca) as remote:
        found = remote.ask("GET", "/anomalies")["items"]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for item in found:
        base = item["baseline"]
        ready = f"{base['ready']:,} of {base['entities']:,} ready" if base else "no run yet"
        needs = f"needs {item['needs_days']} days, {item['needs_events']} events"
        print(f"{ready:24} {needs:28} {item['anomalies']:>6,} found  {item['name']}")
        if item["last_error"]:
            print(f"{'':24} {item['last_error']}")


@app.command("test")
def run_tests(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[PATH]…", help="Packs or folders; by default the shipped packs.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the cases beside anomalies (NAME.test.yaml) on their own rows. Exit code 1 when one fails."""
    from tocsin.base.errors import UsageError
    from tocsin.content import load_packs, packs_dir
    from tocsin.detect.anomaly import anomalies_of
    from tocsin.detect.anomaly.cases import run_anomaly_cases
    from tocsin.query import QueryService
    from tocsin.tables import catalogue

    if missing := next((p for p in paths or () if not p.exists()), None):
        raise UsageError(f"there is no file or folder {missing}", code="USE0006")
    shipped = load_packs([packs_dir()], only=("functions",))
    content = load_packs(paths or [packs_dir()], only=("anomalies", "functions"))
    anomalies, problems = anomalies_of(content.anomalies)
    tests = {f.id: f.tests for f in content.anomalies}
    functions = {f.name: f for f in (*shipped.functions, *content.functions)}
    queries = QueryService(None, catalogue=catalogue(), functions=functions.values())
    try:
        results = [
            r for a in anomalies if (file := tests[a.id]) for r in run_anomaly_cases(a, file, queries, queries.catalog)
        ]
    finally:
        queries.close()
    complaints = [str(p) for p in (*content.errors, *problems)]
    failed = [r for r in results if not r.passed]
    if as_json:
        told = [
            {"anomaly": r.anomaly.name, "case": r.name, "place": str(r.place), "passed": r.passed, "message": r.message}
            for r in results
        ]
        print(json.dumps({"anomalies": len(anomalies), "results": told, "problems": complaints}, indent=2))
    else:
        for result in failed:
            print(f"FAILED {result.place}: {result.anomaly.name}: {result.name}: {result.message}")
        for complaint in complaints:
            print(complaint)
        print(f"{len(anomalies)} anomalies, {len(results)} cases, {len(failed)} failed")
    raise typer.Exit(1 if failed or complaints else 0)
