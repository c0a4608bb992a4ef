"""The rules of loaded packs, whatever their format."""

from __future__ import annotations

from tocsin.base.errors import TocsinError
from tocsin.content import Content
from tocsin.detect.formats import sentinel
from tocsin.detect.rule import Rule

__all__ = ["rules_of_content"]


def rules_of_content(content: Content) -> tuple[list[Rule], list[TocsinError]]:
    """Every rule that can be evaluated, and a complaint for each that can't. Sigma files are read together: filters and correlations name
    rules of other files."""
    rules: list[Rule] = []
    problems: list[TocsinError] = []
    sigma_files = []
    for file in content.rules:
        if file.format == "sigma":
            sigma_files.append(file)
            continue
        found, complaints = sentinel.rules_of(file)
        rules.extend(found)
        problems.extend(complaints)
    if sigma_files:
        from tocsin.detect.formats import sigma  # pySigma takes a second to load

        loaded = sigma.load_files(sigma_files)
        rules.extend(loaded.rules)
        problems.extend(loaded.problems)
    return rules, problems
