"""Whatever a client sends, the server answers as its own document says: no 500, no other status or shape (schemathesis)."""

from __future__ import annotations

import orjson
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api.conftest import Served
from tests.incidents.test_correlate import ANN, WS1, alert
from tocsin.api.openapi import document

_DOCUMENT = orjson.loads(document())
_ENDS_THE_SESSION = {"sign_out", "change_password"}

schema = schemathesis.openapi.from_dict(_DOCUMENT).exclude(operation_id=sorted(_ENDS_THE_SESSION))


@pytest.fixture(scope="module")
def session(served: Served) -> dict[str, str]:
    served.workspace.incidents.add([alert("one", 0, WS1, ANN)])
    served.lamp.fails = "never for real"
    with served.client("administrator") as client:
        return {"Cookie": f"tocsin_session={client.cookies['tocsin_session']}", "X-Tocsin-Request": "1"}


@pytest.mark.slow
@schema.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    database=None,
)
def test_every_answer_is_as_documented(case: schemathesis.Case, served: Served, session: dict[str, str]) -> None:
    response = case.call(base_url=served.url, headers=session)
    case.validate_response(
        response,
        checks=[not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance],
    )
