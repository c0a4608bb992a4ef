"""The rules of loaded packs, whatever their format."""

from __future__ import annotations

from pathlib import Path

from tocsin.base.errors import TocsinError
from tocsin.content import Content
from tocsin.detect.formats import defender, sentinel
from tocsin.detect.rule import Rule
from tocsin.tables.watchlists import SEARCH_KEY

__all__ = ["placeholders_of", "rules_of_content"]


def placeholders_of(content: Content) -> dict[str, list[str]]:
    """The values of Sigma's ``%name%`` placeholders: a watchlist's SearchKey column, else its first, by the watchlist's name."""
    found = {}
    for watchlist in content.watchlists:
        names = watchlist.table.column_names
        column = SEARCH_KEY if SEARCH_KEY in names else names[0]
        found[watchlist.alias] = [str(v) for v in watchlist.table.column(column).to_pylist() if v]
    return found


def rules_of_content(content: Content, *, cache: Path | None = None) -> tuple[list[Rule], list[TocsinError]]:
    """Every rule that can be evaluated, and a complaint for each that can't. Sigma files are read together: filters and correlations name
    rules of other files. `cache` is a folder for compiled Sigma files, see `tocsin.detect.formats.sigma_cache`."""
    rules: list[Rule] = []
    problems: list[TocsinError] = []
    sigma_files = []
    for file in content.rules:
        if file.format == "sigma":
            sigma_files.append(file)
            continue
        found, complaints = (defender if file.format == "defender" else sentinel).rules_of(file)
        rules.extend(found)
        problems.extend(complaints)
    if sigma_files:
        from tocsin.detect.formats import sigma  # pySigma takes a second to load

        loaded = sigma.load_files(sigma_files, placeholders=placeholders_of(content), cache=cache)
        rules.extend(loaded.rules)
        problems.extend(loaded.problems)
    return rules, problems
