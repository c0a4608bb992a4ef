"""Writes what follows mechanically from ASIM's schemas: the unifying functions, the filtering forms of the parsers, the empty ones.

`packs/asim/schemas.json` has the schemas (names, types, parameters), `packs/asim/filters.yaml` what each parameter keeps; the parsers beside
them are written by hand. `make docs` runs this; a test fails when a file is stale.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
PACK = ROOT / "packs/asim"
FUNCTIONS = PACK / "functions"
GENERATED = "_unifying.yaml"
_NULLS = {"string": '""', "dynamic": "dynamic(null)"}
_CAST = {
    "string": "tostring",
    "long": "tolong",
    "int": "toint",
    "real": "toreal",
    "datetime": "todatetime",
    "bool": "tobool",
}
_PACKS = ("AlertEvent", "Authentication", "Dns", "FileEvent")
"""Schemas whose published functions take `pack`; the others always give AdditionalFields."""
_KIND = {"Create": "ProcessCreated", "Terminate": "ProcessTerminated"}
_MATCHING = ("NetworkSession", "WebSession")


def schemas() -> dict[str, Any]:
    """The schemas by name."""
    return dict(json.loads((PACK / "schemas.json").read_text("utf-8")))


def parsers(schema: str) -> dict[str, str]:
    """The hand-written parsers of a schema, source → what it reads. They give a source's own fields; `_Asim<schema>` adds what follows."""
    found = {}
    for path in sorted((FUNCTIONS / schema).glob("*.yaml")):
        if path.name != GENERATED and not path.name.endswith(".test.yaml"):
            value = yaml.safe_load(path.read_text("utf-8"))
            if value["name"].startswith(f"_Asim{schema}_"):
                found[path.stem] = value["doc"]
    return found


def generated() -> dict[Path, str]:
    """Every generated file and its text."""
    filters = yaml.safe_load((PACK / "filters.yaml").read_text("utf-8"))
    return {FUNCTIONS / name / GENERATED: _file(name, schema, filters) for name, schema in schemas().items()}


def _file(name: str, schema: Mapping[str, Any], filters: Mapping[str, Mapping[str, str]]) -> str:
    fields = schema["fields"]
    parameters = [tuple(p) for p in schema["parameters"]] or [
        ("starttime", "datetime", "datetime(null)"),
        ("endtime", "datetime", "datetime(null)"),
    ]
    parameters = [p for p in parameters if p[0] != "pack"]
    texts = {**filters["common"], **filters.get(name, {})}
    where = [(p[0], texts[p[0]]) for p in parameters]
    first = schema["functions"][0]
    documents = [_empty(name, fields), _native(name, schema)]
    finisher = f"\n| invoke _Asim{name}()" if (FUNCTIONS / name / f"_Asim{name}.yaml").exists() else ""
    sources = {"Native": f"Rows of {schema['native_table']}, which have {name}'s shape already.", **parsers(name)}
    for source, doc in sources.items():
        plain = f"_ASim_{name}_{source}"
        alias = schema["sources"].get(plain, f"ASim{name}{source}")
        documents.append(
            _document(plain, [alias], ["disabled:bool=false"], doc, f"_Asim{name}_{source}(disabled){finisher}")
        )
        documents.append(
            _document(
                f"_Im_{name}_{source}",
                [re.sub("^ASim", "vim", alias)],
                [*_declared(parameters), "disabled:bool=false", "pack:bool=false"],
                f"{doc} Those that the parameters keep.",
                _filtered(f"{plain}(disabled)", where, fields, name, sure=False),
            )
        )
    documents += _unifying(name, first, list(sources), finisher, parameters, where, fields)
    for more in schema["functions"][1:]:
        kind = more["parameterless_builtin"].rsplit("_", 1)[1]
        chosen = [s for s in sources if not s.startswith("Create" if kind == "Terminate" else "Terminate")]
        documents += _unifying(name, more, chosen, finisher, parameters, where, fields, _KIND[kind])
    head = "# Made by tools/asim.py of schemas.json, filters.yaml and the parsers beside it.\n"
    return head + "---\n".join(documents)


def _unifying(
    name: str,
    names: Mapping[str, str],
    sources: list[str],
    finisher: str,
    parameters: list[Any],
    where: list[tuple[str, str]],
    fields: Mapping[str, Any],
    only: str = "",
) -> list[str]:
    plain, filtering = names["parameterless_builtin"], names["filtering_builtin"]
    body = "union\n" + ",\n".join(
        f"    {f}()" for f in [f"_Im_{name}_Empty", *(f"_Asim{name}_{source}" for source in sources)]
    )
    body += finisher
    if only:
        body += f'\n| where EventType == "{only}"'
    also = {"ProcessEvent": ["imProcess"], "RegistryEvent": ["imRegistryEvent"], "DhcpEvent": ["imDhcp"]}.get(name, [])
    more = [f"_Im_{name}_{plain.rsplit('_', 1)[1]}"] if only else also
    return [
        _document(plain, [names["parameterless"]], [], f"Every source's {name} rows.", body),
        _document(
            filtering,
            [names["filtering"], *more],
            [*_declared(parameters), "pack:bool=false"],
            f"Every source's {name} rows that the parameters keep.",
            _filtered(f"{plain}()", where, fields, name, sure=True),
        ),
    ]


def _filtered(source: str, where: list[tuple[str, str]], fields: Mapping[str, Any], name: str, *, sure: bool) -> str:
    def column(match: re.Match[str]) -> str:
        field = match.group(1)
        if sure or field == "TimeGenerated":
            return field
        kind = fields[field]["type"]
        return f'column_ifexists("{field}", {_NULLS.get(kind, f"{kind}(null)")})'

    tests = ["(" + re.sub(r"{(\w+)}", column, text) + ")" for _, text in where]
    lines = [source, "| where " + "\n    and ".join(tests)]
    if name in _PACKS:
        lines.append(
            '| extend AdditionalFields = iff(pack, column_ifexists("AdditionalFields", dynamic(null)), dynamic(null))'
        )
    if name in _MATCHING:
        # Which of the two addresses, or names, a parameter for either has found.
        hosts = any(p == "hostname_has_any" for p, _ in where)
        lines.append(
            "| extend"
            " SrcMatch_ = array_length(ipaddr_has_any_prefix) > 0 and has_any_ipv4_prefix(SrcIpAddr, ipaddr_has_any_prefix),"
            " DstMatch_ = array_length(ipaddr_has_any_prefix) > 0 and has_any_ipv4_prefix(DstIpAddr, ipaddr_has_any_prefix)"
            + (
                ", SrcHost_ = array_length(hostname_has_any) > 0 and SrcHostname has_any (hostname_has_any)"
                ", DstHost_ = array_length(hostname_has_any) > 0 and DstHostname has_any (hostname_has_any)"
                if hosts
                else ""
            )
        )
        lines.append(
            '| extend ASimMatchingIpAddr = case(SrcMatch_ and DstMatch_, "Both", SrcMatch_, "SrcIpAddr", DstMatch_, "DstIpAddr", ""),'
            " ASimMatchingHostname = "
            + (
                'case(SrcHost_ and DstHost_, "Both", SrcHost_, "SrcHostname", DstHost_, "DstHostname", "")'
                if hosts
                else '""'
            )
        )
        lines.append("| project-away SrcMatch_, DstMatch_" + (", SrcHost_, DstHost_" if hosts else ""))
    return "\n".join(lines)


def _empty(name: str, fields: Mapping[str, Any]) -> str:
    columns = ", ".join(f"{f}:{d['type']}" for f, d in fields.items())
    also = ["vimProcessEmpty"] if name == "ProcessEvent" else []
    return _document(
        f"_Im_{name}_Empty",
        [f"vim{name}Empty", *also],
        [],
        f"No rows; all columns of {name}.",
        f"datatable({columns})[]",
    )


def _native(name: str, schema: Mapping[str, Any]) -> str:
    from tocsin.tables import catalogue

    table = catalogue().table(schema["native_table"])
    assert table is not None
    held = {c.name: c.type.value for c in table.columns}
    fields = schema["fields"]
    shown = []
    for field, facts in fields.items():
        if field == "EventUid":
            shown.append("EventUid = coalesce(EventUid, _ItemId)" if field in held else "EventUid = _ItemId")
        elif field in held:
            same = held[field] == facts["type"]
            shown.append(field if same else f"{field} = {_CAST[facts['type']]}({field})")
    if "EventSchema" in fields and "EventSchema" not in held:
        shown.append(f'EventSchema = "{name}"')
    return _document(
        f"_Asim{name}_Native",
        [],
        ["disabled:bool=false"],
        f"Rows of {table.name}, which have {name}'s shape already.",
        f"{table.name}\n| where not(disabled)\n| project {', '.join(shown)}",
    )


def _declared(parameters: list[Any]) -> list[str]:
    return [f"{n}:{t}={_default(t, d)}" for n, t, d in parameters]


def _default(kind: str, value: str) -> str:
    return f"'{value}'" if kind == "string" else value


def _document(name: str, aliases: list[str], parameters: list[str], doc: str, body: str) -> str:
    lines = [f"name: {name}"]
    if aliases:
        lines.append(f"aliases: [{', '.join(aliases)}]")
    if parameters:
        lines.append(f"parameters: {json.dumps(', '.join(parameters))}")
    lines += [f"doc: {json.dumps(doc)}", "body: |", *(f"  {line}" for line in body.split("\n"))]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Writes the files whose text has changed."""
    for path, text in generated().items():
        if not path.exists() or path.read_text("utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
