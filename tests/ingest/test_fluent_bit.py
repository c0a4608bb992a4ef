"""A real Fluent Bit delivers by each of its outputs that Tocsin takes: the one inside `tenzir` (`uv sync --group peers`; 175 MB, not by default)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ingest.intake_support import Rig
from tests.ingest.shipper_support import TOKENS, packed_rig, serve
from tocsin.ingest.receivers.elastic import ElasticReceiver
from tocsin.ingest.receivers.fluent import FluentReceiver
from tocsin.ingest.receivers.gelf import GelfTcpReceiver, GelfUdpReceiver
from tocsin.ingest.receivers.hec import HecReceiver
from tocsin.ingest.receivers.loki import LokiReceiver
from tocsin.ingest.receivers.otlp import OtlpReceiver

TENZIR = os.environ.get("TOCSIN_TENZIR") or shutil.which(
    "tenzir", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.system,
    pytest.mark.skipif(
        TENZIR is None, reason="tenzir, which holds a Fluent Bit, isn't installed (uv sync --group peers)"
    ),
]

HTTP = {"Host": "127.0.0.1", "Port": "{http}", "HTTP_User": "x", "HTTP_Passwd": "good"}
OUTPUTS: dict[str, tuple[str, dict[str, str]]] = {
    "splunk": (
        "splunk",
        {"Host": "127.0.0.1", "Port": "{http}", "Splunk_Token": "good", "TLS": "Off", "Compress": "gzip"},
    ),
    "es": ("es", {**HTTP, "Suppress_Type_Name": "On", "Compress": "gzip"}),
    "opentelemetry": (
        "opentelemetry",
        {"Host": "127.0.0.1", "Port": "{http}", "Logs_uri": "/v1/logs", "Header": "Authorization Bearer good"},
    ),
    "loki": ("loki", {**HTTP, "Labels": "job=fb"}),
    "forward": (
        "forward",
        {
            "Host": "127.0.0.1",
            "Port": "{fluent}",
            "Shared_Key": "k3y",
            "Require_ack_response": "true",
            "Self_Hostname": "me",
        },
    ),
    "gelf udp": ("gelf", {"Host": "127.0.0.1", "Port": "{udp}", "Mode": "udp", "Gelf_Short_Message_Key": "message"}),
    "gelf tcp": ("gelf", {"Host": "127.0.0.1", "Port": "{tcp}", "Mode": "tcp", "Gelf_Short_Message_Key": "message"}),
}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = packed_rig(tmp_path).start()
    yield made
    made.close()


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output(rig: Rig, name: str) -> None:
    fluent = FluentReceiver(rig.intake, port=0, shared_key="k3y")
    udp, tcp = GelfUdpReceiver(rig.intake, port=0), GelfTcpReceiver(rig.intake, port=0)
    ports = {"fluent": fluent.start()[1], "udp": udp.start()[1], "tcp": tcp.start()[1]}
    kinds = (HecReceiver, ElasticReceiver, OtlpReceiver, LokiReceiver)
    with serve([route for kind in kinds for route in kind(rig.intake, TOKENS.get).routes()]) as url:
        ports["http"] = int(url.rsplit(":", 1)[1])
        plugin, options = OUTPUTS[name]
        listed = ", ".join(f'"{k}": "{v.format(**ports)}"' for k, v in options.items())
        events = ", ".join(f'{{message: "odd thing", n: {n}, host: "h1"}}' for n in range(5))
        pipeline = f'from {events}\nto_fluent_bit "{plugin}", options={{{listed}}}'
        done = subprocess.run([str(TENZIR), pipeline], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        rows = [json.loads(r["RawData"]) for r in rig.wait("Unparsed_CL", 5)]
    for receiver in (fluent, udp, tcp):
        receiver.stop()
    assert {r["message"] for r in rows} == {"odd thing"}
    # The OpenTelemetry output sends the message alone.
    assert name == "opentelemetry" or sorted(int(r["n"]) for r in rows) == list(range(5))
    assert not any(s.errors for s in rig.intake.sources())
