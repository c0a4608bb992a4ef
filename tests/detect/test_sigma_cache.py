"""Compiled Sigma files from the cache are what compiling makes of them, and no state of the cache changes a rule."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.base.caches import user_cache
from tocsin.detect.formats import sigma, sigma_cache
from tocsin.detect.formats.sigma import SigmaRules, load_folder
from tocsin.detect.sigma import checks
from tocsin.detect.sigma.matcher import SigmaMatcher
from tocsin.detect.sigma.stored import from_plain, to_plain
from tocsin.detect.sigma.tree import All, Leaf, Not, Some

from .support import SIGMA, detection, needs_sigma, windows

EVERY_CHECK = """  a:
    CommandLine|contains: [' -Enc ', 'down*load?x']
    Image|endswith|cased: '\\PowerShell.exe'
    ProcessId|gt: 10
  b:
    CommandLine|re|i: 'h[e3]llo\\d+'
    DestinationIp|cidr: '10.0.0.0/8'
    User: null
    Company|exists: false
  c:
    ParentImage|fieldref: Image
    UtcTime|hour: 3
  keys: [mimikatz, 'sekurlsa::*']
  condition: a or (b and not c) or keys"""
PLACEHOLDER = "  a: {User|expand: '%admins%'}\n  condition: a"
FILTER = """title: F
id: 0a1b2c3d-0000-4000-8000-0000000000ff
logsource: {product: windows, category: process_creation}
filter:
  rules: any
  quiet: {User: scanner}
  condition: not quiet
"""


def rule(body: str, number: int, name: str = "") -> str:
    text = detection(body).replace("000000000001", f"{number:012d}")
    return text.replace("title: T\n", f"title: Rule {number}\n" + (f"name: {name}\n" if name else ""))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "rules"
    made.mkdir()
    (made / "every.yml").write_text(rule(EVERY_CHECK, 1, "every"))
    (made / "placeholder.yml").write_text(rule(PLACEHOLDER, 2))
    (made / "twice.yml").write_text(rule("  a: {User: x}\n  condition: a", 1))
    (made / "unknown.yml").write_text(rule("  a: {User|nosuch: x}\n  condition: a", 4))
    (made / "unfed.yml").write_text(
        rule("  a: {User: x}\n  condition: a", 5).replace(
            "product: windows, category: process_creation", "product: abacus"
        )
    )
    (made / "correlation.yml").write_text(
        "title: C\nid: 0a1b2c3d-0000-4000-8000-0000000000cc\ncorrelation: {type: event_count, rules: [every], group-by: [User], timespan: 5m,"
        " condition: {gte: 2}}\n"
    )
    return made


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every file without correlations or filters that is compiled."""
    count: list[int] = []
    real = sigma.SigmaCache.put

    def put(self: sigma_cache.SigmaCache, *args: object) -> None:
        count.append(1)
        real(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(sigma.SigmaCache, "put", put)
    return count


def same(one: SigmaRules, other: SigmaRules) -> bool:
    told = [[(type(p), p.code, p.message, p.place, p.hint) for p in r.problems] for r in (one, other)]
    return one.rules == other.rules and told[0] == told[1]


VALUES = {"admins": ["root", "alice"]}


def test_a_warm_start_has_the_rules_and_complaints_of_a_cold_one(
    folder: Path, tmp_path: Path, compiled: list[int]
) -> None:
    cache = tmp_path / "cache"
    plain = load_folder(folder, placeholders=VALUES)
    assert {r.name for r in plain.rules} == {"Rule 1", "Rule 2", "C"}
    assert {p.code for p in plain.problems} == {"CNT0020", "DET0007", "DET0009"}
    cold = load_folder(folder, placeholders=VALUES, cache=cache)
    assert len(compiled) == 5
    warm = load_folder(folder, placeholders=VALUES, cache=cache)
    assert len(compiled) == 5
    assert same(plain, cold)
    assert same(plain, warm)
    events = (
        {"CommandLine": "x -enc y", "Image": "C:\\PowerShell.exe", "ProcessId": "11"},
        {"CommandLine": "x -enc y", "Image": "C:\\powershell.exe", "ProcessId": "11"},
        {"CommandLine": "DOWNloadNOWloadAx", "Image": "C:\\PowerShell.exe", "ProcessId": "12"},
        {"CommandLine": "HE3llo12 hello12", "DestinationIp": "10.1.1.1", "ParentImage": "a", "Image": "b"},
        {"CommandLine": "HE3llo12 hello12", "DestinationIp": "11.1.1.1", "ParentImage": "a", "Image": "b"},
        {"CommandLine": "run SEKURLSA::logonpasswords"},
        {"User": "Alice"},
        {"User": "bob"},
    )
    verdicts = []
    for loaded in (plain, warm):
        matcher = SigmaMatcher(loaded.rules)
        verdicts.append([sorted(h.rule.name for h in matcher.hits(windows({"data": e}))) for e in events])
    assert verdicts[0] == verdicts[1]
    assert [bool(v) for v in verdicts[0]] == [True, False, True, True, False, True, True, False]


def test_a_changed_file_value_or_filter_is_compiled_again(folder: Path, tmp_path: Path, compiled: list[int]) -> None:
    cache = tmp_path / "cache"
    load_folder(folder, placeholders=VALUES, cache=cache)
    compiled.clear()
    (folder / "twice.yml").write_text(rule("  a: {User: y}\n  condition: a", 3))
    assert "Rule 3" in {r.name for r in load_folder(folder, placeholders=VALUES, cache=cache).rules}
    assert len(compiled) == 1

    other = {"admins": ["bob"]}
    compiled.clear()
    changed = load_folder(folder, placeholders=other, cache=cache)
    assert len(compiled) == 1  # the one with a placeholder
    assert same(changed, load_folder(folder, placeholders=other))
    without = load_folder(folder, cache=cache)
    assert "DET0008" in {p.code for p in without.problems}
    assert same(without, load_folder(folder))

    (folder / "filter.yml").write_text(FILTER)
    compiled.clear()
    filtered = load_folder(folder, placeholders=VALUES, cache=cache)
    assert len(compiled) == 5
    assert same(filtered, load_folder(folder, placeholders=VALUES))
    assert same(filtered, load_folder(folder, placeholders=VALUES, cache=cache))
    quiet = windows({"data": {"User": "scanner", "CommandLine": "mimikatz"}})
    assert SigmaMatcher(filtered.rules).hits(quiet) == []


def test_the_same_content_elsewhere_names_its_own_place(folder: Path, tmp_path: Path, compiled: list[int]) -> None:
    cache = tmp_path / "cache"
    load_folder(folder, placeholders=VALUES, cache=cache)
    moved = folder.rename(tmp_path / "moved")
    compiled.clear()
    found = load_folder(moved, placeholders=VALUES, cache=cache)
    assert compiled == []
    assert same(found, load_folder(moved, placeholders=VALUES))
    assert all(str(moved) in str(p) for p in found.problems)


def _signed(entries: object) -> bytes:
    body = msgspec.msgpack.encode(entries)
    return sigma_cache._MAGIC + hashlib.sha256(body).digest() + body


def _entries(whole: bytes) -> dict[bytes, bytes]:
    return msgspec.msgpack.decode(whole[len(sigma_cache._MAGIC) + 32 :], type=dict[bytes, bytes])


def _wrong_tree(whole: bytes) -> bytes:
    found = {}
    for key, entry in _entries(whole).items():
        plain = msgspec.msgpack.decode(entry)
        for item in plain[2]:
            item[-1] = [3, "User", "text", "eq", 5, False]
        found[key] = msgspec.msgpack.encode(plain)
    return _signed(found)


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda whole: whole[:-7],
    "one bit": lambda whole: whole[:200] + bytes([whole[200] ^ 1]) + whole[201:],
    "foreign": lambda _: b"SQLite format 3\0" + bytes(4000),
    "another form": lambda whole: whole.replace(b"cache 1", b"cache 9", 1),
    "not a map": lambda _: _signed([1, 2]),
    "entries of another shape": lambda whole: _signed(
        {k: msgspec.msgpack.encode([None, [], 3]) for k in _entries(whole)}
    ),
    "entries that aren't MessagePack": lambda whole: _signed(dict.fromkeys(_entries(whole), b"\xc1")),
    "wrong trees": _wrong_tree,
    "too deep": lambda whole: _signed(dict.fromkeys(_entries(whole), b"\x93\xc0\x90\x91" + b"\x91" * 100000)),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_cache_is_passed_over_and_made_anew(
    how: str, folder: Path, tmp_path: Path, compiled: list[int]
) -> None:
    cache = tmp_path / "cache"
    whole = load_folder(folder, placeholders=VALUES, cache=cache)
    (path,) = cache.glob("*.bin")
    good = path.read_bytes()
    path.write_bytes(BROKEN[how](good))
    compiled.clear()
    assert same(whole, load_folder(folder, placeholders=VALUES, cache=cache))
    assert compiled
    compiled.clear()
    assert same(whole, load_folder(folder, placeholders=VALUES, cache=cache))
    assert compiled == []


def test_another_program_has_a_cache_of_its_own_and_old_ones_go(
    folder: Path, tmp_path: Path, compiled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    for number in range(6):
        monkeypatch.setattr(sigma_cache, "_program", lambda n=number: hashlib.sha256(b"%d" % n).hexdigest())
        compiled.clear()
        load_folder(folder, placeholders=VALUES, cache=cache)
        assert len(compiled) == 5
    assert len(list(cache.glob("*.bin"))) == 4


def test_every_module_that_the_program_depends_on_is_there() -> None:
    root = Path(sigma_cache.__file__).parents[2]
    assert [n for n in sigma_cache._DEPENDS if not (root / n).is_file()] == []


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_folder_that_others_may_write_to_is_not_trusted(folder: Path, tmp_path: Path, compiled: list[int]) -> None:
    cache = tmp_path / "cache"
    load_folder(folder, placeholders=VALUES, cache=cache)
    cache.chmod(0o777)
    compiled.clear()
    load_folder(folder, placeholders=VALUES, cache=cache)
    assert len(compiled) == 5
    open_one = tmp_path / "open"
    open_one.mkdir()
    open_one.chmod(0o777)
    load_folder(folder, placeholders=VALUES, cache=open_one)
    assert list(open_one.iterdir()) == []


def test_a_place_that_cannot_be_written_costs_nothing_but_time(folder: Path, tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.write_text("not a folder")
    assert same(load_folder(folder, cache=taken / "cache"), load_folder(folder))


def test_the_cache_is_bounded(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: list[int]
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setattr(sigma_cache, "_MOST_ENTRIES", 6)
    for number in range(10, 20):
        (folder / "unfed.yml").write_text(rule("  a: {User: x}\n  condition: a", number))
        load_folder(folder, placeholders=VALUES, cache=cache)
    (path,) = cache.glob("*.bin")
    assert len(_entries(path.read_bytes())) == 6
    compiled.clear()
    load_folder(folder, placeholders=VALUES, cache=cache)  # the entries in use are the ones that stay
    assert compiled == []


def test_two_processes_at_once(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    script = (
        "import sys; from pathlib import Path; from tocsin.detect.formats.sigma import load_folder\n"
        "for _ in range(15): print(sorted(r.name for r in load_folder(Path(sys.argv[1]), cache=Path(sys.argv[2])).rules))\n"
        "    ; [p.unlink(missing_ok=True) for p in Path(sys.argv[2]).glob('*.bin')] if _ % 3 == 2 else None"
    ).replace("\n    ;", "\n   ")
    script = script.replace("for _ in range(15): print", "for _ in range(15):\n    print")
    running = []
    for half in range(2):
        rules = tmp_path / str(half)
        rules.mkdir()
        for number in range(8):
            (rules / f"{number}.yml").write_text(rule("  a: {User: x}\n  condition: a", half * 10 + number))
        running.append(
            subprocess.Popen([sys.executable, "-c", script, str(rules), str(cache)], stdout=subprocess.PIPE, text=True)
        )
    for half, process in enumerate(running):
        out, _ = process.communicate(timeout=60)
        expected = str(sorted(f"Rule {half * 10 + n}" for n in range(8)))
        assert process.returncode == 0
        assert out.splitlines() == [expected] * 15
    assert [p.name for p in cache.iterdir() if p.suffix not in (".bin", ".files")] == []


def test_a_warm_load_parses_nothing(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    for number in range(3):
        (rules / f"{number}.yml").write_text(rule("  a: {User: x}\n  condition: a", number))
    (rules / "again.yml").write_text(rule("  a: {User: x}\n  condition: a", 2) + "# again\n")
    (rules / "odd.yml").write_text("a: b: c\n")
    script = (
        "import sys; from pathlib import Path; from tocsin.content import load_packs\n"
        "import tocsin.content.rulefiles as load\n"
        "from tocsin.detect.load import rules_of_content\n"
        "cache, asked, parse = Path(sys.argv[2]), [], load.parse_yaml\n"
        "load.parse_yaml = lambda text, source: asked.append(Path(source).name) or parse(text, source)\n"
        "content = load_packs([Path(sys.argv[1])], cache=cache)\n"
        "rules, problems = rules_of_content(content, cache=cache)\n"
        "print(sorted(r.id for r in rules), [str(p) for p in (*content.problems, *problems)])\n"
        "print(sorted(asked), 'sigma' in sys.modules)"
    )
    said = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", script, str(rules), str(tmp_path / "cache")],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        said.append(done.stdout.splitlines())
    assert said[0][0] == said[1][0]
    assert "CNT0020" in said[0][0]
    assert said[0][1] == "['0.yml', '1.yml', '2.yml', 'again.yml', 'odd.yml'] True"
    assert said[1][1] == "['odd.yml'] False"


def test_where_commands_keep_their_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache("sigma") == tmp_path / "tocsin" / "sigma"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the specification: to be ignored
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache("sigma") == tmp_path / ".cache" / "tocsin" / "sigma"
    monkeypatch.setenv("HOME", str(tmp_path / "gone"))
    assert user_cache("sigma") is None


text = st.text(max_size=8)
check = st.one_of(
    st.builds(checks.Text, st.sampled_from(["eq", "start", "end", "in"]), text, st.booleans()),
    st.builds(checks.Glob, st.lists(st.one_of(text, st.none(), st.just(True))).map(tuple), st.booleans()),
    st.builds(checks.Regex, text),
    st.builds(checks.Cidr, text),
    st.builds(checks.Compare, st.sampled_from(["lt", "neq"]), st.floats(allow_nan=False)),
    st.builds(checks.Null),
    st.builds(checks.Exists, st.booleans()),
    st.builds(checks.Reference, text, st.booleans(), st.booleans(), st.booleans()),
    st.builds(checks.TimePart, st.sampled_from(["hour", "week"]), st.integers(0, 9999)),
)
tree = st.recursive(
    st.builds(Leaf, text, check),
    lambda inner: st.one_of(
        st.builds(All, st.lists(inner).map(tuple)), st.builds(Some, st.lists(inner).map(tuple)), st.builds(Not, inner)
    ),
)


@given(tree)
def test_a_tree_comes_back_as_it_was(node: Leaf | All | Some | Not) -> None:
    assert from_plain(msgspec.msgpack.decode(msgspec.msgpack.encode(to_plain(node)))) == node


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.sampled_from(["text", "glob", "null", "eq"])),
    lambda inner: st.lists(inner, max_size=5),
)


@given(anything)
def test_what_is_no_tree_is_refused(plain: object) -> None:
    try:
        made = from_plain(plain)
    except ValueError:
        return
    assert to_plain(made) == plain


@pytest.mark.slow
@needs_sigma
def test_all_of_sigmahq_is_the_same_from_the_cache(tmp_path: Path, compiled: list[int]) -> None:
    cold = load_folder(SIGMA / "rules", cache=tmp_path / "cache")
    compiled.clear()
    warm = load_folder(SIGMA / "rules", cache=tmp_path / "cache")
    assert compiled == []
    assert len(warm.rules) > 2_900
    assert same(cold, warm)
