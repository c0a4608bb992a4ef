"""What correlation weighs: every number of it, in one place, as settings.

The defaults are those that `python -m bench.correlation tune` found on one half of its pairings of recorded attacks and confirmed on the other
half; see
docs/explanation/correlation-results.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, Field, field_validator

__all__ = ["CONTEXT", "SUPPORT", "WEIGHTS", "CorrelationSettings", "over"]

WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "process": 70.0,
        "process.parent": 70.0,
        "tree": 45.0,
        "session": 45.0,
        "mail": 60.0,
        "hash": 35.0,
        "account": 50.0,
        "account.sid": 50.0,
        "account.aaduserid": 50.0,
        "account.puid": 50.0,
        "account.objectguid": 50.0,
        "account.nt": 50.0,
        "account.dns": 50.0,
        "account.realm": 45.0,
        "host": 45.0,
        "host.azureid": 45.0,
        "host.omsagentid": 45.0,
        "host.deviceid": 45.0,
        "hostname": 42.0,
        "url": 40.0,
        "ip": 28.0,
        "ip.scoped": 42.0,
        "app": 35.0,
        "azureresource": 40.0,
        "dns": 35.0,
        "iotdevice": 45.0,
        "iotdevice.name": 20.0,
        "submission": 60.0,
        "mailcluster": 40.0,
        "securitygroup": 35.0,
        "ip.private": 20.0,
        "name": 20.0,
        "file": 15.0,
        "registrykey": 10.0,
        "registryvalue": 10.0,
        "malware": 15.0,
        "process.bare": 10.0,
        "url.relative": 5.0,
    }
)
"""Points of a shared thing, by the kind of key under which it is shared."""

CONTEXT = frozenset({"host", "hostname", "account", "session", "ip", "ip.private", "name", "app"})
"""Kinds (before the dot) that say where something happened. They age faster than artefacts, and a noisy rule's alerts count less in them."""

_LONGEST = 3600.0 * 24 * 365

SUPPORT = frozenset(
    {
        "ip.private",
        "name",
        "file",
        "registrykey",
        "registryvalue",
        "malware",
        "process.bare",
        "url.relative",
        "iotdevice.name",
    }
)
"""Kinds that may name several things: they support a join but never make one."""


class CorrelationSettings(BaseModel):
    """What joins alerts to incidents (``[correlation]`` in `tocsin.toml`). Points: `threshold` of them make a join."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    separate_device_groups: bool = Field(
        default=False, description="Whether incidents whose hosts are in different device groups are never merged."
    )
    threshold: float = Field(
        default=40.0, gt=0, description="Points that join an alert to an incident, or two incidents."
    )
    anchor: float = Field(
        default=18.0,
        ge=0,
        description="Points that the best single shared thing must have; many small ones alone join nothing.",
    )
    grace: timedelta = Field(default=timedelta(minutes=30), description="Time between two alerts that lessens nothing.")
    half_life: timedelta = Field(
        default=timedelta(hours=3),
        description="After this time beyond the grace a shared host, account or address is worth half.",
    )
    high_half_life: timedelta = Field(
        default=timedelta(hours=12),
        description="The same between two alerts of High severity, which are worth waiting for.",
    )
    artefact_half_life: timedelta = Field(
        default=timedelta(hours=72), description="The same for shared files, hashes, URLs, messages and processes."
    )
    horizon: timedelta = Field(default=timedelta(days=7), description="Beyond this time nothing joins.")
    hub_degree: int = Field(
        default=3, ge=1,
        description="A thing seen together with more hosts than this (a host: with more accounts) counts for less, in proportion.",
    )  # fmt: skip
    noisy_hosts: int = Field(
        default=3, ge=1,
        description="A rule below High severity that had fired on more hosts than this, up to an hour ago, is noisy.",
    )  # fmt: skip
    noisy_share: float = Field(
        default=0.55,
        ge=0,
        le=1,
        description="What a shared host, account or address is worth in an alert of a noisy rule, as a share.",
    )
    low_share: float = Field(default=0.9, ge=0, le=1, description="The same in an alert below Medium severity.")
    stranger_share: float = Field(
        default=0.6, ge=0, le=1,
        description="What a shared host is worth where alerts come by themselves and the two name accounts, but none in common, as a share.",
    )  # fmt: skip
    coincidence: float = Field(
        default=0.005,
        gt=0,
        lt=1,
        description="A shared host, account or address counts in full while an alert would be there so soon by chance no likelier than this; "
        "less, the likelier it is.",
    )
    background_alerts: int = Field(
        default=50, ge=1,
        description="So many alerts, over two hours and on four hosts, must have been seen before anything is held to happen by chance.",
    )  # fmt: skip
    support: float = Field(default=20.0, ge=0, description="Points that things which may name several can add at most.")
    next_tactic: float = Field(default=5.0, ge=0, description="Points for another stage of a kill chain.")
    same_rule: float = Field(default=5.0, ge=0, description="Points for the same rule.")
    weights: Mapping[str, float] = Field(
        default_factory=dict, description="Points by kind of shared thing, over the built-in ones: `{host = 50}`."
    )

    @field_validator("weights", mode="after")
    @classmethod
    def _known(cls, value: Mapping[str, float]) -> Mapping[str, float]:
        if unknown := sorted(set(value) - set(WEIGHTS)):
            raise ValueError(f"there is no kind '{unknown[0]}'; there are {', '.join(WEIGHTS)}")
        return value

    def points(self) -> dict[str, float]:
        """Points by kind: the built-in ones under what the settings say."""
        return {**WEIGHTS, **self.weights}


def over(base: CorrelationSettings, given: Mapping[str, object]) -> CorrelationSettings:
    """The settings with those changed that are named: ``threshold``, ``weights.host``; times in hours. pydantic.ValidationError for what can't be."""
    made: dict[str, object] = base.model_dump()
    weights = dict(base.weights)
    for name, value in given.items():
        kind = name.removeprefix("weights.")
        if kind != name:
            weights[kind] = value  # type: ignore[assignment]  # validated below
        elif isinstance(made.get(name), timedelta) and isinstance(value, int | float) and not isinstance(value, bool):
            made[name] = timedelta(seconds=min(3600.0 * value, _LONGEST)) if value >= 0 else str(value)
        else:
            made[name] = value
    return CorrelationSettings.model_validate({**made, "weights": weights})
