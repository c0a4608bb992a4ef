"""Reads packs from folders. One bad file never stops the others: its complaint goes to `Content.problems`.

A pack is a folder with ``pack.yaml`` and, beside it, ``rules/ hunts/ parsers/ functions/ automation/ watchlists/ links/ fusion/ incidents/ entities/
scenarios/ summaries/ attack/``. A path may be a pack, a folder of packs, a folder of loose rule files, or one rule file. Later paths are upper
layers: an item with the id of an item in an earlier path replaces it (a site's edited copy of a shipped rule); within one path an id may stand once.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from tocsin.base.errors import ContentError, Place
from tocsin.base.memory import collector_paused
from tocsin.content import published, schemas
from tocsin.content.attack import Technique, read_techniques
from tocsin.content.filetext import read_text
from tocsin.content.known import KnownFiles
from tocsin.content.model import (
    AnomalyFile,
    AutomationFile,
    Content,
    DemoFile,
    EntityFile,
    FunctionFile,
    FusionFile,
    Hunt,
    IncidentFile,
    LinkFile,
    Pack,
    ParserFile,
    RuleFile,
    SourceFile,
    SummaryFile,
    TestFile,
    Watchlist,
)
from tocsin.content.rulefiles import load_rule_file, load_test_file, rule_format
from tocsin.content.schema import Schema, check, is_warning
from tocsin.content.watchlistfiles import csv_table, watchlist_items
from tocsin.content.yamltext import Document, parse_one, parse_yaml

__all__ = ["load_packs", "load_rule_file", "load_test_file", "packs_dir", "read_text", "rule_format"]

_YAML = (".yaml", ".yml")
_RULES = (*_YAML, ".json")
_TEST = (".test.yaml", ".test.yml")
_FOLDERS = (
    "rules", "hunts", "parsers", "functions", "automation", "watchlists", "links", "fusion", "incidents", "scenarios",
    "summaries", "sources", "anomalies", "entities", "attack",
)  # fmt: skip

Item = TypeVar("Item")


def packs_dir() -> Path:
    """The packs that ship with Tocsin: inside the installed package, or at the top of a checkout."""
    installed = Path(__file__).parent.parent / "packs"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "packs"


def load_packs(paths: Sequence[Path], *, only: Sequence[str] = (), cache: Path | None = None) -> Content:
    """Everything in those packs, later paths over earlier ones; `only` names the folders that are read where not all are wanted.

    `cache` is a folder where is kept which files were read before. Raises nothing for bad content; see `Content.problems`.
    """
    loader = _Loader(only=frozenset(only or _FOLDERS), known=KnownFiles(cache) if cache is not None else None)
    with collector_paused():
        for path in paths:
            loader.layer(Path(path))
    if loader.known is not None:
        loader.known.save()
    return loader.content()


def load_watchlists(packs: Iterable[Pack]) -> tuple[Watchlist, ...]:
    """Only the watchlists of those packs, later ones over earlier ones; what can't be read is left out."""
    found: dict[str, Watchlist] = {}
    for pack in packs:
        loader = _Loader()
        for file in _files(pack.folder / "watchlists", (".csv",)):
            loader._watchlist(pack, file)
        found.update((alias, item) for alias, (_, item) in loader.watchlists.items())
    return tuple(found.values())


@dataclass(slots=True)
class _Loader:
    packs: list[Pack] = field(default_factory=list)
    rules: dict[str, tuple[int, RuleFile]] = field(default_factory=dict)
    tests: dict[Path, TestFile] = field(default_factory=dict)
    parsers: dict[str, tuple[int, ParserFile]] = field(default_factory=dict)
    functions: dict[str, tuple[int, FunctionFile]] = field(default_factory=dict)
    hunts: dict[str, tuple[int, Hunt]] = field(default_factory=dict)
    summaries: dict[str, tuple[int, SummaryFile]] = field(default_factory=dict)
    automation: dict[str, tuple[int, AutomationFile]] = field(default_factory=dict)
    watchlists: dict[str, tuple[int, Watchlist]] = field(default_factory=dict)
    incidents: dict[str, tuple[int, IncidentFile]] = field(default_factory=dict)
    entities: dict[str, tuple[int, EntityFile]] = field(default_factory=dict)
    anomalies: dict[str, tuple[int, AnomalyFile]] = field(default_factory=dict)
    demos: list[DemoFile] = field(default_factory=list)
    sources: list[SourceFile] = field(default_factory=list)
    problems: list[ContentError] = field(default_factory=list)
    links: dict[str, tuple[int, LinkFile]] = field(default_factory=dict)
    fusion: dict[str, tuple[int, FusionFile]] = field(default_factory=dict)
    attack: dict[str, Technique] = field(default_factory=dict)
    depth: int = 0
    only: frozenset[str] = frozenset(_FOLDERS)
    known: KnownFiles | None = None

    def content(self) -> Content:
        return Content(
            packs=tuple(self.packs),
            rules=tuple(r for _, r in self.rules.values()),
            tests=self.tests,
            parsers=tuple(p for _, p in self.parsers.values()),
            functions=tuple(f for _, f in self.functions.values()),
            hunts=tuple(h for _, h in self.hunts.values()),
            summaries=tuple(s for _, s in self.summaries.values()),
            automation_rules=tuple(a for _, a in self.automation.values()),
            watchlists=tuple(w for _, w in self.watchlists.values()),
            links=tuple(x for _, x in self.links.values()),
            fusion=tuple(x for _, x in self.fusion.values()),
            incidents=tuple(i for _, i in self.incidents.values()),
            entities=tuple(e for _, e in self.entities.values()),
            anomalies=tuple(a for _, a in self.anomalies.values()),
            demos=tuple(self.demos),
            sources=tuple(reversed(self.sources)),
            attack=self.attack,
            problems=tuple(self.problems),
        )

    # ------------------------------------------------------------------ folders

    def layer(self, path: Path) -> None:
        self.depth += 1
        if path.is_file():
            pack = Pack(path.parent.name, path.parent.name, path.parent)
            self._rule(pack, path)
        elif not path.is_dir():
            self.problems.append(
                ContentError("There is no such file or folder.", code="CNT0002", place=Place(str(path)))
            )
        elif _manifest(path) is not None:
            self._pack(path)
        else:
            inner = [p for p in _entries(path) if p.is_dir() and _manifest(p) is not None]
            for folder in inner:
                self._pack(folder)
            self._bare(path, skip=set(inner))

    def _pack(self, folder: Path) -> None:
        manifest = _manifest(folder)
        assert manifest is not None
        pack = Pack(folder.name, folder.name, folder)
        document = self._read(manifest, schemas.PACK)
        if document is not None:
            text = _texts(document)
            pack = Pack(text("id"), text("name"), folder, text("version"), text("description"), text("licence"))
            if any(p.id == pack.id for p in self.packs):
                self.problems.append(document.error(f"There is a pack '{pack.id}' already.", ("id",), code="CNT0020"))
        self.packs.append(pack)
        self._folders(pack)

    def _bare(self, path: Path, skip: set[Path]) -> None:
        """Loose content: the known folders where there are any, and every rule file elsewhere."""
        pack = Pack(path.name, path.name, path)
        known = {path / name for name in _FOLDERS}
        self._folders(pack)
        for entry in _entries(path):
            if entry in skip or entry in known:
                continue
            for file in _files(entry, _RULES) if entry.is_dir() else [entry]:
                if file.name.endswith(_RULES) and not file.name.endswith(_TEST):
                    self._rule(pack, file, loose=True)
        if any(r.pack == pack.id for _, r in self.rules.values()) or any((path / n).is_dir() for n in _FOLDERS):
            self.packs.append(pack)

    def _folders(self, pack: Pack) -> None:
        if "rules" in self.only:
            for file in _files(pack.folder / "rules", _RULES):
                if not file.name.endswith(_TEST):
                    self._rule(pack, file)
            self._stray_tests(pack)
        readers: tuple[tuple[str, tuple[str, ...], Callable[[Pack, Path], None]], ...] = (
            ("parsers", _YAML, self._parser),
            ("functions", _YAML, self._function),
            ("hunts", _YAML, self._hunt),
            ("summaries", _YAML, self._summary),
            ("automation", _YAML, self._automation),
            ("watchlists", (".csv",), self._watchlist),
            ("links", _YAML, self._links),
            ("fusion", _YAML, self._fusion),
            ("incidents", _YAML, self._incident),
            ("entities", _YAML, self._entity),
            ("anomalies", _YAML, self._anomaly),
            ("scenarios", _YAML, self._demo),
            ("sources", (".toml",), self._source),
            ("attack", (".csv",), self._attack),
        )
        for name, endings, reader in readers:
            if name not in self.only:
                continue
            for file in _files(pack.folder / name, endings):
                if not file.name.endswith(_TEST):
                    reader(pack, file)

    # ------------------------------------------------------------------ items

    def _rule(self, pack: Pack, path: Path, *, loose: bool = False) -> None:
        rule, problems = load_rule_file(path, pack.id, self.known)
        self.problems.extend(problems)
        if rule is None:
            return
        if rule.format == "function":
            self._function(pack, path)
            return
        if loose and rule.format == "sentinel" and published.is_hunt(rule.documents[0].value):
            self._hunt(pack, path)  # repositories keep hunting queries beside rules, and a rule says when it runs
            return
        tests = _test_path(path)
        if tests is not None:
            found, complaints = load_test_file(tests)
            self.problems.extend(complaints)
            if found is not None:
                self.tests[path] = found
        self._keep(self.rules, rule.id or str(path), rule, lambda: rule.documents[0], ("id",), "rule")

    def _stray_tests(self, pack: Pack) -> None:
        for file in _files(pack.folder / "rules", _TEST):
            stem = file.name[: -len(next(t for t in _TEST if file.name.endswith(t)))]
            if not any((file.parent / f"{stem}{ending}").exists() for ending in _RULES):
                self.problems.append(
                    ContentError(
                        "These cases stand beside no rule.",
                        code="CNT0022",
                        place=Place(str(file)),
                        hint=f"The rule's file would be '{stem}.yaml'.",
                    )
                )

    def _parser(self, pack: Pack, path: Path) -> None:
        if (document := self._read(path, schemas.PARSER)) is not None:
            text = _texts(document)
            item = ParserFile(
                text("id"), text("name") or text("id"), text("source"), text("table"), text("query"), path, pack.id,
                text("doc") or text("description"), document,
            )  # fmt: skip
            self._keep(self.parsers, item.id, item, document, ("id",), "parser")

    def _function(self, pack: Pack, path: Path) -> None:
        for document in self._documents(path, schemas.FUNCTION, published.FUNCTION):
            if published.is_function(document.value):
                for item in published.functions(document, path, pack.id):
                    self._keep(self.functions, item.name, item, document, (), "function")
                continue
            text = _texts(document)
            item = FunctionFile(
                text("name"), text("parameters").strip(), text("body").strip(), text("doc"), path, pack.id
            )
            self._keep(self.functions, item.name, item, document, ("name",), "function")
            for alias in document.value.get("aliases") or ():
                other = replace(item, name=alias)
                self._keep(self.functions, alias, other, document, ("aliases",), "function")

    def _hunt(self, pack: Pack, path: Path) -> None:
        document = self._read(path, schemas.HUNT)
        if document is None or (not document.value.get("query") and schemas.is_moved(document.value)):
            return
        text = _texts(document)
        value = document.value
        item = Hunt(
            text("id"), text("name"), text("description"), text("query"),
            tuple(map(str, value.get("tactics") or ())), tuple(map(str, value.get("relevantTechniques") or ())),
            path, pack.id, document,
        )  # fmt: skip
        self._keep(self.hunts, item.id, item, document, ("id",), "hunt")

    def _summary(self, pack: Pack, path: Path) -> None:
        if (document := self._read(path, schemas.SUMMARY)) is not None:
            text = _texts(document)
            item = SummaryFile(text("id"), text("name"), path, pack.id, document)
            self._keep(self.summaries, item.id, item, document, ("id",), "summary rule")

    def _automation(self, pack: Pack, path: Path) -> None:
        if (document := self._read(path, schemas.AUTOMATION)) is not None:
            text = _texts(document)
            item = AutomationFile(text("id") or path.stem, text("name"), path, pack.id, document)
            self._keep(self.automation, item.id, item, document, ("id",), "automation rule")

    def _links(self, pack: Pack, path: Path) -> None:
        if (document := self._read(path, schemas.LINKS)) is not None:
            item = LinkFile(_texts(document)("id"), path, pack.id, document)
            self._keep(self.links, item.id, item, document, ("id",), "file of links")

    def _fusion(self, pack: Pack, path: Path) -> None:
        if (document := self._read(path, schemas.FUSION)) is not None:
            text = _texts(document)
            item = FusionFile(text("id"), text("name"), path, pack.id, document)
            self._keep(self.fusion, item.id, item, document, ("id",), "pattern")

    def _incident(self, pack: Pack, path: Path) -> None:
        for document in self._documents(path, schemas.INCIDENTS):
            text = _texts(document)
            item = IncidentFile(text("id"), text("kind"), path, pack.id, document)
            self._keep(self.incidents, item.id, item, document, ("id",), "incident content")

    def _entity(self, pack: Pack, path: Path) -> None:
        for document in self._documents(path, schemas.ENTITIES):
            text = _texts(document)
            item = EntityFile(text("id"), text("kind"), text("entity"), path, pack.id, document)
            self._keep(self.entities, item.id, item, document, ("id",), "entity content")

    def _anomaly(self, pack: Pack, path: Path) -> None:
        if (document := self._read(path, schemas.ANOMALY)) is not None:
            text = _texts(document)
            beside = _test_path(path)
            tests = self._read(beside, schemas.ANOMALY_TESTS) if beside is not None else None
            item = AnomalyFile(text("id"), text("name"), path, pack.id, document, tests)
            self._keep(self.anomalies, item.id, item, document, ("id",), "anomaly")

    def _demo(self, pack: Pack, path: Path) -> None:
        document = self._read(path, None)
        if document is not None:
            self.demos.append(DemoFile(path, pack.id, document))

    def _source(self, pack: Pack, path: Path) -> None:
        text = self._text(path)
        if text is None:
            return
        try:
            self.sources.append(SourceFile(path, pack.id, tomllib.loads(text)))
        except tomllib.TOMLDecodeError as error:
            self.problems.append(ContentError(f"Not TOML: {error}.", code="CNT0003", place=Place(str(path))))

    def _watchlist(self, pack: Pack, path: Path) -> None:
        text = self._text(path)
        if text is None:
            return
        try:
            table = csv_table(text, path)
        except ContentError as error:
            self.problems.append(error)
            return
        item = Watchlist(path.stem, watchlist_items(table, path), path, pack.id)
        place = Document(str(path))
        self._keep(self.watchlists, item.alias, item, place, (), "watchlist")

    def _attack(self, _: Pack, path: Path) -> None:
        text = self._text(path)
        if text is None:
            return
        try:
            self.attack.update(read_techniques(text, path))
        except ContentError as error:
            self.problems.append(error)

    # ------------------------------------------------------------------ helpers

    def _keep(
        self,
        store: dict[str, tuple[int, Item]],
        key: str,
        item: Item,
        document: Document | Callable[[], Document],
        path: Sequence[str],
        what: str,
    ) -> None:
        earlier = store.get(key.lower())
        if earlier is not None and earlier[0] == self.depth:
            document = document() if callable(document) else document
            other = getattr(earlier[1], "path", "")
            self.problems.append(
                document.error(
                    f"There is a {what} '{key}' already.",
                    path,
                    code="CNT0020",
                    hint=f"It is in {other}. Give this one its own.",
                )
            )
            return
        store[key.lower()] = (self.depth, item)

    def _text(self, path: Path) -> str | None:
        try:
            return read_text(path)
        except ContentError as error:
            self.problems.append(error)
            return None

    def _documents(self, path: Path, schema: Schema, other: Schema | None = None) -> Iterator[Document]:
        """The good ones of a file's documents; those that are functions as repositories publish them by the `other` schema."""
        text = self._text(path)
        if text is None:
            return
        documents = []
        try:
            for document in parse_yaml(text, str(path)):
                documents.append(document)  # noqa: PERF402 - one that can't be read doesn't take those before it along
        except ContentError as error:
            self.problems.append(error)
        for document in documents:
            found = check(document, other if other is not None and published.is_function(document.value) else schema)
            self.problems.extend(found)
            if all(is_warning(p) for p in found):
                yield document

    def _read(self, path: Path, schema: Schema | None) -> Document | None:
        text = self._text(path)
        if text is None:
            return None
        try:
            document = parse_one(text, str(path))
        except ContentError as error:
            self.problems.append(error)
            return None
        if schema is None:
            return document
        found = check(document, schema)
        self.problems.extend(found)
        return None if any(not is_warning(p) for p in found) else document


def _texts(document: Document) -> Callable[[str], str]:
    """Reads a top-level field as the text that was written."""

    def text(name: str) -> str:
        value = document.value.get(name)
        if value is None:
            return ""
        return value if isinstance(value, str) else document.raw((name,)) or str(value)

    return text


def _manifest(folder: Path) -> Path | None:
    return next((folder / name for name in ("pack.yaml", "pack.yml") if (folder / name).is_file()), None)


def _test_path(rule: Path) -> Path | None:
    return next((p for t in _TEST if (p := rule.with_name(rule.stem + t)).is_file()), None)


def _entries(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not p.name.startswith("."))


def _files(folder: Path, endings: Iterable[str]) -> Iterator[Path]:
    """Files below a folder, sorted, hidden ones left out. Links to folders aren't followed, so there is no endless walk."""
    wanted = tuple(endings)
    if not folder.is_dir():
        return
    for entry in _entries(folder):
        if entry.is_dir() and not entry.is_symlink():
            yield from _files(entry, wanted)
        elif entry.is_file() and entry.name.endswith(wanted):
            yield entry
