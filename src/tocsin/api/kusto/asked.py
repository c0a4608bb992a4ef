"""What a Kusto client asked: text, database, properties, and how both sides call the request."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from fastapi import Request

from tocsin.api.body import json_object
from tocsin.base.errors import UsageError

__all__ = ["Asked", "Ids", "ids_of", "read"]

MAX_BODY = 1 << 20
"""Bytes of a request: text, parameters and properties."""


@dataclass(frozen=True, slots=True)
class Ids:
    """How both sides call a request: the client's own id, and ours."""

    client: str
    activity: str

    @property
    def headers(self) -> dict[str, str]:
        """The headers that every answer carries."""
        return {"x-ms-client-request-id": self.client, "x-ms-activity-id": self.activity}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. `options` and `parameters` are as they came, as JSON."""

    text: str
    database: str
    ids: Ids
    application: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)


def ids_of(request: Request) -> Ids:
    """The request's ids, made once."""
    found: Ids | None = getattr(request.state, "kusto_ids", None)
    if found is None:
        client = request.headers.get("x-ms-client-request-id", "").strip()[:256]
        found = Ids(client if client.isprintable() and client else f"unspecified;{uuid.uuid4()}", str(uuid.uuid4()))
        request.state.kusto_ids = found
    return found


async def read(request: Request) -> Asked:
    """The request that a client sent. Raises UsageError USE0020 to USE0022 for a body that isn't one."""
    body = await json_object(request, MAX_BODY)
    text, database = body.get("csl"), body.get("db")
    if not isinstance(text, str):
        raise UsageError("The request has no 'csl', the text to run.", code="USE0022")
    if database is not None and not isinstance(database, str):
        raise UsageError("'db' is the name of the database.", code="USE0022")
    properties = body.get("properties")
    if properties is None or properties == "":
        properties = {}
    if isinstance(properties, str):  # the SDKs send them as text that holds JSON
        try:
            properties = orjson.loads(properties)
        except ValueError as error:
            raise UsageError(f"'properties' is not JSON: {error}", code="USE0022") from None
    if not isinstance(properties, dict):
        raise UsageError("'properties' is not a JSON object.", code="USE0022")
    options, parameters = ({} if (p := properties.get(n)) is None else p for n in ("Options", "Parameters"))
    if not isinstance(options, dict) or not isinstance(parameters, dict):
        raise UsageError("'Options' and 'Parameters' are JSON objects.", code="USE0022")
    application = request.headers.get("x-ms-app", "") or str(options.get("request_app_name", ""))
    return Asked(text, (database or "").strip(), ids_of(request), application[:256], options, parameters)
