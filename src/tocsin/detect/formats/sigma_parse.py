"""What pySigma makes of the documents of Sigma files: trees of checks and correlations, or why there are none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import re2  # type: ignore[import-untyped]
from sigma.collection import deep_dict_update
from sigma.correlations import (
    CorrelationConditionAND,
    CorrelationConditionNOT,
    CorrelationConditionOR,
    SigmaCorrelationCondition,
    SigmaCorrelationRule,
    SigmaExtendedCorrelationCondition,
    SigmaRuleReference,
)
from sigma.exceptions import SigmaError
from sigma.filters import SigmaFilter
from sigma.modifiers import SigmaWideModifier, SigmaWindowsDashModifier, modifier_mapping, reverse_modifier_mapping
from sigma.policy import SigmaPolicy
from sigma.policy.regex_engine import RE2RegexEngine
from sigma.rule import SigmaRule
from sigma.types import SigmaCasedString, SigmaExpansion, SigmaString

from tocsin.base.errors import ContentError, DetectError, TocsinError, did_you_mean
from tocsin.base.ids import stable_uuid
from tocsin.content import Document, RuleFile
from tocsin.detect.formats import sigma_options
from tocsin.detect.formats.sigma_cache import CompiledFile, CompiledRule, sigma_rule
from tocsin.detect.formats.sigma_written import Settled, settled
from tocsin.detect.rule import IncidentSettings, Rule, normal_severity
from tocsin.detect.sigma.checks import MOST_INSTRUCTIONS
from tocsin.detect.sigma.logsource import bindings
from tocsin.detect.sigma.model import CorrelationBody, Expression, SigmaBody
from tocsin.detect.sigma.parsed import build
from tocsin.detect.sigma.tree import FALSE, Node, Placeholders, Some, rewrite

__all__ = [
    "Parsed",
    "add_correlations",
    "compile_documents",
    "filters_of",
    "give_options",
    "idle_filters",
    "parse_documents",
]

_TACTICS = {
    "reconnaissance": "Reconnaissance", "resourcedevelopment": "ResourceDevelopment", "initialaccess": "InitialAccess",
    "execution": "Execution", "persistence": "Persistence", "privilegeescalation": "PrivilegeEscalation",
    "defenseevasion": "DefenseEvasion", "credentialaccess": "CredentialAccess", "discovery": "Discovery",
    "lateralmovement": "LateralMovement", "collection": "Collection", "commandandcontrol": "CommandAndControl",
    "exfiltration": "Exfiltration", "impact": "Impact",
    # ATT&CK 19 splits defense evasion in two; Sentinel's list knows the one.
    "stealth": "DefenseEvasion", "defenseimpairment": "DefenseEvasion",
}  # fmt: skip


class _QuietRE2(RE2RegexEngine):
    """RE2 without its own lines on standard error for a wrong expression."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _QuietRE2:  # filters copy detections, and a module can't be copied
        return self

    def compile(self, pattern: str, flags: int = 0) -> Any:
        inline = "".join(c for f, c in ((re.IGNORECASE, "i"), (re.MULTILINE, "m"), (re.DOTALL, "s")) if flags & f)
        options = re2.Options()
        options.log_errors = False
        found = re2.compile(f"(?{inline}){pattern}" if inline else pattern, options)
        if found.programsize > MOST_INSTRUCTIONS:
            raise re2.error(f"it is too large ({found.programsize:,} instructions; at most {MOST_INSTRUCTIONS:,})")
        return found


_DEEP = "It is nested too deeply."
_INNER = (TypeError, ValueError, AttributeError, KeyError, IndexError, RecursionError)
"""What pySigma fails with on shapes that it takes for granted, for example a list where a text belongs."""

# The specification's name for what pySigma knows as `wide`.
modifier_mapping.setdefault("utf16le", SigmaWideModifier)


class _Windash(SigmaWindowsDashModifier):
    """The modifier, but `cased` before it is kept: pySigma's forgets it."""

    def modify(self, val: SigmaString) -> SigmaExpansion:
        made = super().modify(val)
        if not isinstance(val, SigmaCasedString):
            return made
        return SigmaExpansion(
            [SigmaCasedString.from_sigma_string(v) if isinstance(v, SigmaString) else v for v in made.values]
        )


modifier_mapping["windash"] = _Windash
reverse_modifier_mapping[_Windash.__name__] = "windash"  # a detection is written out by it
_POLICY = SigmaPolicy(regex_engine=_QuietRE2())


def compile_documents(
    parsed: Iterable[Parsed],
    complaints: Iterable[TocsinError],
    filters: Sequence[SigmaFilter],
    placeholders: Placeholders | None,
) -> CompiledFile:
    """The detections among a file's documents, or why one can't be evaluated."""
    items: list[CompiledRule | TocsinError] = []
    values = False
    for each in parsed:
        if not isinstance(each.rule, SigmaRule):
            continue
        try:
            try:
                items.append(_rule(each, filters, None))
            except DetectError as error:
                if error.code != "DET0008":
                    raise
                values = True
                items.append(_rule(each, (), placeholders))  # the filters are in it since the first attempt
        except DetectError as error:
            items.append(_placed(error, each))
        except ContentError as error:
            items.append(error)
        except SigmaError as error:
            items.append(_refused(each, error))
        except _INNER as error:
            items.append(_shape(each, error))
    return CompiledFile(tuple(complaints), tuple(items), values)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A document, and pySigma's object of it. `id` and `tags` are what pySigma's can't hold."""

    rule: Any
    file: RuleFile
    document: Document
    raw: Mapping[str, Any]
    id: str = ""
    tags: tuple[str, ...] = ()


def parse_documents(file: RuleFile, problems: list[TocsinError]) -> list[Parsed]:
    """pySigma's objects of a file's documents; `action: global|reset|repeat` as the collection format defines them."""
    common: dict[str, Any] = {}
    previous: dict[str, Any] = {}
    found: list[Parsed] = []
    for document in file.documents:
        value = document.value
        if not isinstance(value, dict):
            problems.append(document.error("A Sigma document must be a mapping.", code="CNT0011"))
            continue
        action = value.get("action")
        if action == "global":
            common = {k: v for k, v in value.items() if k != "action"}
            continue
        if action == "reset":
            common = {}
            continue
        if action not in (None, "repeat"):
            problems.append(document.error(f"There is no action '{action}'.", ("action",), code="CNT0012"))
            continue
        raw: dict[str, Any] = _copy(previous if action == "repeat" else common)
        raw = deep_dict_update(raw, {k: v for k, v in _copy(value).items() if k != "action"})
        previous = _copy(raw)
        try:
            if sigma_options.is_options(raw):
                found.append(Parsed(sigma_options.read_given(document, raw), file, document, raw))
                continue
            meant = settled(raw, document, file.path.name, problems)
        except ContentError as error:
            problems.append(error)
            continue
        except DetectError as error:
            problems.append(_placed(error, Parsed(None, file, document, raw)))
            continue
        except _INNER as error:
            problems.append(_shape(Parsed(None, file, document, raw), error))
            continue
        read = [_read(each, file, document, problems) for each in meant]
        if None not in read:  # a rule that counts events is nothing without the rule of the events
            found.extend(p for p in read if p is not None)
    return found


def _read(each: Settled, file: RuleFile, document: Document, problems: list[TocsinError]) -> Parsed | None:
    raw: dict[str, Any] = dict(each.raw)
    try:
        if "correlation" in raw:
            rule: Any = SigmaCorrelationRule.from_dict(_without_bounds(raw))
        elif "filter" in raw:
            rule = SigmaFilter.from_dict(raw, policy=_POLICY)
        else:
            rule = SigmaRule.from_dict(raw, policy=_POLICY)
    except SigmaError as error:
        problems.append(_refused(Parsed(None, file, document, raw), error))
    except DetectError as error:
        place = ("correlation", "condition")
        problems.append(_error(Parsed(None, file, document, raw), error.message, error.code, place))
    except _INNER as error:
        problems.append(_shape(Parsed(None, file, document, raw), error))
    else:
        return Parsed(rule, file, document, raw, each.id, each.tags)
    return None


_OPERATORS = ("gte", "gt", "lte", "lt", "eq", "neq")


def _bounds(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The operators of a correlation's condition after the first: pySigma takes one, the specification several for a range."""
    correlation = raw["correlation"]
    condition = correlation.get("condition") if isinstance(correlation, dict) else None
    if not isinstance(condition, dict):
        return {}
    return {o: condition[o] for o in [o for o in _OPERATORS if o in condition][1:]}


def _without_bounds(raw: dict[str, Any]) -> dict[str, Any]:
    more = _bounds(raw)
    if not more:
        return raw
    for operator, number in more.items():
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise DetectError(f"'{operator}' needs a number, not '{number}'.", code="DET0007")
    correlation = raw["correlation"]
    condition = {k: v for k, v in correlation["condition"].items() if k not in more}
    return {**raw, "correlation": {**correlation, "condition": condition}}


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copy(v) for k, v in value.items()}
    return [_copy(v) for v in value] if isinstance(value, list) else value


def _rule(parsed: Parsed, filters: Sequence[SigmaFilter], placeholders: Placeholders | None) -> CompiledRule:
    sigma = parsed.rule
    for each in filters:
        sigma = each.apply_on_rule(sigma)
    source = sigma.logsource
    names = (source.product, source.category, source.service)
    found = bindings(*names)
    if not found:
        words = ", ".join(f"{k} {v}" for k in ("product", "category", "service") if (v := getattr(source, k)))
        raise DetectError(
            f"No source feeds rules for {words}.", code="DET0009", place=parsed.document.place(("logsource",))
        )
    trees = [build(c.parsed, placeholders) for c in sigma.detection.parsed_condition]
    tree: Node = trees[0] if len(trees) == 1 else Some(tuple(trees))
    if rewrite(tree, lambda leaf: leaf) == FALSE:
        raise DetectError("The condition can never hold.", code="DET0007")
    rule = replace(_common(parsed), compiled=SigmaBody(tree, found))
    return CompiledRule(rule, str(sigma.name or ""), names, parsed.document.place())


def _common(parsed: Parsed) -> Rule:
    """The part that detections and correlations share."""
    sigma = parsed.rule
    level = sigma.level.name.lower() if sigma.level else "medium"
    tactics: dict[str, None] = {}
    techniques: dict[str, None] = {}
    tags: list[str] = ["critical"] if level == "critical" else []
    tags.extend(parsed.tags)
    for tag in sigma.tags:
        text = str(tag)
        space, _, name = text.partition(".")
        if space != "attack":
            tags.append(text)
        elif (tactic := _TACTICS.get(name.replace("-", "").replace("_", ""))) is not None:
            tactics[tactic] = None
        elif name[:1] == "t" and name[1:5].isdigit():
            techniques[name.upper()] = None
    title = str(sigma.title or parsed.file.path.stem)
    made = sigma_rule(
        id=parsed.id
        or (
            str(sigma.id)
            if sigma.id
            else stable_uuid("sigma", title, str(sigma.description or ""), parsed.file.path.name)
        ),
        name=title,
        description=str(sigma.description or "").strip(),
        severity=normal_severity(level) or "Medium",
        enabled=not (sigma.status and sigma.status.name in ("DEPRECATED", "UNSUPPORTED")),
        tactics=tuple(tactics),
        techniques=tuple(techniques),
        tags=tuple(tags),
        # Sigma's informational rules are context, not alarms.
        incident=IncidentSettings(create=level != "informational"),
        version=str(sigma.modified or sigma.date or ""),
    )
    return sigma_options.with_changes(made, sigma_options.changes_of(parsed.document, parsed.raw))


# ---------------------------------------------------------------------------------------------- correlations


def filters_of(parsed: Iterable[Sequence[Parsed]]) -> list[SigmaFilter]:
    """The filters among files' documents."""
    return [p.rule for each in parsed for p in each if isinstance(p.rule, SigmaFilter)]


def idle_filters(parsed: Iterable[Sequence[Parsed]], names: Mapping[str, str]) -> Iterator[TocsinError]:
    """A complaint about each filter that names rules of which none is here: it would filter nothing, and nobody would know."""
    for each in (p for some in parsed for p in some if isinstance(p.rule, SigmaFilter)):
        named = each.rule.filter.rules
        wanted = [] if isinstance(named, str) else [str(r.reference) for r in named]
        missing = sorted({w for w in wanted if w not in names and w.lower() not in names})
        if missing:
            yield _error(
                each,
                f"The filter names rules that aren't here: {', '.join(missing)}.",
                "DET0010",
                ("filter",),
                hint=did_you_mean(missing[0], names),
            )


def give_options(
    parsed: Iterable[Sequence[Parsed]], rules: dict[str, Rule], names: Mapping[str, str]
) -> Iterator[TocsinError]:
    """Puts the documents of options among files' documents into force; complaints about those that name rules which aren't here."""
    given = [p.rule for each in parsed for p in each if isinstance(p.rule, sigma_options.Given)]
    return sigma_options.apply_given(given, rules, names)


def add_correlations(
    parsed: Iterable[Sequence[Parsed]], rules: dict[str, Rule], names: dict[str, str], problems: list[TocsinError]
) -> None:
    """Adds files' correlations whose rules are known; one may name another, so those that wait are tried again."""
    waiting = [p for each in parsed for p in each if isinstance(p.rule, SigmaCorrelationRule)]
    fed: dict[str, bool] = {}
    while waiting:
        later = []
        for each in waiting:
            try:
                rule = _correlation(each, names)
            except _Unknown:
                later.append(each)
                continue
            except DetectError as error:
                problems.append(_placed(error, each))
                continue
            except ContentError as error:
                problems.append(error)
                continue
            except _INNER as error:
                problems.append(_shape(each, error))
                continue
            rules[rule.id] = rule
            names[rule.id] = rule.id
            if each.rule.name:
                names[str(each.rule.name)] = rule.id
            for reference in rule.compiled.rules:
                fed[reference] = fed.get(reference, False) or bool(each.rule.generate)
        if len(later) == len(waiting):
            waiting_for = {
                name: set(_references(e.rule)) for e in later for name in (e.rule.name, str(e.rule.id)) if name
            }
            for each in later:
                circle = _circle(str(each.rule.name or each.rule.id), waiting_for)
                if circle:
                    problems.append(
                        _error(each, f"The correlations wait for each other: {' → '.join(circle)}.", "DET0010")
                    )
                    continue
                missing = sorted({str(r) for r in _references(each.rule) if r not in names})
                problems.append(
                    _error(each, f"The correlation names rules that aren't here: {', '.join(missing)}.", "DET0010")
                )
            break
        waiting = later
    for rule_id, generate in fed.items():
        if not generate:
            rule = rules[rule_id]
            rules[rule_id] = replace(rule, compiled=replace(rule.compiled, silent=True))


def _circle(start: str, waiting_for: Mapping[str, set[str]]) -> list[str]:
    """The way from a correlation back to itself through the rules that it names, empty where there is none."""
    ways = [[start]]
    seen = {start}
    while ways:
        way = ways.pop()
        for name in sorted(waiting_for.get(way[-1], ())):
            if name == start:
                return [*way, start]
            if name in waiting_for and name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return []


class _Unknown(Exception):  # noqa: N818 - a signal within this module, never seen outside
    """A rule that is named isn't known yet."""


def _references(sigma: SigmaCorrelationRule) -> list[str]:
    if sigma.rules:
        return [str(r.reference) for r in sigma.rules]
    condition = sigma.condition
    return list(condition.get_referenced_rules()) if isinstance(condition, SigmaExtendedCorrelationCondition) else []


def _correlation(parsed: Parsed, names: Mapping[str, str]) -> Rule:
    sigma: SigmaCorrelationRule = parsed.rule

    def resolve(reference: str) -> str:
        if reference not in names:
            raise _Unknown
        return names[reference]

    references = tuple(dict.fromkeys(resolve(r) for r in _references(sigma)))
    kind = sigma.type.name.lower()
    if kind not in _KINDS:
        raise DetectError(f"Correlations of type '{kind}' aren't supported.", code="DET0007")
    condition = sigma.condition
    expression = None
    op, count, percentile = "gte", float(len(references)), 50.0
    fields: tuple[str, ...] = ()
    if isinstance(condition, SigmaExtendedCorrelationCondition):
        expression = _expression(condition.parsed, resolve)
    elif isinstance(condition, SigmaCorrelationCondition):
        op, count = condition.op.name.lower(), float(condition.count)
        given = condition.fieldref
        fields = (given,) if isinstance(given, str) else tuple(given or ())
        percentile = float(condition.percentile) if condition.percentile is not None else 50.0
    body = CorrelationBody(
        kind=kind,
        rules=references,
        timespan=timedelta(seconds=sigma.timespan.seconds),
        group_by=tuple(sigma.group_by or ()),
        aliases={a.alias: {resolve(r.reference): f for r, f in a.mapping.items()} for a in sigma.aliases},
        op=op,
        count=count,
        fields=fields,
        percentile=percentile,
        expression=expression,
        bounds=tuple((o, float(n)) for o, n in _bounds(parsed.raw).items()),
    )
    file = parsed.file
    return replace(_common(parsed), compiled=body, period=body.timespan, path=file.path, pack=file.pack, text=file.text)


_KINDS = (
    "event_count",
    "value_count",
    "temporal",
    "temporal_ordered",
    "value_sum",
    "value_avg",
    "value_median",
    "value_percentile",
)


def _expression(node: Any, resolve: Any) -> Expression:
    if isinstance(node, SigmaRuleReference):
        return Expression("rule", rule=resolve(node.reference))
    kinds = {CorrelationConditionAND: "and", CorrelationConditionOR: "or", CorrelationConditionNOT: "not"}
    op = next(name for kind, name in kinds.items() if isinstance(node, kind))
    return Expression(op, tuple(_expression(a, resolve) for a in node.args))


# ---------------------------------------------------------------------------------------------- complaints


def _error(parsed: Parsed, message: str, code: str, path: Sequence[str | int] = (), *, hint: str = "") -> TocsinError:
    kind = ContentError if code.startswith("CNT") else DetectError
    return kind(f"{_title(parsed)}: {message}", code=code, place=parsed.document.place(path), hint=hint)


def _placed(error: DetectError, parsed: Parsed) -> DetectError:
    place = error.place or parsed.document.place(("detection",))
    return DetectError(f"{_title(parsed)}: {error.message}", code=error.code, place=place, hint=error.hint)


def _refused(parsed: Parsed, error: SigmaError) -> TocsinError:
    kind = type(error).__name__
    where = "logsource" if "Logsource" in kind else "correlation" if "correlation" in parsed.raw else "detection"
    text = str(error).split(" in file")[0].strip().rstrip(".")
    hint = ""
    if "Expected" in text and re.search(r"\b(AND|OR|NOT)\b", str(parsed.raw.get("detection"))):
        hint = "Operators are written small: and, or, not."
    return _error(parsed, f"{text}.", "DET0007", (where,), hint=hint)


def _shape(parsed: Parsed, error: Exception) -> TocsinError:
    where = "correlation" if "correlation" in parsed.raw else "detection"
    if isinstance(error, RecursionError):
        return _error(parsed, _DEEP, "DET0007", (where,))
    return _error(parsed, f"It has a wrong shape: {error}.", "DET0007", (where,))


def _title(parsed: Parsed) -> str:
    return f"The rule '{parsed.raw.get('title', parsed.file.path.stem)}'"
