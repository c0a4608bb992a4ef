"""`tocsin up`: the server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tocsin.workspace.demo import Player
    from tocsin.workspace.workspace import Workspace

__all__ = ["up"]


def up(
    data: Annotated[
        Path | None, typer.Option(help="The data folder; by default `data`, or what the settings say.")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Play a demonstration attack through the real intake.")] = False,
    scenario: Annotated[
        str, typer.Option(help="The scenario that --demo plays: a name from packs/demo, or a file.")
    ] = "phish-to-exfiltration",
    speed: Annotated[
        float, typer.Option(min=0.1, max=10_000, help="How many times as fast the demonstration is played.")
    ] = 120.0,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="PEM file of the server's certificate: everything is served over HTTPS.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="PEM file of its key; by default it stands in the certificate's file.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="The settings file; by default tocsin.toml where you are.")
    ] = None,
    log: Annotated[str, typer.Option(help="Least level of log lines: debug, info, warning, error.")] = "warning",
) -> None:
    """Start the server: intake, lake, rules, correlation, API and portal in one process. Ctrl-C or SIGTERM stops it cleanly."""
    from tocsin.base import log as logs
    from tocsin.base.errors import UsageError
    from tocsin.workspace.server import bind, check_tls, serve
    from tocsin.workspace.settings import load_settings

    if log not in ("debug", "info", "warning", "error"):
        raise UsageError(
            f"there is no log level '{log}'", code="USE0008", hint="There are debug, info, warning and error."
        )
    logs.configure(log)  # type: ignore[arg-type]
    flags = {"host": host, "port": port, "tls_cert": tls_cert, "tls_key": tls_key}
    server = {k: v for k, v in flags.items() if v is not None}
    settings = load_settings(config, data=data, **({"server": server} if server else {}))
    check_tls(settings.server)
    sock = bind(settings.server)
    from tocsin.api.app import create_app
    from tocsin.portal import PortalFiles
    from tocsin.workspace.demo import find_scenario
    from tocsin.workspace.workspace import Workspace

    chosen = find_scenario(scenario) if demo else None
    with Workspace.open(settings) as workspace:
        workspace.state.portal = settings.server.address(sock.getsockname()[1])
        app = create_app(workspace)
        portal = PortalFiles()
        app.mount("/", portal, name="portal")
        workspace.start()
        address = f"http{'s' if settings.server.tls_cert else ''}://{_shown(sock.getsockname())}"
        player: Player | None = None
        if chosen is not None:
            player = _player(workspace, chosen, address, speed)

        def ready() -> None:
            # Only now that nothing can fail any more before it is shown: a password that nobody saw locks everybody out.
            password = workspace.access.first_start()
            _say(workspace, address, password, portal.built, chosen.name if chosen else "")
            if player is not None:
                player.start()

        try:
            serve(app, sock, ready=ready, settings=settings.server, refused=workspace.intake.refused)
        finally:
            if player is not None:
                player.stop()
    print("Tocsin has stopped; everything that was acknowledged is on disk.", flush=True)


def _shown(name: Any) -> str:
    host, port = name[0], name[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _player(workspace: Workspace, scenario: Any, address: str, speed: float) -> Player:
    from tocsin.access import system
    from tocsin.workspace.demo import Player

    made = workspace.access.make_token(
        "demo", kind="ingest", roles=(), expires_in_days=1, by=system("system:demo", "tokens.manage")
    )
    return Player(
        scenario,
        address=address,
        token=made["token"],
        clock=workspace.clock,
        speed=speed,
        certificate=workspace.settings.server.tls_cert,
    )


def _say(workspace: Workspace, address: str, password: str | None, built: bool, demo: str) -> None:
    print(f"Tocsin {workspace.version} answers on {address}")
    if workspace.state.portal not in ("", address):
        print(f"  people use    {workspace.state.portal}")
    if password is not None:
        print(f"  user          admin\n  password      {password}   (made now, shown this once)")
    if not built:
        print("  The portal is not built; the API answers. In a checkout: make portal")
    for source in workspace.intake.sources():
        if source["address"]:
            told = source["name"] not in (source["kind"], source["address"])
            name = f"{source['kind']} {source['name']}" if told else source["kind"]
            print(f"  {name:12}  {source['address']}")
    if demo:
        print(f"  playing       {demo}")
    print("Ctrl-C stops it.", flush=True)
