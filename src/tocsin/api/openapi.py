"""`python -m tocsin.api.openapi > ui/openapi.json`: the document from which the portal's typed client is made."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import cast

import orjson

from tocsin.api.app import create_app
from tocsin.api.ports import Workspace

__all__ = ["document"]


def document() -> bytes:
    """The OpenAPI document, stable byte for byte. Its version is the API's, so that a release doesn't change the file."""
    shell = SimpleNamespace(version="v1", intake=SimpleNamespace(routes=lambda: ()))
    made = create_app(cast(Workspace, shell)).openapi()
    return orjson.dumps(made, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"


if __name__ == "__main__":
    sys.stdout.buffer.write(document())
