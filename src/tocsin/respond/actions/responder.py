"""`responder`: asks another system to do what a detection proposes: isolate a device, disable an account, block a file, move a mail.

Tocsin has no hands on devices and directories of its own. What does (an EDR's gateway, a playbook) is given with ``respond.responder.url`` and gets
signed JSON, as webhooks do; without it proposals are made and say that they can't be done here.
"""

from __future__ import annotations

from typing import Any, ClassVar

import orjson
from pydantic import Field, field_validator

from tocsin.base.errors import did_you_mean
from tocsin.base.http import EgressClient, EgressError
from tocsin.detect.responses import RESPONSES
from tocsin.respond.actions.webhook import sender_secret, signature
from tocsin.respond.kind import Able, ActionInput, Approval, Context, Outcome, OutsideKind
from tocsin.respond.settings import ResponderSettings, WebhookSettings
from tocsin.state import State

__all__ = ["Responder"]


class ResponderInput(ActionInput):
    """What to do, and to what."""

    do: str = Field(max_length=64, description="The response by Microsoft's name, such as isolateDevice")
    target: dict[str, str] = Field(
        min_length=1, max_length=8, description="What it acts on: identifiers by column, such as DeviceId"
    )
    options: dict[str, str] = Field(default={}, max_length=16, description="What goes along, such as isolationType")

    @field_validator("do")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in RESPONSES:
            raise ValueError(f"there is no response {name!r}. {did_you_mean(name, RESPONSES)}".strip())
        return name


class Responder(OutsideKind[ResponderInput]):
    """Asks the responder. Always needs approval: it changes machines, accounts and mailboxes."""

    kind: ClassVar[str] = "responder"
    title: ClassVar[str] = "Ask a responder"
    description: ClassVar[str] = (
        "Asks the system at respond.responder.url to act on a device, an account, a file or a mail. Detections of Defender propose it."
    )
    undoable: ClassVar[bool] = False
    usual_approval: ClassVar[Approval] = Approval.ONE
    Input = ResponderInput

    def __init__(
        self, state: State, client: EgressClient, settings: ResponderSettings, webhook: WebhookSettings
    ) -> None:
        self._state, self._client, self._settings, self._webhook = state, client, settings, webhook

    def approval(self, given: ResponderInput) -> Approval:  # noqa: ARG002
        """See ActionKind."""
        return Approval.ONE

    def able(self) -> Able:
        """See ActionKind."""
        if not self._settings.url:
            return Able(
                False, "No responder is configured. Set respond.responder.url to the system that acts for Tocsin."
            )
        try:
            self._client.check(self._settings.url)
        except EgressError as error:
            return Able(False, f"{error.message} {error.hint or ''}".strip())
        return Able(True)

    def describe(self, given: ResponderInput) -> tuple[str, str]:
        """See ActionKind."""
        title = RESPONSES[given.do].reads.format(next(iter(given.target.values())))
        target = ", ".join(f"{k} {v}" for k, v in given.target.items())
        options = "".join(f"; {k}: {v}" for k, v in given.options.items())
        return title, f"Asks the responder for {given.do} on {target}{options}."

    def effect(self, given: ResponderInput) -> str:
        """See ActionKind."""
        return orjson.dumps([given.do, dict(given.target)], option=orjson.OPT_SORT_KEYS).decode()

    def execute(self, context: Context[ResponderInput]) -> Outcome:
        """See OutsideKind."""
        incident = context.incident or {}
        payload: dict[str, Any] = {
            "event": "response",
            "action": context.given.do,
            "target": dict(context.given.target),
            "options": dict(context.given.options),
            "approved_by": context.actor.name,
            "incident": {k: incident.get(k) for k in ("id", "number", "title", "severity")} if incident else None,
        }
        body = orjson.dumps(payload)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Tocsin",
            "X-Tocsin-Delivery": context.action.id,
            "X-Tocsin-Signature": signature(
                sender_secret(self._state, self._webhook), int(context.now.timestamp()), body
            ),
        }
        answer = self._client.request("POST", self._settings.url, content=body, headers=headers)
        if not 200 <= answer.status < 300:
            raise EgressError(f"The responder answered {answer.status}.", code="HTT0003")
        result = {"status": answer.status, "answer": answer.body[:500].decode("utf-8", "replace")}
        return Outcome(result, text=f"The responder answered {answer.status}.")
