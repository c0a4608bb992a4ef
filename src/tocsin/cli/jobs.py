"""`tocsin search-jobs`: searches and restores over old rows, archived ones too."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tocsin.workspace.jobs import Job
    from tocsin.workspace.workspace import Workspace

__all__ = ["app"]

app = typer.Typer(
    help="Search jobs and restores over old rows. The server must be stopped; with a running one use the API.",
    no_args_is_help=True,
)
Data = Annotated[Path | None, typer.Option(help="The data folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Start = Annotated[datetime, typer.Option(help="First event time, UTC.", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])]
End = Annotated[
    datetime, typer.Option(help="End of the range, not included.", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])
]
JobId = Annotated[str, typer.Argument(help="The job's id.")]


@app.command("list")
def list_jobs(data: Data = None, as_json: AsJson = False) -> None:
    """List searches and restores, newest first."""
    with _workspace(data) as workspace:
        items = [j.to_dict() for j in workspace.jobs.listed(by=_principal())]
    if as_json:
        print(json.dumps({"items": items}))
        return
    for job in items:
        print(
            f"{job['id']}  {job['target']:32} {job['status']:10} {job['days_done']}/{job['days']} days  {job['rows']:>12,} rows  {job['error']}"
        )


@app.command("estimate")
def estimate(
    text: Annotated[str, typer.Argument(help="The query; with --restore the table.")],
    start: Start,
    end: End,
    restore: Annotated[bool, typer.Option("--restore", help="Estimate a restore.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Tell what a job would read, on the disk and in the archive."""
    with _workspace(data) as workspace:
        found = workspace.jobs.estimate(
            "restore" if restore else "search", text, _utc(start), _utc(end), by=_principal()
        ).to_dict()
    if as_json:
        print(json.dumps(found))
        return
    print(
        f"{found['days']} days of {found['table']}: {found['rows']:,} rows in {found['bytes']:,} bytes on the disk, "
        f"{found['archived_rows']:,} rows in {found['archived_bytes']:,} bytes in the archive"
    )


@app.command("run")
def run(
    name: Annotated[str, typer.Argument(help="The result's table is NAME_SRCH.")],
    query: Annotated[str, typer.Argument(help="A KQL query that looks at each row of one table by itself.")],
    start: Start,
    end: End,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Search old rows; the rows found come into NAME_SRCH. Ctrl-C stops, and the next run or the server goes on."""
    with _workspace(data) as workspace:
        job = workspace.jobs.search(name, query, _utc(start), _utc(end), by=_principal())
        _finish(workspace, job, as_json)


@app.command("restore")
def restore(
    table: Annotated[str, typer.Argument(help="The table whose archived rows come back, into NAME_RST.")],
    start: Start,
    end: End,
    name: Annotated[str, typer.Option(help="The result's name; by default the table's.")] = "",
    days: Annotated[float, typer.Option(help="Days after which the restored rows go.")] = 7.0,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Bring a table's archived rows of a range back for a while."""
    with _workspace(data) as workspace:
        job = workspace.jobs.restore(table, _utc(start), _utc(end), name=name, days=days, by=_principal())
        _finish(workspace, job, as_json)


@app.command("resume")
def resume(data: Data = None, as_json: AsJson = False) -> None:
    """Run what was queued or cut short to its end."""
    with _workspace(data) as workspace:
        workspace.jobs.run_pending()
        left = [j.id for j in workspace.jobs.listed(by=_principal()) if j.status in ("Queued", "Running")]
    print(json.dumps({"left": left}) if as_json else "done")


@app.command("cancel")
def cancel(job_id: JobId, data: Data = None, as_json: AsJson = False) -> None:
    """End a job that was queued or cut short."""
    with _workspace(data) as workspace:
        _say(workspace.jobs.cancel(job_id, by=_principal()), as_json)


@app.command("remove")
def remove(job_id: JobId, data: Data = None, as_json: AsJson = False) -> None:
    """Take away the rows of a job that has ended."""
    with _workspace(data) as workspace:
        _say(workspace.jobs.remove(job_id, by=_principal()), as_json)


def _finish(workspace: Workspace, job: Job, as_json: bool) -> None:
    """Runs the job in a thread, with a bar of its days."""
    from tocsin.cli.lake import progress_bar

    work = threading.Thread(target=workspace.jobs.run_pending)
    with progress_bar("Searching", as_json) as show:
        work.start()
        try:
            while work.is_alive():
                work.join(0.2)
                job = workspace.jobs.get(job.id, by=_principal())
                show(job.days_done, job.days)
        except KeyboardInterrupt:
            workspace.jobs.stop()
            work.join()
            raise
    job = workspace.jobs.get(job.id, by=_principal())
    _say(job, as_json)
    if job.status != "Succeeded":
        raise typer.Exit(1)


def _say(job: Job, as_json: bool) -> None:
    if as_json:
        print(json.dumps(job.to_dict()))
    else:
        print(f"{job.target}: {job.status}, {job.rows:,} rows{f'; {job.error}' if job.error else ''}")


def _principal() -> Any:
    from tocsin.access import system

    return system("system:command-line", "jobs.run", "data.read")


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)


@contextmanager
def _workspace(data: Path | None) -> Iterator[Workspace]:
    from tocsin.cli.lake import lake_settings
    from tocsin.workspace.workspace import Workspace

    with Workspace.open(lake_settings(data)) as workspace:
        yield workspace
