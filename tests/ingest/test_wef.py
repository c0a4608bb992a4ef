"""Windows event forwarding by a real TLS client that speaks as Windows does: enumeration, batches, bookmarks, heartbeats; and bad input."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, fromstring, tostring

import pytest
import trustme

from tests.ingest.intake_support import Rig, until
from tests.ingest.shipper_support import Certificates, authority
from tests.ingest.test_garbage import resident, sockets
from tests.ingest.wef_support import MACHINE, MANAGER, batch, bookmark, enumerate_, envelope, event
from tocsin.base.errors import IngestError
from tocsin.ingest.mapping import DEAD_LETTERS
from tocsin.ingest.pipeline import IntakeBusyError
from tocsin.ingest.receivers import wef, wsman
from tocsin.ingest.receivers.bookmarks import Bookmarks
from tocsin.ingest.receivers.settings import WefSettings
from tocsin.ingest.receivers.streams import StreamLimits, server_tls
from tocsin.ingest.receivers.wef import WefReceiver, subscription_of
from tocsin.lake import Body

SOAP = "{http://www.w3.org/2003/05/soap-envelope}"
A = "{http://schemas.xmlsoap.org/ws/2004/08/addressing}"
W = "{http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd}"
E = "{http://schemas.xmlsoap.org/ws/2004/08/eventing}"
LIMITS = StreamLimits(frame_bytes=1 << 16, frame_seconds=0.5, idle_seconds=30, handshake_seconds=0.5)
CONNECTIONS = int(os.environ.get("TOCSIN_FUZZ_CONNECTIONS", "60"))


class Machine:
    """A Windows machine: one connection that stays open, UTF-16, a client certificate."""

    def __init__(self, house: House, context: ssl.SSLContext | None = None) -> None:
        host, port = house.address
        self.connection = HTTPSConnection(host, port, context=context or house.client, timeout=60)
        house.machines.append(self)

    def post(self, path: str, text: str | bytes, **headers: str) -> HTTPResponse:
        data = text if isinstance(text, bytes) else b"\xff\xfe" + text.encode("utf-16-le")
        given = {"Content-Type": "application/soap+xml;charset=UTF-16", "User-Agent": "Microsoft WinRM Client"}
        self.connection.request("POST", path, data, {**given, **{k.replace("_", "-"): v for k, v in headers.items()}})
        answer = self.connection.getresponse()
        self.said = answer.read()
        return answer

    def ask(self, path: str, text: str, status: int = 200) -> Element:
        answer = self.post(path, text)
        assert answer.status == status, self.said
        assert answer.headers["Content-Type"] == "application/soap+xml;charset=UTF-16"
        root = fromstring(self.said.decode("utf-16"))
        assert f"<a:MessageID>{root.findtext(f'{SOAP}Header/{A}RelatesTo')}</a:MessageID>" in text
        return root

    def subscribe(self) -> Element:
        """The envelope that the collector has for it."""
        root = self.ask(MANAGER, enumerate_())
        (found,) = [e for e in root.iter(f"{SOAP}Envelope") if e is not root]
        return found

    def send(self, *texts: str, mark: str = "", raw: str = "") -> str:
        """A batch; gives the action of the answer."""
        text = batch(wef_id(), *texts, mark=mark, raw=raw)
        return self.ask(f"/wsman/subscriptions/{wef_id()}", text).findtext(f"{SOAP}Header/{A}Action") or ""


def wef_id() -> str:
    return subscription_of(WefSettings()).id


@dataclass
class House:
    folder: Path
    certificates: Certificates
    rig: Rig = field(init=False)
    machines: list[Machine] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = ssl.create_default_context(cafile=str(self.certificates.ca))
        issued = authority().issue_cert(common_name=MACHINE)
        issued.configure_cert(self.client)
        self.open()

    def open(self) -> None:
        self.rig = Rig(self.folder / "rig")
        bookmarks = Bookmarks(self.folder / "wef.msgpack")
        self.rig.intake.memories.append(bookmarks)
        self.rig.start()
        tls = server_tls(self.certificates.cert, self.certificates.key, self.certificates.ca)
        self.receiver = WefReceiver(
            self.rig.intake,
            port=0,
            tls=tls,
            subscription=subscription_of(WefSettings()),
            bookmarks=bookmarks,
            limits=LIMITS,
        )
        self.address = self.receiver.start()

    def errors(self) -> int:
        return sum(s.errors for s in self.rig.intake.sources())

    def users(self) -> list[str]:
        return sorted(r["TargetUserName"] for r in self.rig.rows("SecurityEvent"))


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[House]:
    made = House(folder, Certificates(folder / "tls"))
    try:
        yield made
    finally:
        for machine in made.machines:
            machine.connection.close()
        made.receiver.stop()
        made.rig.close()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """For what only has to be refused."""
    with opened(tmp_path_factory.mktemp("wef")) as made:
        yield made


def test_a_machine_subscribes_sends_and_goes_on_after_a_crash(house: House) -> None:
    machine = Machine(house)
    assert machine.post(MANAGER, b"").status == 200  # it asks first whether it is let in
    found = machine.subscribe()
    address = found.findtext(f".//{E}NotifyTo/{A}Address") or ""
    host, port = house.address
    assert address == f"https://{host}:{port}/wsman/subscriptions/{wef_id()}"
    options = {o.get("Name"): o.text for o in found.iter(f"{W}Option")}
    assert "Compression" not in options
    assert options["ContentFormat"] == "Raw"
    authority_der = ssl.PEM_cert_to_DER_cert(authority().cert_pem.bytes().decode())
    thumbprint = found.findtext(".//{http://schemas.microsoft.com/wbem/wsman/1/authentication}Thumbprint")
    assert thumbprint == hashlib.sha1(authority_der, usedforsecurity=False).hexdigest()
    assert "Microsoft-Windows-Sysmon/Operational" in [s.get("Path") for s in found.iter("Select")]
    assert found.find(f".//{W}Bookmark") is None

    heartbeat = envelope(
        wsman.HEARTBEAT, "<w:Events></w:Events>", f"<e:Identifier>{wef_id()}</e:Identifier><w:AckRequested/>"
    )
    path = f"/wsman/subscriptions/{wef_id()}"
    watch = house.rig.intake.watch
    assert watch.fact("wef", MACHINE) is None
    assert machine.ask(path, heartbeat).findtext(f"{SOAP}Header/{A}Action") == wsman.ACK
    alive = watch.fact("wef", MACHINE)
    assert alive is not None
    assert alive.events == 0
    assert machine.ask(path, heartbeat).findtext(f"{SOAP}Header/{A}Action") == wsman.ACK
    later = watch.fact("wef", MACHINE)
    assert later is not None
    assert alive.first == later.first <= alive.last < later.last
    assert (
        machine.send(event(1), event(2, "bob & <co>".replace("&", "&amp;").replace("<", "&lt;")), mark=bookmark(2))
        == wsman.ACK
    )
    # Its answer was lost: the same batch on another connection is recognised, and acknowledged.
    assert Machine(house).send(event(1), event(2, "bob &amp; &lt;co>"), mark=bookmark(2)) == wsman.ACK
    assert machine.send(event(3, "cy"), mark=bookmark(3)) == wsman.ACK
    house.rig.wait("SecurityEvent", 3)
    assert house.users() == ["ann", "bob & <co>", "cy"]
    kinds = {(s.kind, s.name): s.events for s in house.rig.intake.sources() if s.events}
    assert kinds == {("wef", MACHINE): 3}

    house.receiver.stop()
    house.rig.crash()
    house.open()
    machine = Machine(house)
    mark = machine.subscribe().find(f".//{W}Bookmark")
    assert mark is not None
    assert 'RecordId="3"' in tostring(mark, "unicode")
    assert machine.send(event(3, "cy"), mark=bookmark(3)) == wsman.ACK
    assert machine.send(event(4, "dee"), mark=bookmark(4)) == wsman.ACK
    house.rig.wait("SecurityEvent", 4)
    assert house.users() == ["ann", "bob & <co>", "cy", "dee"]
    # Bookmarks outlive the log.
    house.rig.lake.roll()
    house.receiver.stop()
    house.rig.close()
    house.open()
    assert 'RecordId="4"' in tostring(Machine(house).subscribe(), "unicode")
    end = envelope(wsman.END)
    assert Machine(house).post(MANAGER, b"\xff\xfe" + end.encode("utf-16-le"), Content_Encoding="SLDC").status == 204


def test_events_of_every_form_are_kept(house: House) -> None:
    machine = Machine(house)
    nested = f'<w:Event Action="x">{event(5, "nested")}</w:Event><w:DroppedEvents Action="y">12</w:DroppedEvents>'
    errors = house.errors()
    assert machine.send(event(1, "a\x05b"), "no event at all", raw=nested, mark=bookmark(5)) == wsman.ACK
    house.rig.wait("SecurityEvent", 2)
    assert house.users() == ["a\ufffdb", "nested"]
    until(lambda: len(house.rig.rows("Unparsed_CL")) == 1)
    assert house.errors() == errors + 1  # what the machine left out is told
    # In UTF-8 as well, and with an empty batch.
    plain = batch(wef_id(), event(6, "utf8")).encode()
    assert (
        machine.post(
            f"/wsman/subscriptions/{wef_id()}", plain, Content_Type="application/soap+xml;charset=utf-8"
        ).status
        == 200
    )
    assert machine.send() == wsman.ACK
    house.rig.wait("SecurityEvent", 3)


DOCTYPE = '<!DOCTYPE x [<!ENTITY a "b">]>' + enumerate_()
UNKNOWN = "<x:Odd xmlns:x='urn:x' xmlns:s='http://www.w3.org/2003/05/soap-envelope' s:mustUnderstand='true'/>"
SENT = "/wsman/subscriptions/{id}"
BAD: dict[str, tuple[int, str, str | bytes, dict[str, str]]] = {
    "Kerberos": (401, MANAGER, enumerate_(), {"Authorization": "Kerberos YII="}),
    "a sealed message": (415, MANAGER, b"x", {"Content_Type": 'multipart/encrypted;protocol="application/HTTP-Kerberos-session-encrypted"'}),
    "compression": (415, SENT, b"\xff\xab\xfd", {"Content_Encoding": "SLDC"}),
    "another media type": (415, MANAGER, b"{}", {"Content_Type": "application/json"}),
    "another path": (404, "/services/collector", enumerate_(), {}),
    "another subscription": (404, "/wsman/subscriptions/0", batch("0", event(1)), {}),
    "garbage": (400, MANAGER, b"garbage", {}),
    "an unknown charset": (400, MANAGER, b"<a/>", {"Content_Type": "application/soap+xml;charset=x-odd"}),
    "a document type": (400, MANAGER, DOCTYPE, {}),
    "no envelope": (400, MANAGER, "<a/>", {}),
    "half a message": (400, SENT, batch("0", event(1))[:-40], {}),
    "no action": (500, MANAGER, enumerate_().replace("a:Action", "a:Other"), {}),
    "an unknown action": (500, SENT, envelope("urn:x"), {}),
    "an enumeration elsewhere": (500, SENT, enumerate_(), {}),
    "an unknown header": (500, MANAGER, envelope(wsman.ENUMERATE, header=UNKNOWN), {}),
    "no events": (500, SENT, envelope(wsman.EVENTS), {}),
    "a long bookmark": (500, SENT, batch("0", mark="x" * 70_000).replace("\n", ""), {}),
    "oversize": (413, SENT, b"\xff\xfe" + b"x\0" * (1 << 16), {}),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_answered_and_told(shared: House, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    status, path, text, headers = BAD[what]
    errors = shared.errors()
    if what == "a long bookmark":
        text = text.encode() if isinstance(text, str) else text
        monkeypatch.setattr(shared.receiver, "limits", StreamLimits(frame_bytes=1 << 18))
        headers = {"Content_Type": "application/soap+xml;charset=utf-8"}
    machine = Machine(shared)
    assert machine.post(path.format(id=wef_id()), text, **headers).status == status
    if status == 500:
        said = fromstring(machine.said.decode("utf-16"))
        assert said.findtext(f".//{SOAP}Subcode/{SOAP}Value")
        assert said.findtext(f".//{SOAP}Reason/{SOAP}Text")
    else:
        assert machine.said.decode()
    until(lambda: shared.errors() == errors + 1)
    before = len(shared.users())
    assert Machine(shared).send(event(before, "good"), mark=bookmark(before)) == wsman.ACK
    until(lambda: len(shared.users()) == before + 1)


def test_who_shows_no_certificate_of_the_authority_is_refused(shared: House) -> None:
    other = ssl.create_default_context(cafile=str(shared.certificates.ca))
    trustme.CA().issue_cert(common_name="evil").configure_cert(other)
    for context in (ssl.create_default_context(cafile=str(shared.certificates.ca)), other):
        errors = shared.errors()
        with pytest.raises((OSError, ssl.SSLError)):
            Machine(shared, context).post(MANAGER, enumerate_())
        until(lambda errors=errors: shared.errors() > errors)  # type: ignore[misc]
    for junk in (b"POST / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b""):
        errors = shared.errors()
        with socket.create_connection(shared.address, 60) as sock, contextlib.suppress(ConnectionError):
            sock.sendall(junk)
            while sock.recv(1000):
                pass
        until(lambda errors=errors: shared.errors() > errors)  # type: ignore[misc]


def test_halves_and_what_isnt_http(shared: House) -> None:
    head = f"POST {MANAGER} HTTP/1.1\r\nHost: x\r\nContent-Type: application/soap+xml\r\nContent-Length: 999\r\n\r\n".encode()
    for data, answer in (
        (head + b"half", b""),
        (b"nonsense\r\n\r\n", b"HTTP/1.1 400"),
        (b"POST " + b"x" * 70_000, b"HTTP/1.1 4"),
    ):
        errors = shared.errors()
        with (
            socket.create_connection(shared.address, 60) as raw,
            shared.client.wrap_socket(raw, server_hostname="127.0.0.1") as sock,
        ):
            sock.settimeout(60)
            sock.sendall(data)
            said = b""
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                while more := sock.recv(1000):
                    said += more
        assert said.startswith(answer)
        until(lambda errors=errors: shared.errors() == errors + 1)  # type: ignore[misc]


def test_a_full_intake_sends_machines_away_and_loses_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    submit = house.rig.intake.submit

    def full(bodies: Any) -> Any:
        raise IntakeBusyError("full")

    monkeypatch.setattr(wef, "_PATIENCE", 0.1)
    monkeypatch.setattr(house.rig.intake, "submit", full)
    machine = Machine(house)
    answer = machine.post(f"/wsman/subscriptions/{wef_id()}", batch(wef_id(), event(1), mark=bookmark(1)))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
    assert machine.subscribe().find(f".//{W}Bookmark") is None
    monkeypatch.setattr(house.rig.intake, "submit", submit)
    assert machine.send(event(1), mark=bookmark(1)) == wsman.ACK
    house.rig.wait("SecurityEvent", 1)


def test_a_replayed_letter_moves_no_bookmark() -> None:
    marks = Bookmarks()
    meta = {"token": MACHINE, "subscription": "s", "bookmark": "new"}
    marks.taken(Body("wef", b"", datetime.now(UTC), meta))
    marks.taken(Body("wef", b"", datetime.now(UTC), {**meta, "bookmark": "old", "letter": "l"}))
    assert marks.get(MACHINE, "s") == "new"


def test_settings_that_cant_be_used_are_named(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path / "tls")
    with pytest.raises(IngestError, match="certificates") as error:
        WefReceiver(None, tls=certificates.server(), subscription=subscription_of(WefSettings()))  # type: ignore[arg-type]
    assert "ingest.wef.client_ca" in error.value.hint
    query = tmp_path / "query.xml"
    for text in ("<QueryList>", "<a/>", "<QueryList><Query/></QueryList>"):
        query.write_text(text)
        with pytest.raises(IngestError) as error:
            subscription_of(WefSettings(query=query))
        assert "ingest.wef.query" in error.value.hint
    query.write_text("<QueryList><Query><Select Path='Security'>*[System[EventID=4688]]</Select></Query></QueryList>")
    chosen = subscription_of(WefSettings(query=query))
    assert chosen.id == subscription_of(WefSettings()).id
    assert chosen.version != subscription_of(WefSettings()).version


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_many_leave_nothing(shared: House) -> None:
    cases = list(BAD.values())
    turns = max(1, CONNECTIONS // len(cases) // 4)
    machine = Machine(shared)
    machine.subscribe()  # now the receiver's loop has the handles that it lives with
    for each in shared.machines:  # those of the tests before, too
        each.connection.close()
    until(lambda: shared.receiver.connections == 0)
    before, grown = len(sockets()), [resident()]

    def hammer() -> None:
        for _ in range(turns):
            for _, path, text, headers in cases:
                machine = Machine(shared)
                with contextlib.suppress(OSError, HTTPException):
                    machine.post(path.format(id=wef_id()), text, **headers)
                machine.connection.close()
                shared.machines.remove(machine)

    for _ in range(2):
        threads = [threading.Thread(target=hammer) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        grown.append(resident())
    until(lambda: len(sockets()) <= before, 60, lambda: f"{len(sockets())} are open, {before} were")
    if CONNECTIONS > 1000:
        print(
            f"wef: {turns * 4 * len(cases)} connections, +{grown[1] - grown[0] >> 20} and +{grown[2] - grown[1] >> 20} MiB"
        )
    assert grown[2] - grown[1] < 60 << 20
    assert Machine(shared).send(event(0, "last"), mark=bookmark(0)) == wsman.ACK
    assert len(shared.rig.rows(DEAD_LETTERS)) == 0
