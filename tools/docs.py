"""Writes the reference pages that the code generates: settings, commands, API, tables. `make docs`; a test fails when one is stale."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import click
import typer

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs/reference"


def settings_page() -> str:
    """Every setting, by section."""
    from tocsin.workspace.settings import describe

    lines = [
        "# Settings",
        "",
        "Values come, strongest first, from flags, the environment (`TOCSIN_SERVER__PORT=9000`: two underscores between section and name), `tocsin.toml` in the working folder or named by",
        "`--config`, and these defaults. `tocsin settings` prints what is in force.",
        "",
        "| setting | default | meaning |",
        "|---|---|---|",
    ]
    for name, default, text in describe():
        shown = "" if default in ("", None, ()) else f"`{default}`"
        lines.append(f"| `{name}` | {shown} | {text} |")
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """Every command with its options, as `--help` has them."""
    from tocsin.cli.app import app

    root = typer.main.get_command(app)
    lines = [
        "# Commands",
        "",
        "Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 some input was unreadable (`scan`), 130 interrupted.",
        "",
    ]
    assert isinstance(root, click.Group) or hasattr(root, "commands")
    for path, command in _walk(root, "tocsin"):
        lines += [f"## {path}", "", " ".join((command.help or "").split()), ""]
        rows = []
        for parameter in command.params:
            if parameter.name == "help":
                continue
            names = ", ".join(f"`{o}`" for o in (*parameter.opts, *parameter.secondary_opts))
            if parameter.param_type_name == "argument":
                names = f"`{(parameter.metavar or parameter.name or '').upper()}`"
            default = parameter.default
            shown = "" if default in (None, False, "", ...) or callable(default) else f" Default: `{default}`."
            rows.append(f"| {names} | {getattr(parameter, 'help', '') or ''}{shown} |")
        if rows:
            lines += ["| option | meaning |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _walk(command: click.Command, path: str) -> list[tuple[str, click.Command]]:
    children = getattr(command, "commands", None)
    if not children:
        return [(path, command)]
    found = []
    for name, child in children.items():
        found.extend(_walk(child, f"{path} {name}"))
    return found


def api_page() -> str:
    """Every route of the API, from the OpenAPI document."""
    import json

    document = json.loads((ROOT / "ui/openapi.json").read_text("utf-8"))
    lines = [
        "# HTTP API",
        "",
        "The server gives its OpenAPI 3.1 document at `/api/v1/openapi.json`. A browser signs in with `POST /api/v1/session` and sends the header `X-Tocsin-Request: 1` with every",
        "request that changes something; a program sends `Authorization: Bearer TOKEN`. Errors are problem details (RFC 9457) with a stable `code`.",
        "",
        "| request | what it does | permission |",
        "|---|---|---|",
    ]
    for path, methods in sorted(document["paths"].items()):
        for method, operation in methods.items():
            text = " ".join((operation.get("description") or operation.get("summary") or "").split())
            needs = f"`{operation['x-tocsin-permission']}`" if "x-tocsin-permission" in operation else "signed in"
            lines.append(
                f"| `{method.upper()} {path}` | {text} | {'none' if operation.get('security') == [] else needs} |"
            )
    lines += [
        "| `POST /v1/rest/query`, `/v2/rest/query`, `/v1/rest/mgmt` | Kusto (Azure Data Explorer): see [Kusto and Log Analytics](kusto.md) | `query.run` |",
        "| `GET`, `POST /v1/workspaces/{id}/query`, `POST /v1/$batch`, `GET /v1/workspaces/{id}/metadata` | Log Analytics: see [Kusto and Log Analytics](kusto.md) | `query.run` |",
        "| `GET /v1/rest/auth/metadata`, `/metadata/endpoints`, `/{tenant}/v2.0/.well-known/openid-configuration`, `POST /{tenant}/oauth2/v2.0/token` | Where Azure's clients find sign-in, and the token for a client secret that is one of ours | none |",
        "| `POST /services/collector/event`, `/raw`, `GET /services/collector/health` | Splunk HTTP Event Collector; tokens of kind *ingest* | `ingest.write` |",
        "| `POST /ingest/v1/jsonl?table=` | JSON lines; tokens of kind *ingest* | `ingest.write` |",
    ]
    return "\n".join(lines) + "\n"


def tables_page() -> str:
    """The declared tables by category."""
    from tocsin.tables import catalogue

    by_category: dict[str, list[str]] = defaultdict(list)
    for info in catalogue():
        by_category[info.category].append(f"`{info.name}` ({len(info.schema.columns)})")
    lines = [
        "# Tables",
        "",
        "Declared tables with their number of columns. `tocsin query 'TABLE | getschema'` shows the columns; declarations: `src/tocsin/tables/catalogue/`.",
        "",
    ]
    for category, names in sorted(by_category.items()):
        lines += [f"## {category}", "", ", ".join(names), ""]
    return "\n".join(lines)


def rules_page() -> str:
    """The shipped rules by tactic."""
    from tocsin.content import load_packs, packs_dir
    from tocsin.detect.load import rules_of_content

    rules, _ = rules_of_content(load_packs([packs_dir()]))
    lines = [
        "# Shipped detections",
        "",
        f"{len(rules)} rules. Each has rows that must and rows that must not fire it: `tocsin rules test`.",
        "",
    ]
    lines += ["| rule | severity | tactics | techniques |", "|---|---|---|---|"]
    for rule in sorted(rules, key=lambda r: (r.tactics[:1], r.name)):
        lines.append(f"| {rule.name} | {rule.severity} | {', '.join(rule.tactics)} | {', '.join(rule.techniques)} |")
    return "\n".join(lines) + "\n"


def functions_page() -> str:
    """KQL's functions, from their table."""
    from tocsin.kql.functions.docs import reference

    return reference()


def operators_page() -> str:
    """KQL's statements and operators, from the parser's table."""
    from tocsin.kql.operator_reference import reference

    return reference()


def mistakes_page() -> str:
    """What is said of the commonest mistakes in queries."""
    from tocsin.kql.mistakes import reference

    return reference()


def permissions_page() -> str:
    """Roles and what each may do."""
    from tocsin.access import PERMISSIONS, ROLES

    lines = [
        "# Roles and permissions",
        "",
        "A role has everything that the one before it has. Tokens of kind *api* have the rights of the roles that they were made with, and never more than their owner has today; "  # noqa: ISC004
        "tokens of kind *ingest* have `ingest.write` alone. Automation rules may edit incidents and propose actions; they never approve.",
        "",
        f"| permission | what it allows | {' | '.join(ROLES)} |",
        f"|---|---|{'---|' * len(ROLES)}",
    ]
    for name, text in PERMISSIONS.items():
        lines.append(f"| `{name}` | {text} | {' | '.join('yes' if name in held else '' for held in ROLES.values())} |")
    return "\n".join(lines) + "\n"


def actions_page() -> str:
    """The kinds of actions with their inputs."""
    from tocsin.respond.actions import KINDS
    from tocsin.workspace.purging import PurgeRows

    lines = [
        "# Actions",
        "",
        "Everything that acts passes the gate: input checked, permission asked, approval waited for, each step an audit row. Approval *one*: somebody with `actions.approve`; with the "  # noqa: ISC004
        "setting `respond.four_eyes`, somebody else than the one who proposed it. A proposal that nobody decides lapses after `respond.proposal_lasts`.",
        "",
    ]
    for kind in (*KINDS, PurgeRows):
        usual = getattr(kind, "usual_approval", "none")
        facts = [
            f"permission `{kind.permission}`",
            f"approval {usual}",
            "can be undone" if kind.undoable else "can't be undone",
        ]
        facts += ["ends by itself"] if kind.expires else []
        lines += [f"## `{kind.kind}`", "", kind.description, "", f"{', '.join(facts).capitalize()}.", ""]
        lines += ["| input | meaning |", "|---|---|"]
        schema = kind.Input.model_json_schema()
        for name, field in schema["properties"].items():
            default = f" Default: `{field['default']}`." if field.get("default") not in (None, "", []) else ""
            required = " Required." if name in schema.get("required", ()) else ""
            values = next((f["enum"] for f in (field, *field.get("anyOf", ())) if "enum" in f), ())
            one_of = f" One of {', '.join(f'`{v}`' for v in values)}." if values else ""
            text = field.get("description", "").rstrip(".")
            lines.append(f"| `{name}` | {text}{'.' if text else ''}{one_of}{required}{default} |")
        lines.append("")
    return "\n".join(lines)


def automation_page() -> str:
    """The shape of automation rules, from the module that defines it."""
    from typing import get_args

    from tocsin.respond.automation import model

    text = model.__doc__ or ""
    title, _, rest = text.partition("\n")
    shape, _, prose = rest.strip("\n").partition("\n\n")
    lines = ["# Automation rules", "", f"{title.rstrip('.:')}:", "", "```yaml"]
    lines += [line.removeprefix("    ") for line in shape.splitlines()] + ["```", "", " ".join(prose.split()), ""]
    lines += [
        "Operators: "
        + ", ".join(f"`{o}`" for o in get_args(model.Operator))
        + "; "
        + ", ".join(f"`{o}`" for o in sorted(model.UPDATE_OPERATORS))
    ]
    lines[-1] += (
        " look at the change and never hold when an incident is created. `atLeast` and `atMost` go with severity, priority and alert_count."
    )
    lines += ["", "| property | meaning |", "|---|---|", *(f"| `{n}` | {t} |" for n, t in model.PROPERTIES.items())]
    lines += [
        "| `custom.<name>` | A custom detail of its alerts |",
        "| `<Entity>.<Identifier>` | An identifier of its entities, or `label`: `Account.Name`, `IP.Address`, `Host.label` |",
        "",
    ]
    lines += [
        f"Rules run one after another by `order`. What a rule did is never led back to itself; after {_depth()} runs that led to one another the chain is stopped and reported."
    ]
    return "\n".join(lines) + "\n"


def _depth() -> int:
    from tocsin.respond.automation.runner import DEPTH

    return DEPTH


def asim_page() -> str:
    """ASIM's schemas, functions, parameters and sources, as the pack has them."""
    import json

    from tocsin.content import load_packs

    pack = ROOT / "packs/asim"
    functions = {f.name: f for f in load_packs([ROOT / "packs"]).functions}
    schemas = json.loads((pack / "schemas.json").read_text("utf-8"))
    lines = [
        "# ASIM",
        "",
        "Microsoft's Advanced Security Information Model over the tables that Tocsin fills: one schema for an activity, whatever reported it. Names, columns, types and",
        "parameters are Microsoft's; the legacy names (`imDns`, `ASimDns`, `vimDnsEmpty`) are the same functions.",
        "",
        "- `_Im_<Schema>(parameters)` unites all sources and keeps what the parameters say; a parameter that isn't given costs nothing. Times and terms are taken to each table's",
        "  files, so that those which can't hold an answer stay closed.",
        "- `_ASim_<Schema>()` unites all sources. `_Im_<Schema>_Empty()` has the columns and no rows.",
        "- `_ASim_<Schema>_<Source>(disabled=false)` and `_Im_<Schema>_<Source>(parameters, disabled=false)` are one source each.",
        "- `pack=true` gives `AdditionalFields` in the schemas whose functions take `pack`.",
        "- Time bounds are inclusive and compare `TimeGenerated`. Prefixes of addresses are IPv4 addresses or end in a dot. `has` means KQL's terms.",
        "",
        "An event is counted once. One Windows event becomes rows of `SecurityEvent` or `WindowsEvent` and of Defender's `Device*` tables; `SourceSystem` tells which collector a row",
        "came from (`windows.event`, `zeek.conn`, …), and the parsers over `Device*` and `WindowsEvent` leave out what another parser gives. Rows that come in by themselves, as exports of",
        "Defender or Sentinel do, have none of these values and are all there.",
        "",
        "A watchlist `ASimDisabledParsers` is not read: leave a source out by its parser's `disabled` or by a condition on `EventProduct`. To add a source, write a function with the schema's",
        "columns in a pack and unite it with `_Im_<Schema>()`. Parsers of our own, where Microsoft has none: Zeek's HTTP and DHCP logs, Entra's directory audit.",
        "",
    ]
    for name, schema in schemas.items():
        plain = ", ".join(
            f"`{f[k]}`"
            for f in schema["functions"]
            for k in ("filtering_builtin", "filtering", "parameterless_builtin", "parameterless")
        )
        lines += [f"## {name}", "", f"Version {schema['version']}, {len(schema['fields'])} columns: {plain}.", ""]
        if schema["parameters"]:
            shown = ", ".join(f"`{n}: {t}`" for n, t, _ in schema["parameters"])
            lines += [f"Parameters: {shown}.", ""]
        sources = sorted(f for f in functions if f.startswith(f"_Asim{name}_"))
        lines += ["| source | what it reads |", "|---|---|"]
        lines += [f"| `{s[len(f'_Asim{name}_') :]}` | {functions[s].doc} |" for s in sources]
        lines.append("")
    lines += ["## Helper functions", "", "| function | meaning |", "|---|---|"]
    for name in sorted(f for f in functions if f.startswith("_ASIM_")):
        lines.append(f"| `{name}({functions[name].parameters})` | {functions[name].doc} |")
    return "\n".join(lines) + "\n"


PAGES = {
    "asim.md": asim_page,
    "permissions.md": permissions_page,
    "actions.md": actions_page,
    "automation-rules.md": automation_page,
    "settings.md": settings_page,
    "commands.md": commands_page,
    "api.md": api_page,
    "tables.md": tables_page,
    "detections.md": rules_page,
    "kql-functions.md": functions_page,
    "kql-operators.md": operators_page,
    "kql-errors.md": mistakes_page,
}


def main() -> int:
    """Writes the pages, or with ``--check`` says which are stale."""
    stale = []
    for name, make in PAGES.items():
        text, path = make(), REFERENCE / name
        if not path.is_file() or path.read_text("utf-8") != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(text, "utf-8")
    print(("stale: " if "--check" in sys.argv else "written: ") + (", ".join(stale) or "nothing"))
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    raise SystemExit(main())
