"""A kind of action that changes a list: real for the gate, harmless for the machine."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import ClassVar

from tocsin.base.errors import ActionError
from tocsin.respond import Able, ActionInput, Approval, Context, Outcome, OutsideKind


class LampInput(ActionInput):
    lamp: str
    minutes: int = 0


class Lamp(OutsideKind[LampInput]):
    """Lights a lamp; needs approval."""

    kind: ClassVar[str] = "test.lamp"
    title: ClassVar[str] = "Light a lamp"
    description: ClassVar[str] = "Lights a lamp."
    usual_approval: ClassVar[Approval] = Approval.ONE
    Input = LampInput

    def __init__(self) -> None:
        self.lit: list[str] = []
        self.calls: list[str] = []
        self.ability = Able(True)
        self.fails = ""
        self.hold: threading.Event | None = None

    def approval(self, given: LampInput) -> Approval:
        return Approval.ONE

    def describe(self, given: LampInput) -> tuple[str, str]:
        return f"Light {given.lamp}", f"Lights the lamp {given.lamp}."

    def effect(self, given: LampInput) -> str:
        return given.lamp

    def able(self) -> Able:
        return self.ability

    def execute(self, context: Context[LampInput]) -> Outcome:
        self.calls.append(f"light {context.given.lamp}")
        if self.hold is not None:
            assert self.hold.wait(10)
        if self.fails:
            raise ActionError(self.fails)
        self.lit.append(context.given.lamp)
        ends = context.now + timedelta(minutes=context.given.minutes) if context.given.minutes else None
        return Outcome({"lit": context.given.lamp}, {}, ends, "It shines.")

    def undo(self, context: Context[LampInput]) -> str:
        self.calls.append(f"out {context.given.lamp}")
        if self.fails:
            raise ActionError(self.fails)
        if context.given.lamp in self.lit:
            self.lit.remove(context.given.lamp)
        return "Out."

    def restore(self, context: Context[LampInput]) -> str | None:
        if context.given.lamp in self.lit:
            return None
        self.lit.append(context.given.lamp)
        return "Lit again."
