"""The commands, put together."""

from __future__ import annotations

import typer

from tocsin.cli import (
    anomalies,
    doctor,
    entity,
    incidents,
    indicators,
    jobs,
    kql,
    lake,
    query,
    replay,
    reports,
    rules,
    scan,
    settings,
    sources,
    summaries,
    summaries_remote,
    tables,
    transforms,
    up,
    user,
)

__all__ = ["app"]

app = typer.Typer(
    name="tocsin",
    help="Self-hosted SIEM, XDR and SOAR that speaks KQL: real logs in, one explained incident out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("scan")(scan.scan)
app.command("query")(query.query)
app.command("replay")(replay.replay)
app.command("up")(up.up)
app.command("doctor")(doctor.doctor)
app.command("settings")(settings.settings)
app.command("backup")(lake.backup)
app.command("restore")(lake.restore)
app.add_typer(anomalies.app, name="anomalies")
app.add_typer(entity.app, name="entity")
app.add_typer(incidents.app, name="incidents")
app.add_typer(indicators.app, name="indicators")
app.add_typer(kql.app, name="kql")
app.add_typer(lake.app, name="lake")
app.add_typer(jobs.app, name="search-jobs")
app.add_typer(reports.app, name="reports")
app.add_typer(rules.app, name="rules")
app.add_typer(sources.app, name="sources")
app.add_typer(summaries_remote.app, name="summaries")
app.add_typer(summaries.app, name="summary-rules")
app.add_typer(tables.app, name="tables")
app.add_typer(transforms.app, name="transforms")
app.add_typer(user.app, name="user")


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and end.")) -> None:
    if version:
        from tocsin import __version__

        print(f"tocsin {__version__}")
        raise typer.Exit
