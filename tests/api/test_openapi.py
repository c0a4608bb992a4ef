"""The document that clients are made from: it is the committed one, and it says what is so."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from tocsin.access import PERMISSIONS
from tocsin.api.openapi import document

FILE = Path(__file__).parents[2] / "ui" / "openapi.json"
DOCUMENT = orjson.loads(document())
OPERATIONS = [(p, m, o) for p, methods in DOCUMENT["paths"].items() for m, o in methods.items()]


def test_the_committed_document_is_current() -> None:
    assert FILE.read_bytes() == document(), (
        "run: python -m tocsin.api.openapi > ui/openapi.json (and `npm run api` in ui/)"
    )


def test_it_is_openapi_3_1() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"


def test_operation_ids_are_short_and_unique() -> None:
    ids = [o["operationId"] for _, _, o in OPERATIONS]
    assert len(ids) == len(set(ids))
    assert max(map(len, ids)) <= 24


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=lambda v: v if isinstance(v, str) else "")
def test_every_operation_is_described(path: str, method: str, operation: dict[str, object]) -> None:
    assert operation["description"]
    assert operation["tags"]
    responses = operation["responses"]
    assert isinstance(responses, dict)
    assert "application/problem+json" in responses["default"]["content"]
    assert operation.get("security") == [] or operation.get("x-tocsin-permission", "") in {"", *PERMISSIONS}


def test_every_shape_is_described() -> None:
    for name, shape in DOCUMENT["components"]["schemas"].items():
        assert shape.get("description"), name


def test_every_reference_leads_somewhere() -> None:
    text = document().decode()
    for part in text.split('"$ref": "')[1:]:
        name = part.split('"')[0].removeprefix("#/components/schemas/")
        assert name in DOCUMENT["components"]["schemas"]
