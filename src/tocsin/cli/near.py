"""Incidents that something is near to, as commands print them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tocsin.cli.output import say

__all__ = ["name_of", "say_near"]


def name_of(incident: Mapping[str, Any]) -> str:
    """What people call an incident; signals that open none have no number to see."""
    return f"#{incident['number']}" if incident["shown"] else "(signals)"


def say_near(near: Mapping[str, Any], verdict: str) -> None:
    """Prints the incident, its points against the threshold, and the reasons that they are made of."""
    points = f"{near['score']:.0f} of {near['threshold']:.0f} points"
    say(f"{name_of(near):>9}  {points}, {verdict}: {near['title']}")
    for reason in near["reasons"]:
        say(f"{'':11}{reason['weight']:>5}  {reason['text']}")
