"""Syslog and RELP over TLS: a real rsyslog with GnuTLS, and what no sender should do."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ingest.intake_support import Rig, until
from tests.ingest.shipper_support import Certificates, closes
from tests.ingest.test_rsyslog import RELP, RSYSLOGD
from tocsin.base.errors import IngestError
from tocsin.ingest.receivers.relp import RelpReceiver
from tocsin.ingest.receivers.streams import StreamLimits, server_tls
from tocsin.ingest.receivers.syslog import SyslogTlsReceiver

COUNT = 3000
GNUTLS = bool(list(Path("/usr/lib").glob("*/rsyslog/lmnsd_gtls.so")))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path / "rig").start()
    yield made
    made.close()


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "tls")


def numbers(rig: Rig) -> list[int]:
    texts = [r["SyslogMessage"].split() for r in rig.rows("Syslog")]
    return sorted(int(t[1]) for t in texts if len(t) == 2 and t[0] == "message")


@pytest.mark.system
@pytest.mark.skipif(RSYSLOGD is None or not GNUTLS, reason="rsyslog-gnutls isn't installed")
@pytest.mark.parametrize("framing", ["traditional", "octet-counted", "relp"])
def test_a_real_rsyslog(tmp_path: Path, rig: Rig, certificates: Certificates, framing: str) -> None:
    if framing == "relp" and not RELP:
        pytest.skip("rsyslog-relp isn't installed")
    receiver: Any = (RelpReceiver if framing == "relp" else SyslogTlsReceiver)(
        rig.intake, port=0, tls=certificates.server()
    )
    port = receiver.start()[1]
    action = (
        f'module(load="omrelp" tls.tlslib="gnutls")\naction(type="omrelp" target="localhost" port="{port}" tls="on" tls.cacert="{certificates.ca}" '
        f'tls.mycert="{certificates.cert}" tls.myprivkey="{certificates.key}" tls.authmode="name" tls.permittedpeer=["localhost"]'
        if framing == "relp"
        else f'action(type="omfwd" target="localhost" port="{port}" protocol="tcp" TCP_Framing="{framing}" StreamDriver="gtls" '
        'StreamDriverMode="1" StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="localhost"'
    )
    source = tmp_path / "input.log"
    source.write_text("".join(f"message {n}\n" for n in range(COUNT)))
    config = tmp_path / "rsyslog.conf"
    config.write_text(
        f'global(workDirectory="{tmp_path}" DefaultNetstreamDriverCAFile="{certificates.ca}")\n'
        f'module(load="imfile" PollingInterval="1")\ninput(type="imfile" File="{source}" Tag="app:")\n{action} action.resumeRetryCount="-1")\n'
    )
    process = subprocess.Popen([str(RSYSLOGD), "-n", "-f", str(config), "-i", str(tmp_path / "pid")])
    try:
        until(lambda: len(numbers(rig)) >= COUNT, 90, lambda: f"{len(numbers(rig))} of {COUNT}: {rig.intake.sources()}")
    finally:
        process.kill()
        process.wait()
        receiver.stop()
    assert numbers(rig) == list(range(COUNT))


@pytest.mark.parametrize("kind", ["syslog", "relp"])
def test_what_isnt_tls_is_refused(rig: Rig, certificates: Certificates, kind: str) -> None:
    receiver: Any = (
        SyslogTlsReceiver(rig.intake, port=0, tls=certificates.server(), limits=StreamLimits(handshake_seconds=0.5))
        if kind == "syslog"
        else RelpReceiver(rig.intake, port=0, tls=certificates.server(), frame_seconds=0.5)
    )
    address = receiver.start()
    for junk in (b"<34>1 - - - - - - hello\n", b"\x16\x03\x01\x00\x05hello", b""):
        with socket.create_connection(address, 60) as sock:
            sock.settimeout(60)
            sock.sendall(junk)
            while True:
                with contextlib.suppress(ConnectionResetError):
                    if sock.recv(1000):
                        continue
                break
    until(lambda: sum(s.errors for s in rig.intake.sources()) == 3)
    receiver.stop()
    assert rig.lake.log.last == 0


def test_a_client_certificate_may_be_asked_for(rig: Rig, certificates: Certificates) -> None:
    receiver = SyslogTlsReceiver(
        rig.intake, port=0, tls=server_tls(certificates.cert, certificates.key, certificates.ca)
    )
    address = receiver.start()
    for known in (False, True):
        client = ssl.create_default_context(cafile=str(certificates.ca))
        if known:
            client.load_cert_chain(certificates.cert, certificates.key)
        with (
            socket.create_connection(address, 60) as raw,
            contextlib.suppress(OSError),
            client.wrap_socket(raw, server_hostname="localhost") as sock,
        ):
            sock.sendall(b"<34>1 - h a - - - message %d\n" % known)
            if not known:
                assert sock.recv(10) == b""
    rig.wait("Syslog", 1)
    receiver.stop()
    assert numbers(rig) == [1]


def test_a_slow_sender_is_closed(rig: Rig) -> None:
    receiver = SyslogTlsReceiver(rig.intake, port=0, limits=StreamLimits(frame_seconds=0.3))
    with socket.create_connection(receiver.start(), 5) as sock:
        sock.settimeout(60)
        start = time.monotonic()
        with contextlib.suppress(OSError):
            for _ in range(100):
                sock.sendall(b"x")
                time.sleep(0.02)
        assert closes(sock)
        assert time.monotonic() - start < 20  # usually it would be 30 s or more
    receiver.stop()


@pytest.mark.parametrize("broken", ["missing", "no key", "junk"])
def test_a_certificate_that_cant_be_used_names_the_setting(tmp_path: Path, broken: str) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    files = {"missing": (tmp_path / "none", tmp_path / "none"), "no key": (junk, None), "junk": (junk, junk)}[broken]
    with pytest.raises(IngestError) as error:
        server_tls(*files)
    assert "ingest.tls.certificate" in error.value.hint
