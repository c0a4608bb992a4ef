"""Logs of other vendors reach a live server by syslog and HEC and are rows of their tables."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.e2e.server import Server, until
from tests.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.system]


def test_cef_by_syslog_and_cloudtrail_and_an_access_log_by_hec(serve: Callable[..., Server]) -> None:
    tcp = free_port()
    server = serve(tcp=tcp).start()
    now = datetime.now(UTC)
    event = r"CEF:0|Contoso|Gate|1|7|Blocked|5|src=10.1.2.3 dst=203.0.113.9 act=deny cs1Label=Rule cs1=a\=b odd=x"
    message = f"<134>1 {now.isoformat()} fw1 - - - - {event}"
    with socket.create_connection(("127.0.0.1", tcp)) as sock:
        sock.sendall(message.encode() + b"\n")
    trail = {
        "eventVersion": "1.10", "eventTime": now.isoformat(), "eventSource": "iam.amazonaws.com", "eventName": "CreateUser",
        "awsRegion": "us-east-1", "sourceIPAddress": "198.51.100.4", "eventID": "e-1", "userIdentity": {"type": "Root"},
    }  # fmt: skip
    line = f'203.0.113.9 - - [{now:%d/%b/%Y:%H:%M:%S} +0000] "GET /x HTTP/1.1" 404 12 "-" "probe/1"'
    events = [
        {"event": trail, "sourcetype": "aws:cloudtrail"},
        {"event": line, "host": "web1", "sourcetype": "nginx:plus:access"},
    ]
    answer = server.client().post(
        "/services/collector/event",
        content="\n".join(map(json.dumps, events)),
        headers={"Authorization": f"Splunk {server.token()}"},
    )
    assert answer.status_code == 200, answer.text
    client = server.signed_in()
    expected = {
        "CommonSecurityLog | project Computer, DeviceAction, DeviceCustomString1, AdditionalExtensions": [
            "fw1",
            "deny",
            "a=b",
            "odd=x",
        ],
        "AWSCloudTrail | project EventName, UserIdentityType, SourceIpAddress": ["CreateUser", "Root", "198.51.100.4"],
        "ASimWebSessionLogs | project DvcHostname, Url, EventResultDetails": ["web1", "/x", "404"],
    }
    for query, row in expected.items():
        assert until(lambda query=query: server.rows(query, client), 90, lambda query=query: query) == [row]
    assert server.rows("Syslog | where SyslogMessage has 'Contoso'", client) == []
