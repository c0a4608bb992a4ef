"""Blocking an address: what is refused, and, in a network namespace of its own, a real connection that dies and lives again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from tests.respond.conftest import REMO, RESA
from tocsin.base.clock import SystemClock
from tocsin.incidents.desk import IncidentDesk
from tocsin.respond import BadInputError, BlockSettings, Gate, NotAbleError
from tocsin.respond.actions.block_address import BlockAddress, BlockAddressInput
from tocsin.respond.host import addresses_of_host, gateways_of_host
from tocsin.state import State


class TestInput:
    @pytest.mark.parametrize(
        ("given", "canonical"),
        [
            ("203.0.113.7", "203.0.113.7"),
            (" 2001:DB8::1 ", "2001:db8::1"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
        ],
    )
    def test_addresses_are_canonical(self, given: str, canonical: str) -> None:
        assert BlockAddressInput(address=given).address == canonical

    @pytest.mark.parametrize(
        "given",
        [
            "",
            "x",
            "203.0.113.0/24",
            "203.0.113.7; flush ruleset",
            "fe80::1%eth0",
            "1",
            "203.0.113.7\n",
            "0x7f000001",
            "203.0.113.007",
        ],
    )
    def test_anything_else_is_no_address(self, given: str) -> None:
        if given == "203.0.113.7\n":
            assert BlockAddressInput(address=given).address == "203.0.113.7"
            return
        with pytest.raises(ValueError):
            BlockAddressInput(address=given)

    @pytest.mark.parametrize(
        "address",
        [
            "127.0.0.1",
            "127.8.8.8",
            "::1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "fe80::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
        ],
    )
    def test_what_is_no_other_host_is_refused(self, address: str) -> None:
        with pytest.raises(BadInputError):
            BlockAddress().check(BlockAddressInput(address=address))

    def test_settings_protect_networks(self) -> None:
        kind = BlockAddress(BlockSettings(never=("10.0.0.0/8", "2001:db8::/32", "192.0.2.1")))
        for address in ("10.1.2.3", "2001:db8::5", "192.0.2.1", "::ffff:10.0.0.1"):
            with pytest.raises(BadInputError, match="never be blocked"):
                kind.check(BlockAddressInput(address=address))
        kind.check(BlockAddressInput(address="203.0.113.7"))

    def test_the_longest_time(self) -> None:
        kind = BlockAddress(BlockSettings(longest=timedelta(hours=1)))
        with pytest.raises(BadInputError, match="60 minutes at most"):
            kind.check(BlockAddressInput(address="203.0.113.7", duration=timedelta(hours=2)))

    def test_own_addresses_are_refused(self) -> None:
        own = addresses_of_host()
        assert any(a.is_loopback for a in own)
        for address in own:
            if not address.is_loopback and not address.is_link_local:
                with pytest.raises(BadInputError, match="own address"):
                    BlockAddress().check(BlockAddressInput(address=str(address)))

    def test_what_will_happen_is_said(self) -> None:
        title, summary = BlockAddress().describe(BlockAddressInput(address="203.0.113.7", reason="C2"))
        assert title == "Block 203.0.113.7"
        assert summary == "This host drops every packet from and to 203.0.113.7 for 24 hours. Reason: C2"


class TestAble:
    def test_without_the_program_it_says_so(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        able = BlockAddress().able()
        assert not able.able
        assert "apt install nftables" in able.reason

    @pytest.mark.system
    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
    @pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed (apt install nftables)")
    @pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
    def test_without_the_right_it_says_so(self) -> None:
        """As a user without rights, in a process of its own: the kernel's own refusal, not a look at the user id."""
        script = "from tocsin.respond.nft import Nft; a = Nft().able(); print(a.able, a.reason)"
        done = subprocess.run(
            ["setpriv", "--inh-caps=-all", "--bounding-set=-all", "--", sys.executable, "-c", script],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.stdout.startswith("False "), done.stderr
        assert "CAP_NET_ADMIN" in done.stdout

    def test_a_prefix_that_is_not_there(self) -> None:
        able = BlockAddress(BlockSettings(command=("no-such-program",))).able()
        assert not able.able
        assert "no-such-program" in able.reason


# --------------------------------------------------------------------------------------------------- for real


@dataclass(frozen=True)
class Pair:
    """Two namespaces joined by a cable: `host`, where Tocsin acts, and `far`, the attacker's machine."""

    host: str
    far: str
    host_address: str = "203.0.113.1"
    far_address: str = "203.0.113.7"
    host_address6: str = "2001:db8:77::1"
    far_address6: str = "2001:db8:77::7"

    @property
    def command(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.host)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


@pytest.fixture
def pair() -> Iterator[Pair]:
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes network namespaces")
    for program, package in (("nft", "nftables"), ("ip", "iproute2")):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (apt install {package})")
    made = Pair(f"tocsin-h{os.getpid()}", f"tocsin-f{os.getpid()}")
    try:
        ip("netns", "add", made.host)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"network namespaces can't be made here: {error.stderr.decode().strip()}")
    try:
        ip("netns", "add", made.far)
        ip("link", "add", "th0", "netns", made.host, "type", "veth", "peer", "name", "tf0", "netns", made.far)
        for namespace, link, v4, v6 in (
            (made.host, "th0", made.host_address, made.host_address6),
            (made.far, "tf0", made.far_address, made.far_address6),
        ):
            ip("-n", namespace, "addr", "add", f"{v4}/24", "dev", link)
            ip("-n", namespace, "addr", "add", f"{v6}/64", "dev", link, "nodad")
            ip("-n", namespace, "link", "set", "lo", "up")
            ip("-n", namespace, "link", "set", link, "up")
        ip("-n", made.host, "route", "add", "default", "via", "203.0.113.254")
        yield made
    finally:
        for namespace in (made.host, made.far):
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True, timeout=20)


ECHO = """
import socket, sys, threading
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
server = socket.create_server((sys.argv[1], 7777), family=family)
print("ready", flush=True)
def serve(c):
    while data := c.recv(100):
        c.sendall(data)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""

CLIENT = """
import socket, sys
connection = socket.create_connection((sys.argv[1], 7777), 5)
print("connected", flush=True)
for line in sys.stdin:
    connection.settimeout(float(line))
    try:
        connection.sendall(b"ping")
        print(connection.recv(100).decode()[:4] or "closed", flush=True)
    except OSError as error:
        print(type(error).__name__, flush=True)
"""


class Talk:
    """A TCP connection from the far machine to a service on the host, held open."""

    def __init__(self, pair: Pair, address: str) -> None:
        def start(namespace: str, code: str) -> subprocess.Popen[str]:
            return subprocess.Popen(
                ["ip", "netns", "exec", namespace, sys.executable, "-c", textwrap.dedent(code), address],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip

        self._server = start(pair.host, ECHO)
        assert self._line(self._server) == "ready"
        self._client = start(pair.far, CLIENT)
        assert self._line(self._client) == "connected"

    def ping(self, seconds: float = 1.0) -> bool:
        """Whether an answer comes back within that time."""
        assert self._client.stdin is not None
        self._client.stdin.write(f"{seconds}\n")
        self._client.stdin.flush()
        return self._line(self._client) == "ping"

    def lives_again(self, within: float = 15.0) -> bool:
        """TCP itself sends again what was dropped; how soon, its timers decide."""
        ends = time.monotonic() + within
        while time.monotonic() < ends:
            if self.ping(1.0):
                return True
        return False

    @staticmethod
    def _line(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline().strip()

    def close(self) -> None:
        for process in (self._client, self._server):
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                stream.close()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[State]:
    opened = State.open(tmp_path / "live.db", clock=SystemClock())
    yield opened
    opened.close()


@pytest.fixture
def gate(live: State, pair: Pair) -> Gate:
    return Gate(live, IncidentDesk(live), [BlockAddress(BlockSettings(command=pair.command))])


def nft(pair: Pair, *words: str) -> str:
    return subprocess.run([*pair.command, "nft", *words], capture_output=True, text=True, check=True, timeout=20).stdout


@pytest.fixture(params=[4, 6])
def talk(request: pytest.FixtureRequest, pair: Pair) -> Iterator[tuple[Talk, str]]:
    v4 = request.param == 4
    made = Talk(pair, pair.host_address if v4 else pair.host_address6)
    yield made, pair.far_address if v4 else pair.far_address6
    made.close()


@pytest.mark.system
class TestForReal:
    def test_a_connection_dies_and_lives_again_after_undo(self, gate: Gate, talk: tuple[Talk, str], pair: Pair) -> None:
        connection, address = talk
        assert connection.ping()
        action = gate.propose("host.block_address", {"address": address, "duration": "PT1H"}, by=RESA)
        assert action["able"] is True, action["able_reason"]
        assert connection.ping(), "a proposal changes nothing"
        done = gate.approve(action["id"], by=REMO)
        assert done["status"] == "Succeeded", done["error"]
        assert not connection.ping()
        undone = gate.undo(action["id"], by=REMO)
        assert undone["status"] == "Undone"
        assert undone["history"][-1]["text"] == f"{address} is no longer blocked."
        assert connection.lives_again()
        assert "drop" in nft(pair, "list", "table", "inet", "tocsin")

    def test_the_kernel_itself_ends_a_block(self, gate: Gate, talk: tuple[Talk, str]) -> None:
        connection, address = talk
        action = gate.propose("host.block_address", {"address": address, "duration": 8}, by=RESA)
        gate.approve(action["id"], by=REMO)
        assert not connection.ping(0.8)
        assert connection.lives_again(60)
        ended = time.monotonic() + 60
        while not gate.tick():
            assert time.monotonic() < ended
            time.sleep(0.1)
        assert gate.get(action["id"])["status"] == "Expired"

    def test_new_connections_are_blocked_both_ways(self, gate: Gate, pair: Pair) -> None:
        action = gate.propose("host.block_address", {"address": pair.far_address}, by=RESA)
        gate.approve(action["id"], by=REMO)
        for namespace, target in ((pair.far, pair.host_address), (pair.host, pair.far_address)):
            code = f"import socket; socket.create_connection(({target!r}, 9), 1)"
            done = subprocess.run(
                ["ip", "netns", "exec", namespace, sys.executable, "-c", code],
                capture_output=True,
                text=True,
                check=False,
                timeout=30,
            )
            assert "TimeoutError" in done.stderr, "dropped, not refused"

    def test_two_actions_on_one_address_keep_out_of_each_other_s_way(self, gate: Gate, pair: Pair) -> None:
        short = gate.propose("host.block_address", {"address": pair.far_address, "duration": "PT10M"}, by=RESA)
        long = gate.propose("host.block_address", {"address": pair.far_address, "duration": "PT2H"}, by=RESA)
        assert short["id"] != long["id"]
        gate.approve(long["id"], by=REMO)
        gate.approve(short["id"], by=REMO)
        assert "1h59m" in nft(pair, "list", "set", "inet", "tocsin", "blocked4"), "the longer one still holds"
        gate.undo(long["id"], by=REMO)
        assert "expires 9m" in nft(pair, "list", "set", "inet", "tocsin", "blocked4"), "the shorter one still holds"
        gate.undo(short["id"], by=REMO)
        assert "203.0.113.7" not in nft(pair, "list", "table", "inet", "tocsin")

    def test_blocking_again_sets_the_time_anew(self, gate: Gate, pair: Pair) -> None:
        for duration in ("PT10M", "PT3H"):
            action = gate.propose("host.block_address", {"address": pair.far_address, "duration": duration}, by=RESA)
            gate.approve(action["id"], by=REMO)
        assert "timeout 3h" in nft(pair, "list", "set", "inet", "tocsin", "blocked4")

    def test_other_rules_are_not_touched(self, gate: Gate, pair: Pair) -> None:
        nft(pair, "add", "table", "inet", "others")
        nft(pair, "add", "chain", "inet", "others", "input", "{ type filter hook input priority 0 ; }")
        nft(pair, "add", "rule", "inet", "others", "input", "ip", "saddr", "192.0.2.0/24", "counter", "accept")
        before = nft(pair, "list", "table", "inet", "others")
        for address in ("203.0.113.8", "203.0.113.9"):
            action = gate.propose("host.block_address", {"address": address}, by=RESA)
            gate.approve(action["id"], by=REMO)
        gate.undo(action["id"], by=REMO)
        assert nft(pair, "list", "table", "inet", "others") == before
        rules = nft(pair, "list", "chain", "inet", "tocsin", "input")
        assert rules.count("drop") == 2, "set up twice, there once"

    def test_a_block_that_the_machine_forgot_holds_again_after_a_start(self, gate: Gate, pair: Pair) -> None:
        action = gate.propose("host.block_address", {"address": pair.far_address, "duration": "PT1H"}, by=RESA)
        gate.approve(action["id"], by=REMO)
        nft(pair, "flush", "ruleset")
        gate.recover()
        assert "expires 59m" in nft(pair, "list", "set", "inet", "tocsin", "blocked4")
        assert gate.get(action["id"])["history"][-1]["event"] == "restored"

    def test_undo_after_somebody_else_removed_it(self, gate: Gate, pair: Pair) -> None:
        action = gate.propose("host.block_address", {"address": pair.far_address}, by=RESA)
        gate.approve(action["id"], by=REMO)
        nft(pair, "delete", "table", "inet", "tocsin")
        undone = gate.undo(action["id"], by=REMO)
        assert undone["status"] == "Undone"
        assert undone["history"][-1]["text"] == "203.0.113.7 was not blocked any more."

    def test_the_namespace_s_own_address_and_gateway_are_refused(self, gate: Gate, pair: Pair) -> None:
        assert {str(a) for a in gateways_of_host(pair.command)} == {"203.0.113.254"}
        for address, why in (
            (pair.host_address, "own address"),
            (pair.host_address6, "own address"),
            ("203.0.113.254", "gateway"),
        ):
            with pytest.raises(BadInputError, match=why):
                gate.propose("host.block_address", {"address": address}, by=RESA)

    def test_the_gateway_of_tomorrow_is_refused_too(self, gate: Gate, pair: Pair) -> None:
        action = gate.propose("host.block_address", {"address": pair.far_address}, by=RESA)
        ip("-n", pair.host, "route", "replace", "default", "via", pair.far_address)
        with pytest.raises(BadInputError, match="gateway"):
            gate.approve(action["id"], by=REMO)
        assert gate.get(action["id"])["status"] == "Proposed"

    def test_a_namespace_that_is_gone_is_said_before_approval(self, live: State) -> None:
        kind = BlockAddress(BlockSettings(command=("ip", "netns", "exec", "tocsin-none")))
        gate = Gate(live, IncidentDesk(live), [kind])
        action = gate.propose("host.block_address", {"address": "203.0.113.7"}, by=RESA)
        assert action["able"] is False
        with pytest.raises(NotAbleError):
            gate.approve(action["id"], by=REMO)
