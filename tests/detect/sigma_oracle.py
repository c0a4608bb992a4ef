"""A naive interpreter of Sigma rules: walks pySigma's parse tree for one event at a time. Slow and plain, the oracle of the matcher's tests.

It shares only the table of log sources with the product; values, wildcards, expressions and fields are judged by code of its own.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.rule import SigmaRule
from sigma.types import (
    SigmaBool,
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaRegularExpressionFlag,
    SigmaString,
    SigmaTimestampPart,
    SpecialChars,
)

from tocsin.detect.sigma.computed import COMPUTED
from tocsin.detect.sigma.logsource import Binding, bindings
from tocsin.detect.sigma.tree import All, Leaf, Node, Some

SYSTEM = {
    "eventid": "EventID", "channel": "Channel", "eventlog": "Channel", "provider_name": "Provider", "providername": "Provider",
    "computer": "Computer", "computername": "Computer", "level": "Level", "message": "Message", "keywords": "Keywords",
}  # fmt: skip


def parse(path: Path) -> Iterator[SigmaRule]:
    """The detections of a file, by PyYAML's own loader."""
    for document in yaml.load_all(path.read_text(encoding="utf-8"), yaml.CSafeLoader):
        if document and "detection" in document:
            yield SigmaRule.from_dict(document)


class Oracle:
    """One rule."""

    def __init__(self, rule: SigmaRule) -> None:
        self.id = str(rule.id)
        source = rule.logsource
        self.bindings = bindings(source.product, source.category, source.service)
        self.conditions = [c.parsed for c in rule.detection.parsed_condition]

    def reads(self, source: str) -> bool:
        """Whether it looks at that kind of event."""
        return any(b.source == source for b in self.bindings)

    def matches(self, source: str, system: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
        """Whether the rule holds for a Windows-shaped event."""
        for binding in self.bindings:
            if binding.source != source:
                continue
            channel = str(system.get("Channel") or "").lower()
            if binding.channels is not None and channel not in binding.channels:
                continue
            if binding.events is not None and system.get("EventID") not in binding.events:
                continue
            event = Event(system, data, binding)
            if event.own(binding.where) and any(event.holds(c) for c in self.conditions):
                return True
        return False


class Event:
    """An event as a binding shows it."""

    def __init__(self, system: Mapping[str, Any], data: Mapping[str, Any], binding: Binding) -> None:
        self.system, self.data, self.binding = system, data, binding

    def value(self, field: str, *, mapped: bool = True) -> Any:
        name = self.binding.fields.get(field.lower(), field) if mapped else field
        if name.startswith("@"):
            return COMPUTED[name](self.data)
        if name.lower() in ("eventid", "channel", "eventlog"):
            return self.system.get(SYSTEM[name.lower()])
        if name in self.data:
            return self.data[name]
        squeezed = re.sub(r"[\W_]", "", name).lower()
        for key, value in self.data.items():
            if re.sub(r"[\W_]", "", key).lower() == squeezed:
                return value
        return self.system.get(SYSTEM[name.lower()]) if name.lower() in SYSTEM else None

    def own(self, node: Node) -> bool:
        """A binding's condition."""
        if isinstance(node, All):
            return all(self.own(p) for p in node.parts)
        if isinstance(node, Some):
            return any(self.own(p) for p in node.parts)
        assert isinstance(node, Leaf)
        value = self.value(node.field, mapped=False)
        return any(node.check.holds(str(v)) for v in (value if isinstance(value, tuple) else (value,)) if v is not None)

    def holds(self, node: Any) -> bool:
        if isinstance(node, ConditionAND):
            return all(self.holds(a) for a in node.args)
        if isinstance(node, ConditionOR):
            return any(self.holds(a) for a in node.args)
        if isinstance(node, ConditionNOT):
            return not self.holds(node.args[0])
        if isinstance(node, ConditionValueExpression):
            values = [*self.data.values(), self.system.get("Message")]
            return any(self.keyword(node.value, str(v)) for v in values if v is not None)
        assert isinstance(node, ConditionFieldEqualsValueExpression)
        value = self.value(node.field)
        if isinstance(value, tuple):
            return any(self.field(node.value, v) for v in value)
        return self.field(node.value, value)

    def keyword(self, wanted: Any, text: str) -> bool:
        if isinstance(wanted, SigmaExpansion):
            return any(self.keyword(v, text) for v in wanted.values)
        if isinstance(wanted, SigmaNumber):
            return str(wanted.number) in text
        if isinstance(wanted, SigmaRegularExpression):
            return self.field(wanted, text)
        return re.search(pattern(wanted), text, re.IGNORECASE | re.DOTALL) is not None

    def field(self, wanted: Any, value: Any) -> bool:
        if isinstance(wanted, SigmaExpansion):
            return any(self.field(v, value) for v in wanted.values)
        if isinstance(wanted, SigmaNull):
            return value is None
        if isinstance(wanted, SigmaExists):
            return bool(wanted) == (value is not None)
        if value is None:
            return False
        text = str(value)
        if isinstance(wanted, SigmaString):
            flags = re.DOTALL if isinstance(wanted, SigmaCasedString) else re.DOTALL | re.IGNORECASE
            return re.fullmatch(pattern(wanted), text, flags) is not None
        if isinstance(wanted, SigmaTimestampPart):
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                return False
            code = {"MINUTE": "%M", "HOUR": "%H", "DAY": "%d", "WEEK": "%V", "MONTH": "%m", "YEAR": "%Y"}
            return int(moment.strftime(code[wanted.timestamp_part.name])) == int(wanted.number)
        if isinstance(wanted, SigmaNumber):
            return text == str(wanted.number)
        if isinstance(wanted, SigmaBool):
            return text.lower() == str(wanted.boolean).lower()
        if isinstance(wanted, SigmaRegularExpression):
            flags = re.RegexFlag(0)
            for flag in wanted.flags:
                flags |= {
                    SigmaRegularExpressionFlag.IGNORECASE: re.IGNORECASE,
                    SigmaRegularExpressionFlag.MULTILINE: re.MULTILINE,
                    SigmaRegularExpressionFlag.DOTALL: re.DOTALL,
                }[flag]
            return re.search(str(wanted.regexp), text, flags) is not None
        if isinstance(wanted, SigmaCIDRExpression):
            try:
                return ipaddress.ip_address(text) in wanted.network
            except ValueError:
                return False
        if isinstance(wanted, SigmaCompareExpression):
            number = wanted.number.number
            if re.fullmatch(r"\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?\s*", text, re.IGNORECASE) is None:
                return False
            found = float(text)
            return {
                "LT": found < number,
                "LTE": found <= number,
                "GT": found > number,
                "GTE": found >= number,
                "NEQ": found != number,
            }[wanted.op.name]
        if isinstance(wanted, SigmaFieldReference):
            other = self.value(wanted.field)
            if other is None:
                return False
            one, two = text.lower(), str(other).lower()
            head, tail = ("*" if wanted.ends_with else ""), ("*" if wanted.starts_with else "")
            return fnmatch.fnmatchcase(one, head + re.sub(r"([\[*?])", r"[\1]", two) + tail)
        raise AssertionError(type(wanted))


def pattern(value: SigmaString) -> str:
    """A text with wildcards as a regular expression."""
    return "".join(
        ".*" if p is SpecialChars.WILDCARD_MULTI else "." if p is SpecialChars.WILDCARD_SINGLE else re.escape(str(p))
        for p in value.s
    )
