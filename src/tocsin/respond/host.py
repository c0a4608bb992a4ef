"""What this host is on the network: its own addresses and its gateways, read from the kernel's files.

No program is needed for that. With command words before it (`ip netns exec NAME`) the files are read inside that namespace.
"""

from __future__ import annotations

import ipaddress
import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tocsin.base.http import Address

__all__ = ["addresses_of_host", "gateways_of_host"]


def addresses_of_host(command: Sequence[str] = ()) -> set[Address]:
    """The addresses that are this host's own."""
    found: set[Address] = set(_local_v4(_read("/proc/net/fib_trie", command)))
    for line in _read("/proc/net/if_inet6", command).splitlines():
        found.add(ipaddress.IPv6Address(bytes.fromhex(line.split()[0])))
    return found


def gateways_of_host(command: Sequence[str] = ()) -> set[Address]:
    """The next hops of this host's routes: to block one would cut it off."""
    found: set[Address] = set()
    for line in _read("/proc/net/route", command).splitlines()[1:]:
        fields = line.split("\t")
        if len(fields) > 3 and int(fields[3], 16) & 0x2:  # RTF_GATEWAY
            found.add(ipaddress.IPv4Address(struct.pack("<L", int(fields[2], 16))))
    for line in _read("/proc/net/ipv6_route", command).splitlines():
        fields = line.split()
        if len(fields) > 8 and int(fields[8], 16) & 0x2:
            found.add(ipaddress.IPv6Address(bytes.fromhex(fields[4])))
    return found


def _local_v4(trie: str) -> Iterator[ipaddress.IPv4Address]:
    """Leaves of the trie that are followed by ``/32 host LOCAL``."""
    leaf = ""
    for line in trie.splitlines():
        text = line.strip()
        if text.startswith("|-- "):
            leaf = text[4:]
        elif text == "/32 host LOCAL":
            yield ipaddress.IPv4Address(leaf)


def _read(path: str, command: Sequence[str]) -> str:
    try:
        if not command:
            return Path(path).read_text()
        done = subprocess.run(  # noqa: S603 - the command comes from settings, the path from here
            [*command, "cat", path], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""  # no IPv6, or not Linux: nothing to protect there
    return done.stdout if done.returncode == 0 else ""
