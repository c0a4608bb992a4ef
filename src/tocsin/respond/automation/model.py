"""Automation rules as data: a file `automation/<name>.yaml` in a pack.

    id: 6f0c…                      # never changes
    name: Propose a block …
    description: …
    order: 100                     # lower runs first; equal ones by id
    enabled: true
    expires: 2026-12-31T00:00:00Z  # optional: from then on it does nothing
    trigger: {on: incident, when: [created, updated]}
    conditions:                    # optional; `all`, `any`, `none` nest
      all:
        - {property: severity, operator: equals, values: [High]}
        - any:
            - {property: tags, operator: notContains, values: [pentest]}
            - {property: Account.Name, operator: startsWith, values: [svc-]}
    actions:
      - kind: host.block_address
        for_each: {entity: IP, where: outside, most: 5}
        input: {address: "${entity.Address}", duration: PT24H}

Conditions look at the incident as it is when the rule runs, so a rule sees what the rules before it did. Comparisons don't regard
case. Several `values` mean any of them, with a negated operator none of them. Of a list (tags, tactics, entities …) a condition holds
when any element fits; a negated one when no element does (`match: collection`, the default) or when some element doesn't (`match:
any`), as Sentinel tells the two apart.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tocsin.base.errors import did_you_mean
from tocsin.content import AutomationFile
from tocsin.tables.entities import ENTITY_IDENTIFIERS

__all__ = [
    "PROPERTIES",
    "UPDATE_OPERATORS",
    "AutomationRule",
    "Condition",
    "ForEach",
    "Group",
    "RuleAction",
    "Trigger",
    "parse_rule",
]

PROPERTIES: dict[str, str] = {
    "title": "Title",
    "severity": "Severity",
    "status": "Status",
    "owner": "Owner; empty for nobody",
    "classification": "Classification",
    "determination": "Determination",
    "priority": "Priority, 0 to 100",
    "alert_count": "Number of alerts",
    "tags": "Tags",
    "tactics": "ATT&CK tactics",
    "techniques": "ATT&CK techniques",
    "products": "Makers of its alerts",
    "rules": "Names of the rules that raised its alerts",
    "rule_ids": "Ids of those rules",
    "descriptions": "Descriptions of its alerts",
    "alerts": "Ids of its alerts (with `added`)",
    "comments": "Comments (with `added`)",
    "updated_by": "What made the change: user, automation, correlation, playbook or application",
}
"""Properties that conditions may name, besides ``custom.<detail>`` and ``<Entity>.<Identifier>``."""

Operator = Literal[
    "equals",
    "notEquals",
    "contains",
    "notContains",
    "startsWith",
    "notStartsWith",
    "endsWith",
    "notEndsWith",
    "atLeast",
    "atMost",
    "changed",
    "changedFrom",
    "changedTo",
    "added",
]
UPDATE_OPERATORS = frozenset({"changed", "changedFrom", "changedTo", "added"})
_WITHOUT_VALUES = frozenset({"changed", "added"})
_ORDERED = frozenset({"severity", "priority", "alert_count"})
_CONDITIONS = 50
_DEPTH = 5


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Condition(_Model):
    """One comparison."""

    property: str
    operator: Operator
    values: tuple[str, ...] = Field(default=(), max_length=100)
    match: Literal["any", "collection"] = "collection"

    @field_validator("values", mode="before")
    @classmethod
    def _texts(cls, values: Any) -> Any:
        """YAML reads 2024 as a number and yes as true: here everything is text. One value needs no list."""
        listed = values if isinstance(values, list | tuple) else [values]
        return tuple({True: "true", False: "false"}.get(v, str(v)) if isinstance(v, bool) else str(v) for v in listed)

    @field_validator("property")
    @classmethod
    def _known(cls, name: str) -> str:
        if name in PROPERTIES or (name.startswith("custom.") and len(name) > 7):
            return name
        kind, dot, identifier = name.partition(".")
        if dot and kind in ENTITY_IDENTIFIERS:
            if identifier in (*ENTITY_IDENTIFIERS[kind], "label"):
                return name
            hint = did_you_mean(identifier, ENTITY_IDENTIFIERS[kind])
            raise ValueError(f"{kind} has no identifier {identifier!r}. {hint}".strip())
        known = [*PROPERTIES, *ENTITY_IDENTIFIERS]
        raise ValueError(f"there is no property {name!r}. {did_you_mean(kind, known)}".strip())

    @model_validator(mode="after")
    def _fits(self) -> Condition:
        if self.operator not in _WITHOUT_VALUES and not self.values:
            raise ValueError(f"the operator {self.operator} needs values")
        if self.operator in ("atLeast", "atMost"):
            if self.property not in _ORDERED:
                raise ValueError(f"{self.operator} goes with {', '.join(sorted(_ORDERED))} only")
            if len(self.values) != 1:
                raise ValueError(f"{self.operator} takes one value")
            if self.property != "severity":
                float(self.values[0])
            elif self.values[0] not in ("Informational", "Low", "Medium", "High"):
                raise ValueError(f"{self.values[0]!r} is no severity")
        return self


class Group(_Model):
    """`all`, `any` or `none` of its members, which are conditions or groups."""

    all: tuple[Condition | Group, ...] | None = None
    any: tuple[Condition | Group, ...] | None = None
    none: tuple[Condition | Group, ...] | None = None

    @model_validator(mode="after")
    def _one(self) -> Group:
        given = [m for m in (self.all, self.any, self.none) if m is not None]
        if len(given) != 1 or not given[0]:
            raise ValueError("a group has exactly one of all, any, none, with conditions in it")
        return self

    @property
    def members(self) -> tuple[Condition | Group, ...]:
        """What it joins."""
        return self.all or self.any or self.none or ()

    @property
    def word(self) -> Literal["all", "any", "none"]:
        """How it joins."""
        return "all" if self.all is not None else "any" if self.any is not None else "none"


class Trigger(_Model):
    """What makes the rule look."""

    on: Literal["incident"] = "incident"
    when: tuple[Literal["created", "updated"], ...] = ("created",)

    @field_validator("when", mode="before")
    @classmethod
    def _list(cls, when: Any) -> Any:
        return (when,) if isinstance(when, str) else when

    @field_validator("when")
    @classmethod
    def _some(cls, when: tuple[str, ...]) -> tuple[str, ...]:
        if not when:
            raise ValueError("say created, updated or both")
        return when


class ForEach(_Model):
    """An action for every entity of a type, at most `most`.

    `where` for IP: ``outside`` leaves out private, loopback, link-local and shared addresses; ``public`` also those that are nobody's
    (documentation, reserved).
    """

    entity: str
    where: Literal["any", "outside", "public"] = "any"
    most: int = Field(default=10, ge=1, le=100)

    @field_validator("entity")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in ENTITY_IDENTIFIERS:
            raise ValueError(f"there is no entity type {name!r}. {did_you_mean(name, ENTITY_IDENTIFIERS)}".strip())
        return name

    @model_validator(mode="after")
    def _fits(self) -> ForEach:
        if self.where != "any" and self.entity != "IP":
            raise ValueError(f"where: {self.where} goes with the entity IP only")
        return self


class RuleAction(_Model):
    """An action for the gate. Texts of `input` may hold ``${incident.<member>}``, ``${entity.<Identifier>}`` and ``${rule.name}``.

    `once` (default: for all but edits of the incident) does the same thing to the same incident once only, whatever became of it: a
    rejected proposal isn't made again.
    """

    kind: str = Field(min_length=1, max_length=64)
    input: dict[str, Any] = {}
    for_each: ForEach | None = None
    comment: str = Field(default="", max_length=2000)
    once: bool | None = None

    @property
    def only_once(self) -> bool:
        """See `once`."""
        return not self.kind.startswith("incident.") if self.once is None else self.once


class AutomationRule(_Model):
    """An automation rule."""

    id: str = Field(min_length=1, max_length=128)
    name: str = Field(min_length=1, max_length=500)
    description: str = Field(default="", max_length=5000)
    version: str = "1.0.0"
    kind: Literal["AutomationRule"] = "AutomationRule"
    order: int = Field(default=100, ge=0, le=100_000)
    enabled: bool = True
    expires: AwareDatetime | None = None
    trigger: Trigger = Trigger()
    conditions: Group | None = None
    actions: Annotated[tuple[RuleAction, ...], Field(min_length=1, max_length=20)]
    source: str = ""
    pack: str = ""

    @field_validator("version", mode="before")
    @classmethod
    def _text(cls, value: Any) -> str:
        return str(value)

    @model_validator(mode="after")
    def _bounded(self) -> AutomationRule:
        if self.conditions is not None:
            count, depth = _measure(self.conditions)
            if count > _CONDITIONS:
                raise ValueError(f"a rule has at most {_CONDITIONS} conditions, this one {count}")
            if depth > _DEPTH:
                raise ValueError(f"groups nest at most {_DEPTH} deep")
        return self

    def has_expired(self, now: datetime) -> bool:
        """Whether it does nothing any more."""
        return self.expires is not None and self.expires <= now


def parse_rule(file: AutomationFile) -> AutomationRule:
    """The rule of a file; ContentError CNT0030 with file and place for the first thing that is wrong."""
    value = {"id": file.id, **file.document.value, "source": str(file.path), "pack": file.pack}
    try:
        return AutomationRule.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        path = tuple(p for p in first["loc"] if isinstance(p, str | int) and p not in ("Condition", "Group"))
        where = ".".join(str(p) for p in path)
        message = str(first["msg"]).removeprefix("Value error, ")
        raise file.document.error(
            f"{where}: {message}" if where else message,
            path,
            code="CNT0030",
            hint="The shape is described in docs/reference/automation-rules.md.",
        ) from error


def _measure(group: Group) -> tuple[int, int]:
    count, depth = 0, 1
    for member in group.members:
        if isinstance(member, Group):
            inner, deeper = _measure(member)
            count, depth = count + inner, max(depth, deeper + 1)
        else:
            count += 1
    return count, depth
