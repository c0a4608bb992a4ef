"""Routes of other products' protocols: every failure is answered in the product's own shape, since its clients read nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import orjson
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from tocsin.access import TooManyAttemptsError
from tocsin.api.problems import RETRY_AFTER
from tocsin.base.errors import TocsinError, UsageError

__all__ = ["WireRoute", "error_response"]

_log = logging.getLogger("tocsin.api")


def error_response(
    error: TocsinError, status: int, body: Mapping[str, Any], headers: Mapping[str, str], *, log: bool
) -> Response:
    """``{"error": body}`` with the headers that go with the status. `log`: it is a failure of ours, for the log."""
    sent = dict(headers)
    if status == 401:
        sent["WWW-Authenticate"] = 'Bearer realm="tocsin"'
    if status == 429:
        sent["Retry-After"] = str(error.retry_after) if isinstance(error, TooManyAttemptsError) else RETRY_AFTER
    if log:
        _log.error("request failed: %s", error)
    return Response(orjson.dumps({"error": body}), status, sent, media_type="application/json")


class WireRoute(APIRoute):
    """The base of such a route. Subclasses say how a failure looks (`answer`) and what of a wrong request is told (`invalid`)."""

    def answer(self, request: Request, error: TocsinError) -> Response:
        """The HTTP answer to a failed request."""
        raise NotImplementedError

    def invalid(self, error: RequestValidationError) -> str:
        """What is wrong with the request, in a sentence."""
        raise NotImplementedError

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See FastAPI."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except TocsinError as error:
                return self.answer(request, error)
            except RequestValidationError as error:
                return self.answer(request, UsageError(self.invalid(error), code="USE0022"))
            except HTTPException:
                raise
            except Exception:
                _log.exception("unexpected error at %s %s", request.method, request.url.path)
                failed = TocsinError("Something failed inside; the server's log has the details.", code="API0500")
                return self.answer(request, failed)

        return handled
