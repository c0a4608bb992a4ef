"""nftables, as far as we use it: a table of our own with two sets of blocked addresses.

Everything lies in ``table inet tocsin``: nobody else's rules are read or touched, and ``nft delete table inet tocsin`` takes all of it away.
A dropped packet is final whatever other tables say; an accept elsewhere is not. Elements have time-outs, so that the kernel itself ends a
block, also when Tocsin doesn't run.
"""

from __future__ import annotations

import ipaddress
import json
import shutil
import subprocess
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from tocsin.base.http import Address
from tocsin.respond.errors import NotAbleError
from tocsin.respond.kind import Able

__all__ = ["TABLE", "Nft"]

TABLE = "tocsin"
FAMILY = "inet"
_PRIORITY = -10
"""Before the usual filter priority 0, so that our counters see a packet before others drop it."""

_CAP_NET_ADMIN = 12


class Nft:
    """Our table, through the program `nft` with JSON in and out."""

    def __init__(self, command: Sequence[str] = ()) -> None:
        self._command = tuple(command)

    # ------------------------------------------------------------------------------------------ looking

    def able(self) -> Able:
        """Whether blocking works here: tried by a check-only run of the set-up itself, which the kernel judges but doesn't apply."""
        if shutil.which(self._command[0] if self._command else "nft") is None:
            what = f"The program {self._command[0]}" if self._command else "nftables' program nft"
            return Able(False, f"{what} is not installed (on Debian: apt install nftables).")
        try:
            self._run(_set_up(), check_only=True)
        except NotAbleError as error:
            return Able(False, self._why(error.message))
        return Able(True)

    def _why(self, said: str) -> str:
        if "not permitted" in said and not self._command and not _has_net_admin():
            return (
                "Tocsin runs without the right to change this host's network (CAP_NET_ADMIN). Start it as root, or give the service "
                "AmbientCapabilities=CAP_NET_ADMIN, or set respond.block.command to `sudo -n`."
            )
        return f"nftables refuses: {said}"

    def remaining(self, address: Address) -> timedelta | None:
        """How long the address stays blocked; timedelta.max without end, None when it isn't blocked."""
        try:
            found = self._run([{"list": {"set": {"family": FAMILY, "table": TABLE, "name": _set_of(address)}}}])
        except NotAbleError:
            return None  # no such set: nothing is blocked
        for entry in found.get("nftables", ()):
            for element in entry.get("set", {}).get("elem", ()):
                held = element["elem"] if isinstance(element, dict) and "elem" in element else {"val": element}
                if _same(held["val"], address):
                    return timedelta(seconds=held["expires"]) if "expires" in held else timedelta.max
        return None

    # ------------------------------------------------------------------------------------------ doing

    def block(self, address: Address, duration: timedelta) -> None:
        """Sets up what is missing and blocks the address for that long from now, in one transaction of the kernel."""
        seconds = max(1, round(duration.total_seconds()))
        element = _element(address, seconds)
        # Adding an element that is there keeps its old time-out; so it is added (if missing), deleted and added anew.
        self._run([*_set_up(), {"add": element}, {"delete": _element(address)}, {"add": element}])

    def unblock(self, address: Address) -> bool:
        """Takes the address out of the set; False when it wasn't in it."""
        if self.remaining(address) is None:
            return False
        self._run([{"delete": _element(address)}])
        return True

    def _run(self, commands: Sequence[dict[str, Any]], *, check_only: bool = False) -> dict[str, Any]:
        words = [*self._command, "nft", *(["-c"] if check_only else []), "-j", "-f", "-"]
        try:
            done = subprocess.run(  # noqa: S603 - words of ours and of settings; addresses are validated and travel in JSON
                words,
                input=json.dumps({"nftables": list(commands)}),
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotAbleError(f"nft can't be run: {error}") from error
        if done.returncode != 0:
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            said = next(
                (line for line in lines if "rror" in line or "not permitted" in line),
                lines[0] if lines else "no reason given",
            )
            raise NotAbleError(said[:300])
        try:
            answer = json.loads(done.stdout) if done.stdout.strip() else {}
        except ValueError as error:
            raise NotAbleError("nft's answer is not JSON.") from error
        return answer if isinstance(answer, dict) else {}


def _set_of(address: Address) -> str:
    return f"blocked{address.version}"


def _element(address: Address, seconds: int | None = None) -> dict[str, Any]:
    value: Any = str(address)
    if seconds is not None:
        value = {"elem": {"val": str(address), "timeout": seconds}}
    return {"element": {"family": FAMILY, "table": TABLE, "name": _set_of(address), "elem": [value]}}


def _same(value: Any, address: Address) -> bool:
    try:
        return ipaddress.ip_address(value) == address
    except ValueError:
        return False


def _set_up() -> list[dict[str, Any]]:
    """The table, sets, chains and rules. Adding what exists does nothing; rules are flushed and written anew, elements stay."""
    of = {"family": FAMILY, "table": TABLE}
    made: list[dict[str, Any]] = [{"add": {"table": {"family": FAMILY, "name": TABLE}}}]
    made += [
        {"add": {"set": {**of, "name": f"blocked{v}", "type": f"ipv{v}_addr", "flags": ["timeout"]}}} for v in (4, 6)
    ]
    for hook in ("input", "output", "forward"):
        chain = {**of, "name": hook, "type": "filter", "hook": hook, "prio": _PRIORITY, "policy": "accept"}
        made += [{"add": {"chain": chain}}, {"flush": {"chain": {**of, "name": hook}}}]
        sides = {"input": ("saddr",), "output": ("daddr",), "forward": ("saddr", "daddr")}[hook]
        for version in (4, 6):
            for side in sides:
                field = {"payload": {"protocol": "ip" if version == 4 else "ip6", "field": side}}
                match = {"match": {"op": "==", "left": field, "right": f"@blocked{version}"}}
                made.append(
                    {"add": {"rule": {**of, "chain": hook, "expr": [match, {"counter": None}, {"drop": None}]}}}
                )
    return made


def _has_net_admin() -> bool:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return False
    line = next((line for line in status.splitlines() if line.startswith("CapEff:")), "")
    return bool(int(line.split()[1], 16) >> _CAP_NET_ADMIN & 1) if line else False
