"""Ports for servers that are to be found at the same place after a restart."""

from __future__ import annotations

import random
import socket
from pathlib import Path

__all__ = ["free_port"]

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """A TCP port that nobody has, below those that the system gives to whoever connects or asks for any.

    One of the system's own would go to somebody else while the server is down: to any connection on the machine, and even to a client that tries
    again and again to connect to it, which TCP then connects to itself.
    """
    try:
        first = int(_RANGE.read_text().split()[0])
    except (OSError, ValueError):
        first = 32768
    for port in random.sample(range(min(10_000, first - 1_000), first), 1_000):
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
