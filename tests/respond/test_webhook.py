"""The webhook: approved unless trusted, signed so that a receiver can check it, refused inside."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import SecretStr

from tests.incidents.test_correlate import WS1, alert
from tests.respond.conftest import REMO, RESA
from tocsin.detect.alert import Evidence
from tocsin.incidents.desk import IncidentDesk
from tocsin.respond import BadInputError, Gate, RespondSettings, WebhookSettings, all_kinds
from tocsin.state import State


class Handler(BaseHTTPRequestHandler):
    server: Any

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, dict(self.headers), body))
        self.send_response(500 if self.path == "/broken" else 202)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    made: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.seen = []
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def incident(desk: IncidentDesk) -> str:
    desk.add([alert("a", 0, WS1, events=(Evidence("T", {"Secret": "in the row"}),))])
    return str(desk.page()["items"][0]["id"])


def gate_of(state: State, desk: IncidentDesk, **settings: Any) -> Gate:
    made = RespondSettings(**settings)
    return Gate(state, desk, all_kinds(state, desk, made), settings=made)


def test_sent_after_approval_and_signed(state: State, desk: IncidentDesk, server: Any, incident: str) -> None:
    gate = gate_of(state, desk, egress_allow=["127.0.0.1"], webhook=WebhookSettings(secret=SecretStr("key")))
    target = f"http://127.0.0.1:{server.server_port}/hook"
    action = gate.propose("webhook", {"url": target, "note": "look"}, incident_id=incident, by=RESA)
    assert (action["status"], server.seen) == ("Proposed", [])
    done = gate.approve(action["id"], by=REMO)
    assert (done["status"], done["result"]["status"], done["result"]["answer"]) == ("Succeeded", 202, "hello")
    assert done["undoable"] is False
    ((_, headers, body),) = server.seen
    time, mac = (part.split("=")[1] for part in headers["X-Tocsin-Signature"].split(","))
    assert mac == hmac.new(b"key", f"{time}.".encode() + body, hashlib.sha256).hexdigest()
    assert time == "1772366400"
    assert headers["X-Tocsin-Delivery"] == action["id"]
    sent = json.loads(body)
    assert (sent["note"], sent["incident"]["id"], sent["sent_by"]) == ("look", incident, "remo")
    assert b"in the row" not in body


def test_the_whole_incident_only_when_asked_for(state: State, desk: IncidentDesk, server: Any, incident: str) -> None:
    target = f"http://127.0.0.1:{server.server_port}/"
    gate = gate_of(state, desk, egress_allow=["127.0.0.0/8"], webhook=WebhookSettings(trusted=(target,)))
    done = gate.propose("webhook", {"url": f"{target}x", "send": "incident"}, incident_id=incident, by=RESA)
    assert done["status"] == "Succeeded", "a trusted URL needs no approval"
    assert b"in the row" in server.seen[0][2]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1.evil.example/", "http://127.0.0.1:80801/", "http://127.0.0.1:8080evil/"]
)
def test_trust_ends_at_a_slash(state: State, desk: IncidentDesk, url: str) -> None:
    from tocsin.respond.actions.webhook import Webhook, WebhookInput
    from tocsin.respond.kind import Approval

    kind = Webhook(state, None, WebhookSettings(trusted=("http://127.0.0.1", "http://127.0.0.1:8080")))  # type: ignore[arg-type]
    assert kind.approval(WebhookInput(url=url)) is Approval.ONE


@pytest.mark.parametrize(
    "url", ["http://localhost:1/", "http://169.254.169.254/latest", "http://[::1]/", "http://10.0.0.1/"]
)
def test_inside_is_refused_at_the_proposal(state: State, desk: IncidentDesk, incident: str, url: str) -> None:
    with pytest.raises(BadInputError, match="not a public address") as caught:
        gate_of(state, desk).propose("webhook", {"url": url}, incident_id=incident, by=RESA)
    assert "egress_allow" in caught.value.hint


def test_a_refusing_receiver_is_a_failure(state: State, desk: IncidentDesk, server: Any, incident: str) -> None:
    gate = gate_of(state, desk, egress_allow=["127.0.0.1"])
    url = f"http://127.0.0.1:{server.server_port}/broken"
    action = gate.propose("webhook", {"url": url}, incident_id=incident, by=RESA)
    failed = gate.approve(action["id"], by=REMO)
    assert (failed["status"], failed["error"]) == ("Failed", "The receiver answered 500.")


def test_a_made_key_stays_the_same(state: State, desk: IncidentDesk, server: Any, incident: str) -> None:
    gate = gate_of(state, desk, egress_allow=["127.0.0.1"])
    url = f"http://127.0.0.1:{server.server_port}/"
    macs = set()
    for _ in range(2):
        action = gate.propose("webhook", {"url": url}, incident_id=incident, by=RESA)
        gate.approve(action["id"], by=REMO)
        with state.read() as unit:
            key = unit.kv.get("webhook.secret")
        headers, body = server.seen[-1][1:]
        time, mac = (part.split("=")[1] for part in headers["X-Tocsin-Signature"].split(","))
        assert mac == hmac.new(key.encode(), f"{time}.".encode() + body, hashlib.sha256).hexdigest()
        macs.add(key)
    assert len(macs) == 1
