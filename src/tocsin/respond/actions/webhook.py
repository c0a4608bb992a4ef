"""`webhook`: sends an incident to another system, signed.

The body is JSON. `X-Tocsin-Signature: t=<unix time>,v1=<hex>` is HMAC-SHA256 over ``<unix time>.<body>``: a receiver recomputes it and refuses old
times. `X-Tocsin-Delivery` is the action's id, the same at every try.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, ClassVar, Literal

import orjson
from pydantic import Field

from tocsin.base.http import EgressClient, EgressError
from tocsin.base.ids import new_secret
from tocsin.respond.errors import BadInputError
from tocsin.respond.kind import ActionInput, Approval, Context, Outcome, OutsideKind
from tocsin.respond.settings import WebhookSettings
from tocsin.state import State

__all__ = ["Webhook", "sender_secret", "signature"]

_SECRET = "webhook.secret"  # noqa: S105 - the name of a setting


class WebhookInput(ActionInput):
    """Where to, and how much of the incident."""

    url: str = Field(min_length=8, max_length=2048, pattern=r"^https?://", description="http or https")
    send: Literal["summary", "incident"] = Field(
        default="summary", description="summary: without alerts' rows; incident: everything"
    )
    note: str = Field(default="", max_length=2000, description="A text that goes along")


class Webhook(OutsideKind[WebhookInput]):
    """Sends an incident to a URL. Needs approval unless settings trust the URL: what leaves the house doesn't come back."""

    kind: ClassVar[str] = "webhook"
    title: ClassVar[str] = "Send to a webhook"
    description: ClassVar[str] = "Sends an incident as signed JSON to another system's URL."
    undoable: ClassVar[bool] = False
    needs_incident: ClassVar[bool] = True
    usual_approval: ClassVar[Approval] = Approval.ONE
    Input = WebhookInput

    def __init__(self, state: State, client: EgressClient, settings: WebhookSettings) -> None:
        self._state = state
        self._client = client
        self._settings = settings

    def approval(self, given: WebhookInput) -> Approval:
        """See ActionKind."""
        trusted = any(
            given.url == p or given.url.startswith(p if p.endswith("/") else f"{p}/") for p in self._settings.trusted
        )
        return Approval.NONE if trusted else Approval.ONE

    def describe(self, given: WebhookInput) -> tuple[str, str]:
        """See ActionKind."""
        host = given.url.split("/")[2]
        what = "the whole incident with its evidence" if given.send == "incident" else "the incident's summary"
        return f"Send to {host}", f"Sends {what} to {given.url}."

    def check(self, given: WebhookInput) -> None:
        """See ActionKind."""
        try:
            self._client.check(given.url)
        except EgressError as error:
            if error.code == EgressError.code:  # not allowed; a name that doesn't resolve now may do so later
                raise BadInputError(error.message, hint=error.hint) from error

    def execute(self, context: Context[WebhookInput]) -> Outcome:
        """See OutsideKind."""
        incident = dict(context.incident or {})
        if context.given.send == "summary":
            for part in ("story", "graph", "activity"):
                incident.pop(part, None)
            incident["alerts"] = [{**a, "events": []} for a in incident.get("alerts", ())]
        payload: dict[str, Any] = {
            "event": "incident",
            "sent_by": context.actor.name,
            "note": context.given.note,
            "incident": incident,
        }
        body = orjson.dumps(payload, default=str)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Tocsin",
            "X-Tocsin-Delivery": context.action.id,
            "X-Tocsin-Signature": signature(
                sender_secret(self._state, self._settings), int(context.now.timestamp()), body
            ),
        }
        answer = self._client.request("POST", context.given.url, content=body, headers=headers)
        result = {"status": answer.status, "bytes": len(body), "answer": answer.body[:500].decode("utf-8", "replace")}
        if not 200 <= answer.status < 300:
            raise EgressError(f"The receiver answered {answer.status}.", code="HTT0003")
        return Outcome(result, text=f"The receiver answered {answer.status}.")


def sender_secret(state: State, settings: WebhookSettings) -> bytes:
    """The key that signs what is sent; made and kept at first use where settings have none."""
    if settings.secret is not None:
        return settings.secret.get_secret_value().encode()
    with state.read() as unit:
        known = unit.kv.get(_SECRET)
    if known is None:
        with state.write() as unit:
            known = unit.kv.get(_SECRET)
            if known is None:
                known = new_secret()
                unit.kv.set(_SECRET, known)
    return str(known).encode()


def signature(secret: bytes, time: int, body: bytes) -> str:
    """The signature header's value."""
    mac = hmac.new(secret, f"{time}.".encode() + body, hashlib.sha256)
    return f"t={time},v1={mac.hexdigest()}"
