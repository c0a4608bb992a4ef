"""Sigma rules, unmodified: detections, correlations and filters, as pySigma reads them.

What can't be evaluated exactly is refused by name and the others go on: an unknown modifier, an expression outside RE2, a placeholder
without a watchlist, a log source that no source of ours feeds. Nothing here opens a network connection: pySigma's validators, which
download data, aren't used. pySigma itself is loaded when something must be parsed: where all is in the cache, it isn't.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from tocsin.base.errors import ContentError, Place, TocsinError
from tocsin.base.memory import collector_paused
from tocsin.content import KnownFiles, RuleFile, load_rule_file
from tocsin.detect.formats.sigma_cache import CompiledFile, CompiledRule, SigmaCache
from tocsin.detect.rule import Rule
from tocsin.detect.sigma.tree import Placeholders

__all__ = ["SigmaRules", "load_files", "load_folder", "rules_of"]


@dataclass(frozen=True, slots=True)
class SigmaRules:
    """Rules, and a complaint for each that can't be evaluated. A complaint of code DET0009 says that no source feeds a rule."""

    rules: tuple[Rule, ...]
    problems: tuple[TocsinError, ...] = ()


def load_folder(folder: Path, *, placeholders: Placeholders | None = None, cache: Path | None = None) -> SigmaRules:
    """Every Sigma rule of a folder (or the one of a file), also in folders below, sorted by path; `cache` as for `load_files`."""
    found = (
        sorted(p for p in folder.rglob("*") if p.suffix in (".yml", ".yaml") and p.is_file())
        if folder.is_dir()
        else [folder]
    )
    problems: list[TocsinError] = []
    files = []
    known = KnownFiles(cache) if cache is not None else None
    for path in found:
        if any(part.startswith(".") for part in path.relative_to(folder).parts) or path.name.endswith(".test.yaml"):
            continue
        file, complaints = load_rule_file(path, known=known)
        problems.extend(complaints)
        if file is not None and file.format == "sigma":
            files.append(file)
        elif file is not None:
            problems.append(
                ContentError(
                    "This isn't a Sigma rule.", code="CNT0010", place=Place(str(path), 1), hint="It has no 'detection'."
                )
            )
    if known is not None:
        known.save()
    rules = load_files(files, placeholders=placeholders, cache=cache)
    return SigmaRules(rules.rules, (*problems, *rules.problems))


def rules_of(file: RuleFile, *, placeholders: Placeholders | None = None) -> SigmaRules:
    """The rules of one file."""
    return load_files([file], placeholders=placeholders)


def load_files(
    files: Iterable[RuleFile], *, placeholders: Placeholders | None = None, cache: Path | None = None
) -> SigmaRules:
    """The rules of files that belong together: filters apply to all of them, correlations may name rules in any of them.

    `cache` is a folder where compiled files are kept for the next time; without one nothing is read or written.
    """
    files = list(files)
    with collector_paused():
        return _load(files, placeholders, cache)


def _load(files: Sequence[RuleFile], placeholders: Placeholders | None, cache: Path | None) -> SigmaRules:
    # Files with correlations and filters are read every time: what they mean depends on the other files.
    problems: list[TocsinError] = []
    parsed = {n: _parser().parse_documents(file, problems) for n, file in enumerate(files) if file.joins}
    filters = _parser().filters_of(parsed.values()) if parsed else []
    store = _store(cache, files, parsed, placeholders) if cache is not None else None
    compiled: list[CompiledFile] = []
    for n, file in enumerate(files):
        found = store.get(file) if store is not None and n not in parsed else None
        if found is None:
            complaints: list[TocsinError] = []
            documents = parsed[n] if n in parsed else _parser().parse_documents(file, complaints)
            found = _parser().compile_documents(documents, complaints, filters, placeholders)
            if store is not None and n not in parsed:
                store.put(file, found)
        compiled.append(found)
    if store is not None:
        store.save()
    problems.extend(c for each in compiled for c in each.complaints)
    rules: dict[str, Rule] = {}
    names: dict[str, str] = {}
    for file, each in zip(files, compiled, strict=True):
        for item in each.items:
            if not isinstance(item, CompiledRule):
                problems.append(item)
                continue
            rule = replace(item.rule, path=file.path, pack=file.pack, text=file.text)
            if rule.id in rules:
                message = f"The rule '{rule.name}': There is a rule '{rule.id}' already, in {rules[rule.id].path}."
                problems.append(ContentError(message, code="CNT0020", place=item.place))
                continue
            rules[rule.id] = rule
            names[rule.id] = rule.id
            if item.name:
                names[item.name] = rule.id
    if parsed:
        _parser().add_correlations(parsed.values(), rules, names, problems)
        problems.extend(_parser().idle_filters(parsed.values(), names))
        problems.extend(_parser().give_options(parsed.values(), rules, names))
    return SigmaRules(tuple(rules.values()), tuple(problems))


def _parser() -> ModuleType:
    """What reads Sigma's documents: pySigma takes half a second to load."""
    from tocsin.detect.formats import sigma_parse

    return sigma_parse


def _store(
    folder: Path, files: Sequence[RuleFile], parsed: Mapping[int, Sequence[Any]], placeholders: Placeholders | None
) -> SigmaCache:
    filters = [files[n].text for n, each in parsed.items() if _parser().filters_of((each,))]
    values = sorted((k, list(v)) for k, v in (placeholders or {}).items())
    digest = hashlib.sha256(json.dumps(values).encode()).hexdigest()
    return SigmaCache(folder, context=filters, placeholders=digest)
