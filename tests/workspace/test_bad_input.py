"""`tocsin scan` over bad input, as a program: one clear error for each that names file and place, the rest is read, exit codes as promised.

Every piece of bad input lies in a folder of its own beside a good file, whose row must be there whatever happened to its neighbour.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

EVTX = Path(__file__).resolve().parents[3] / "shared/data/evtx-attack-samples"
MIB = 1 << 20


def event(host: str, **more: Any) -> bytes:
    """A line of a flat Sysmon event, as collectors write it."""
    row = {
        "Channel": "Microsoft-Windows-Sysmon/Operational", "SourceName": "Microsoft-Windows-Sysmon", "EventID": 1, "Hostname": host,
        "TimeCreated": "2024-05-01T10:00:00.123Z", "Image": r"C:\Windows\System32\notepad.exe", "CommandLine": "notepad.exe", "ProcessId": "7",
    }  # fmt: skip
    return json.dumps({**row, **more}).encode() + b"\n"


def zipped(files: Mapping[str, bytes]) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def damaged(archive: bytes, at: int) -> bytes:
    return archive[:at] + bytes(64) + archive[at + 64 :]


def nested(levels: int) -> bytes:
    data = zipped({"deepest.json": event("deep")})
    for level in range(levels):
        data = zipped({f"level{level}.zip": data, f"level{level}.json": event(f"level{level}")})
    return data


def lines(count: int) -> bytes:
    noise = random.Random(7)
    return b"".join(event("gz", ProcessId=str(i), Tag=noise.random()) for i in range(count))


def cut_evtx() -> bytes:
    """A real log that ends in the middle of its second chunk."""
    largest = max(EVTX.rglob("*.evtx"), key=lambda p: p.stat().st_size)
    return largest.read_bytes()[: 4096 + 65_536 + 30_000]


@dataclass(frozen=True)
class Case:
    """`error` is what the file's error looks like, `place` where it must point, `rows` how many of the file's own events are read all the same."""

    name: str
    data: Any
    error: str = ""
    place: str = ""
    note: str = ""
    rows: int | None = None


def sysmon(text: str) -> bytes:
    return (
        b'{"Channel":"Microsoft-Windows-Sysmon/Operational","SourceName":"s","EventID":1,"TimeCreated":"2024-05-01T10:00:00Z",'
        + text.encode()
        + b"}\n"
    )


FAR_TIMES = ("1601-01-01T00:00:00Z", "9999-12-31T23:59:59.9999999Z", "0001-01-01T00:00:00Z")
CASES = [
    Case("truncated.evtx", cut_evtx, "ends within chunk 2", r":byte \d+: "),
    Case("corrupt.zip", lambda: damaged(zipped({"a.json": lines(2000), "b.json": event("b")}), 400), "damaged", r"!a\.json:byte \d+: "),
    Case("no-directory.zip", lambda: zipped({"a.json": lines(50)})[:-60], "archive is damaged", r"\.zip:byte \d+: "),
    Case("nested.zip", lambda: nested(9), "nested more than 6 deep", r"level8\.zip!.*level\d\.zip: ", rows=6),
    Case("bomb.zip", lambda: zipped({"zeros.log": bytes(200 * MIB), "ok.json": event("ok")}), "archive bomb", r"!zeros\.log: ", rows=1),
    Case("bomb.json.gz", lambda: gzip.compress(b'{"a":"' + b"x" * (300 * MIB) + b'"}\n'), "archive bomb", r"\.gz: "),
    Case("truncated.json.gz", lambda: gzip.compress(lines(5000))[:-200], "ends too early", r"\.gz:byte \d+: "),
    Case("noise.bin", lambda: random.Random(1).randbytes(400_000), "binary data of no known format", r"noise\.bin:byte 0: ", rows=0),
    Case("zeros.evtx", lambda: b"ElfFile\0" + bytes(200_000), "", r"zeros\.evtx", rows=0),
    Case("wrong-types.json", lambda: event("w") + event("w", EventID={"a": [1]}, TimeCreated=[7], Level={}) + b'[1, 2]\n"text"\n' + event("w"),
         "isn't an object", r"wrong-types\.json:3: ", note="no event id that can be read (event 2)", rows=3),
    Case("cut-line.json", lambda: event("c") + event("c")[:-40] + b"\n" + event("c"), "isn't valid JSON", r"cut-line\.json:2: ", rows=2),
    Case("deep.json", lambda: event("d") + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"\n" + event("d"), "depth", r"deep\.json:2: ", rows=2),
    Case("rows.csv", lambda: b"TimeGenerated,Computer,EventID\n" + b"2024-05-01T10:00:00Z,a,1\n" * 9 + b"2024-05-01T10:00:00Z,a\n",
         "The row has 2 fields; the header has 3", r"rows\.csv:11: ", rows=9),
    Case("wrong-values.json", lambda: b'{"Type":"SigninLogs","TimeGenerated":"2024-05-01T10:00:00Z","UserPrincipalName":"u","DurationMs":"soon"}\n',
         note="SigninLogs.DurationMs", rows=1),
    Case("nesting.json", lambda: event("n") + sysmon('"Hostname":' + '{"a":' * 700 + "1" + "}" * 700), rows=2),
    Case("twice.json", lambda: event("t") + sysmon('"Hostname":"first","Hostname":"second"'), note="(line 2, 'Hostname')", rows=2),
    Case("years.json", lambda: b"".join(event("y", TimeCreated=t) for t in FAR_TIMES),
         note="before 1980 or after 2100 (3 times, first at event 1)", rows=3),
    Case("no-time.json", lambda: event("y") + event("y", TimeCreated="yesterday"), note="no time that can be read (event 2)", rows=2),
    Case("bytes.json", lambda: event("b") + event("b", Image="XYZ").replace(b"XYZ", b"\xff\xfe\xc3"),
         note="invalid UTF-8 was replaced (line 2)", rows=2),
    Case("surrogate.json", lambda: event("s") + sysmon('"Hostname":"s","Image":"a\\ud800b"'), note="lone surrogates were replaced (line 2)", rows=2),
    Case("columns.csv", lambda: b"TimeGenerated,Computer,Computer,EventID\n" + b"2024-05-01T10:00:00Z,a,b,1\n" * 4,
         note="(line 1, 'Computer')", rows=4),
    Case("name-\udcff\udcfe.json", lambda: event("o"), rows=1),
]  # fmt: skip
UNREADABLE = [c for c in CASES if c.error or c.place]
ODD = [c for c in CASES if not c.error and not c.place]


@dataclass(frozen=True)
class Run:
    code: int
    out: str
    err: str
    peak: int

    @property
    def answer(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


def high_water(pid: int) -> int:
    """The largest resident memory of a running process in bytes; 0 when it has just ended.

    Not `ru_maxrss`: that one carries what the parent held at the fork, here the whole test run's memory.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def tocsin(folder: Path, *arguments: str | Path) -> Run:
    """Runs the program; `peak` is its largest resident memory in bytes."""
    command = [sys.executable, "-c", "from tocsin.cli import main; main()", *map(str, arguments)]
    out, err = folder / "out.txt", folder / "err.txt"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr)
        peak = 0
        while process.poll() is None:
            peak = max(peak, high_water(process.pid))
            time.sleep(0.02)
    assert peak, "no measurement of the program's memory"
    # Strict: what the program prints is UTF-8 whatever the names of files are.
    run = Run(process.returncode, out.read_bytes().decode(), err.read_bytes().decode(), peak)
    assert "Traceback" not in run.out + run.err, run.err
    return run


def good_host(case: Case) -> str:
    return f"good-{CASES.index(case)}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bad")


@pytest.fixture(scope="module")
def scanned(folder: Path) -> Run:
    for case in CASES:
        if case.data is cut_evtx and not EVTX.is_dir():
            continue
        place = folder / "input" / f"{CASES.index(case):02}"
        place.mkdir(parents=True)
        (place / case.name).write_bytes(case.data())
        (place / "good.json").write_bytes(event(good_host(case)))
    return tocsin(folder, "scan", folder / "input", "--json", "--keep", folder / "kept")


@pytest.fixture(scope="module")
def hosts(folder: Path, scanned: Run) -> dict[str, int]:
    """Rows by host in the tables that the scan kept."""
    run = tocsin(
        folder, "query", "--data", folder / "kept", "WindowsEvent | summarize n = count() by Computer", "--json"
    )
    return dict(run.answer["rows"])


def reports(scanned: Run, case: Case) -> list[dict[str, Any]]:
    if case.data is cut_evtx and not EVTX.is_dir():
        pytest.skip(f"{EVTX} isn't here")
    inside = f"/{CASES.index(case):02}/"
    return [f for f in scanned.answer["files"] if inside in f["path"]]


def test_unreadable_input_exits_3_with_nothing_on_standard_error(scanned: Run) -> None:
    assert scanned.code == 3
    assert scanned.err == ""
    assert scanned.answer["errors"] == []


@pytest.mark.parametrize("case", CASES, ids=[c.name.encode("ascii", "replace").decode() for c in CASES])
def test_each_says_what_is_wrong_once_and_the_rest_goes_on(scanned: Run, hosts: dict[str, int], case: Case) -> None:
    mine = reports(scanned, case)
    good = [f for f in mine if f["path"].endswith("/good.json")]
    assert [(f["events"], f["error"], f["dead"]) for f in good] == [(1, None, 0)]
    assert hosts[good_host(case)] == 1
    bad = [f for f in mine if f not in good]
    errors = [f["error"] for f in bad if f["error"]]
    if case in UNREADABLE:
        (error,) = errors
        assert re.match(r"[A-Z]{3}\d{4} /", error)
        assert case.error in error
        assert re.search(case.place, error)
        assert "\n" not in error
        assert not any(f.get("skipped") for f in bad if f["error"])
    else:
        assert errors == []
    notes = [n for f in bad for n in f.get("notes", [])]
    if case.note:
        assert [n for n in notes if case.note in n], notes
    if case.rows is not None:
        assert sum(f["events"] for f in bad) == case.rows
    else:
        assert (
            sum(f["events"] for f in bad) > 0
            or "bomb" in case.name
            or "no-directory" in case.name
            or "corrupt" in case.name
        )


def test_the_text_form_has_one_line_for_each_bad_file(folder: Path, scanned: Run) -> None:
    run = tocsin(folder, "scan", folder / "input")
    assert run.code == 3
    said = [line for line in run.out.splitlines() if line.startswith("unreadable")]
    assert sorted(line.split(maxsplit=1)[1] for line in said) == sorted(
        f["error"] for f in scanned.answer["files"] if f["error"]
    )
    noted = [line for line in run.out.splitlines() if line.startswith("note")]
    assert len(noted) == sum(len(f.get("notes", ())) for f in scanned.answer["files"])


def test_what_could_not_be_read_is_kept_as_dead_letters(folder: Path, scanned: Run) -> None:
    run = tocsin(
        folder,
        "query",
        "--data",
        folder / "kept",
        "DeadLetter_CL | summarize n = count() by Code_s | order by Code_s asc",
        "--json",
    )
    assert sum(n for _, n in run.answer["rows"]) == sum(f["dead"] for f in scanned.answer["files"])


def test_odd_input_that_can_be_read_exits_0(folder: Path, scanned: Run) -> None:
    run = tocsin(folder, "scan", *(folder / "input" / f"{CASES.index(c):02}" for c in ODD), "--json")
    assert (run.code, run.err) == (0, "")
    assert run.answer["events"] == sum(c.rows or 0 for c in ODD) + len(ODD)


def test_a_line_of_200_mb_takes_bounded_memory(folder: Path) -> None:
    place = folder / "long"
    place.mkdir()
    with (place / "long.json").open("wb") as out:
        out.write(event("before") + b'{"EventID":1,"Channel":"')
        for _ in range(200):
            out.write(b"x" * MIB)
        out.write(b'"}\n' + event("after"))
    (place / "good.json").write_bytes(event("good"))
    run = tocsin(folder, "scan", place, "--json")
    (place / "long.json").unlink()
    assert run.code == 3
    long, good = sorted(run.answer["files"], key=lambda f: str(f["path"]), reverse=True)
    assert (long["events"], long["dead"], good["events"]) == (2, 1, 1)
    assert re.search(
        r"long\.json:2: The line is 20\d{7} bytes long; \d+ are allowed\..* max_record_bytes", long["error"]
    )
    assert run.peak < 1 << 30


RULE = """
id: 5d1b7f0e-1111-4222-8333-0123456789ab
name: {name}
description: A rule of a test.
severity: High
queryFrequency: 5m
queryPeriod: 1h
triggerOperator: gt
triggerThreshold: 0
tactics: [Execution]
relevantTechniques: [T1059]
query: |
  DeviceProcessEvents
  | where {where}
entityMappings: []
version: 1.0.0
kind: Scheduled
"""


def test_bad_rules_are_named_with_their_line_and_the_others_run(folder: Path) -> None:
    rules = folder / "rules"
    rules.mkdir()
    (rules / "Works.yaml").write_text(RULE.format(name="Works", where='FileName =~ "notepad.exe"'))
    (rules / "BadColumn.yaml").write_text(
        RULE.format(name="Bad column", where='FileNaem =~ "x"').replace("5d1b7f0e", "5d1b7f0f")
    )
    (rules / "BadSyntax.yaml").write_text(
        RULE.format(name="Bad syntax", where="FileName ==== ").replace("5d1b7f0e", "5d1b7f10")
    )
    (rules / "NotYaml.yaml").write_text("id: [1, 2\nname: {{{\n\tquery: |\n")
    (rules / "NotARule.yaml").write_text("just some text\n")
    (rules / "Binary.yaml").write_bytes(random.Random(3).randbytes(2000))
    (folder / "rule-input.json").write_bytes(event("ruled"))
    run = tocsin(folder, "scan", folder / "rule-input.json", "--packs", rules, "--json")
    assert (run.code, run.err) == (0, "")
    answer = run.answer
    assert [a["rule"] for i in answer["incidents"] for a in i["alerts"]] == ["Works"]
    named = {p.stem: [e for e in answer["errors"] if p.name in e] for p in rules.iterdir()}
    assert {k: len(v) for k, v in named.items()} == {
        "Works": 0,
        "BadColumn": 1,
        "BadSyntax": 1,
        "NotYaml": 1,
        "NotARule": 1,
        "Binary": 1,
    }
    assert "BadColumn.yaml:14:" in named["BadColumn"][0]
    assert "FileNaem" in named["BadColumn"][0]
    assert "BadSyntax.yaml:14:" in named["BadSyntax"][0]
    assert re.search(r"NotYaml\.yaml:\d+", named["NotYaml"][0])
    assert len(answer["errors"]) == 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["scan", "/nowhere/at/all"], "/nowhere/at/all"),
        (["scan"], "paths"),
        (["scan", ".", "--packs", "/nowhere"], "/nowhere"),
        (["scan", ".", "--sigma", "/nowhere"], "/nowhere"),
        (["scan", ".", "--no-such-flag"], "--no-such-flag"),
        (["scna", "."], "scna"),
    ],
    ids=["path", "no path", "packs", "sigma", "flag", "command"],
)
def test_wrong_usage_exits_2(folder: Path, arguments: list[str], said: str) -> None:
    run = tocsin(folder, *arguments)
    assert (run.code, run.out) == (2, "")
    assert said in run.err
