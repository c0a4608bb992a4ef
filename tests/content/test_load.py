"""Packs from folders: what is found, what is complained about, and that one bad file never stops the others."""

from __future__ import annotations

from pathlib import Path

from tocsin.content import load_packs, packs_dir

RULE = "id: {id}\nname: {name}\nkind: Scheduled\nseverity: High\nquery: |\n  T\n"


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def pack(folder: Path, name: str = "p", version: str = "1.10") -> Path:
    write(folder, f"{name}/pack.yaml", f"id: {name}\nname: Pack {name}\nversion: {version}\nlicence: Apache-2.0\n")
    return folder / name


def test_a_whole_pack(tmp_path: Path) -> None:
    home = pack(tmp_path)
    rule = write(home, "rules/a/One.yaml", RULE.format(id="r1", name="One"))
    write(home, "rules/a/One.test.yaml", "cases:\n  - {name: hit, fires: true, rows: {T: [{A: 1}]}, alerts: 1}\n")
    write(home, "parsers/x.yaml", "id: x\nname: X\nsource: syslog\ntable: Syslog\nquery: source | project A\n")
    write(home, "functions/f.yaml", "name: f\nparameters: 'a:string'\nbody: T | where A == a\ndoc: finds\n")
    write(home, "hunts/h.yaml", "id: h\nname: H\nquery: T\ntactics: [Execution]\n")
    write(home, "automation/au.yaml", "name: AU\ntrigger: x\n")
    write(home, "watchlists/VIP.csv", '\ufeffUser,Note\nann,"a,b"\nbob\n')
    write(home, "scenarios/day.yaml", "steps: []\n")
    content = load_packs([tmp_path])
    assert content.problems == ()
    assert [(p.id, p.version) for p in content.packs] == [("p", "1.10")]
    assert [(r.id, r.format, r.pack) for r in content.rules] == [("r1", "sentinel", "p")]
    assert content.tests[rule].cases[0].alerts == 1
    assert content.parsers[0].table == "Syslog"
    assert (content.functions[0].parameters, content.functions[0].body) == ("a:string", "T | where A == a")
    assert content.hunts[0].tactics == ("Execution",)
    assert content.automation_rules[0].id == "au"
    items = content.watchlists[0].table.to_pylist()
    assert [(i["User"], i["Note"], i["SearchKey"]) for i in items] == [("ann", "a,b", "ann"), ("bob", "", "bob")]
    assert len({i["_DTItemId"] for i in items}) == 2
    assert content.demos[0].document.value == {"steps": []}


def test_one_bad_file_never_stops_the_others(tmp_path: Path) -> None:
    home = pack(tmp_path)
    write(home, "rules/good.yaml", RULE.format(id="g", name="G"))
    write(home, "rules/binary.yaml", b"\x89PNG\x00\xff")
    write(home, "rules/broken.yaml", "id: x\n  name: y: z\n")
    write(home, "rules/list.yaml", "- a\n- b\n")
    write(home, "rules/empty.yaml", "")
    write(home, "rules/other.test.yaml", "cases: []\n")
    write(home, "parsers/p.yaml", "id: p\nsorce: syslog\ntable: T\nquery: q\n")
    write(home, "watchlists/w.csv", "A,A\n1,2\n")
    write(home, "watchlists/v.csv", "A\n1,2\n")
    content = load_packs([home])
    assert [r.id for r in content.rules] == ["g"]
    said = {(Path(str(p.place.source)).name, p.place.line, p.code) for p in content.problems if p.place}
    assert said == {
        ("binary.yaml", 1, "CNT0002"),
        ("broken.yaml", 2, "CNT0003"),
        ("list.yaml", 1, "CNT0010"),
        ("empty.yaml", 1, "CNT0003"),
        ("other.test.yaml", None, "CNT0022"),
        ("p.yaml", 1, "CNT0010"),
        ("p.yaml", 2, "CNT0013"),
        ("w.csv", 1, "CNT0030"),
        ("v.csv", 2, "CNT0030"),
    }
    unknown = next(p for p in content.problems if p.code == "CNT0013")
    assert unknown.hint == "Did you mean 'source'?"
    assert len(content.errors) == len(content.problems) - 2


def test_same_id_in_one_layer_is_refused_and_in_a_later_layer_replaces(tmp_path: Path) -> None:
    home = pack(tmp_path / "shipped")
    write(home, "rules/a.yaml", RULE.format(id="r", name="first"))
    write(home, "rules/b.yaml", RULE.format(id="R", name="second"))
    site = write(tmp_path / "site", "mine.yaml", RULE.format(id="r", name="ours")).parent
    content = load_packs([tmp_path / "shipped", site])
    assert [r.documents[0].value["name"] for r in content.rules] == ["ours"]
    assert [p.code for p in content.problems] == ["CNT0020"]
    assert "a.yaml" in content.problems[0].hint


def test_loose_rules_and_stubs(tmp_path: Path) -> None:
    write(
        tmp_path,
        "sub/sigma.yml",
        "title: t\nid: s\nlogsource: {product: windows}\ndetection: {a: {b: c}, condition: a}\n",
    )
    write(tmp_path, "moved.yaml", "id: m\nname: Old\ndescription: This file is moved to Solutions\n")
    write(tmp_path, "notes.txt", "nothing")
    content = load_packs([tmp_path])
    assert content.problems == ()
    assert [r.format for r in content.rules] == ["sigma"]


def test_a_missing_path_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    assert [p.code for p in load_packs([tmp_path / "no"]).problems] == ["CNT0002"]


def test_test_files_are_checked(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", RULE.format(id="r", name="n"))
    write(tmp_path, "a.test.yaml", "cases:\n  - {name: x, fires: maybe, rows: {T: {A: 1}}}\n")
    problems = load_packs([tmp_path]).problems
    assert [(p.code, p.place.line) for p in problems if p.place] == [("CNT0011", 2), ("CNT0011", 2)]


def test_shipped_packs_load_without_errors() -> None:
    content = load_packs([packs_dir()])
    assert [str(p) for p in content.errors] == []


FUNCTION = """\
Function: {Title: Lamps, Version: '1.0.0'}
Category: A parser
FunctionName: LampLog
FunctionAlias: Lamps
FunctionQuery: |
  T | where A == 1
"""
PARSER = """\
Parser: {Title: Lamps by ASIM, Version: '0.1'}
Normalization: {Schema: Dns}
Description: |
  Lamps.
ParserName: vimDnsLamp
EquivalentBuiltInParser: _Im_Dns_Lamp
ParserParams:
  - {Name: starttime, Type: datetime, Default: datetime(null)}
  - {Name: domain, Type: string, Default: '*'}
  - {Name: quoted, Type: string, Default: "it's"}
  - {Name: any_of, Type: dynamic, Default: "dynamic([])"}
  - {Name: disabled, Type: Bool, Default: false}
  - {Name: needed, Type: long}
ParserQuery: |
  T | where not(disabled)
"""


def test_published_functions_and_hunting_queries_among_rules(tmp_path: Path) -> None:
    write(tmp_path, "Analytic Rules/r.yaml", RULE.format(id="r", name="R"))
    write(tmp_path, "Hunting Queries/h.yaml", "id: h\nname: H\ndescription: d\nquery: T\ntactics: [Execution]\n")
    write(tmp_path, "Parsers/f.yaml", FUNCTION)
    write(tmp_path, "Parsers/p.yaml", PARSER)
    write(tmp_path, "functions/f2.yaml", FUNCTION.replace("Lamp", "Bulb"))
    write(
        tmp_path,
        "Parsers/bad.yaml",
        PARSER.replace("Name: starttime", "Name: start time").replace("vimDns", "vimOther"),
    )
    content = load_packs([tmp_path])
    assert [r.id for r in content.rules] == ["r"]
    assert [(h.id, h.query, h.tactics) for h in content.hunts] == [("h", "T", ("Execution",))]
    functions = {f.name: f for f in content.functions}
    assert set(functions) == {"Lamps", "LampLog", "Bulbs", "BulbLog", "vimDnsLamp", "_Im_Dns_Lamp"}
    assert (functions["Lamps"].body, functions["Lamps"].parameters) == ("T | where A == 1", "")
    assert functions["_Im_Dns_Lamp"].parameters == (
        "starttime:datetime=datetime(null), domain:string='*', quoted:string='it\\'s', any_of:dynamic=dynamic([]), disabled:bool=false, needed:long"
    )
    assert [(p.code, p.place.line if p.place else 0) for p in content.problems] == [("CNT0012", 8)]


def test_a_query_in_a_pack_s_rules_is_a_rule_however_little_it_says(tmp_path: Path) -> None:
    home = pack(tmp_path)
    write(home, "rules/r.yaml", "id: r\nname: R\nquery: T\n")
    content = load_packs([tmp_path])
    assert ([r.id for r in content.rules], content.hunts) == (["r"], ())


def test_a_file_as_powershell_writes_it(tmp_path: Path) -> None:
    text = RULE.format(id="r", name="Größe")
    write(tmp_path, "rules/a.yaml", text.encode("utf-16"))
    write(tmp_path, "rules/b.yaml", b"\xff\xfe" + text.encode("latin-1"))
    content = load_packs([tmp_path])
    assert [r.documents[0].value["name"] for r in content.rules] == ["Größe"]
    assert [p.code for p in content.problems] == ["CNT0002"]
