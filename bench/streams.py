"""The recorded streams that detection is measured on: lines as they were sent, in the order of their files."""

from __future__ import annotations

import random
import re
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import orjson

OTRF = Path("../shared/data/otrf")
_CREATION = re.compile(rb'"(CommandLine|ParentCommandLine)":\s*"')
_CHANNEL = re.compile(rb'"Channel":\s*"([^"]*)"')
_EVENT = re.compile(rb'"EventID":\s*"?(\d+)')
SYSMON, SECURITY = b"Microsoft-Windows-Sysmon/Operational", b"Security"


def bodies(folder: Path = OTRF) -> Iterator[bytes]:
    """Every JSON member of the archives below a folder."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive:
                for name in sorted(archive.namelist()):
                    if name.endswith((".json", ".log")):
                        yield archive.read(name)
        elif path.name.endswith((".tar.gz", ".tgz")):
            with tarfile.open(path) as tar:
                for member in tar:
                    file = tar.extractfile(member)
                    if file is not None and member.name.endswith((".json", ".log")):
                        yield file.read()


def unrepeated(channel: bytes, folder: Path = OTRF, most: int = 10_000_000) -> list[bytes]:
    """The lines of a channel that aren't byte by byte the same as an earlier one."""
    seen: set[int] = set()
    found: list[bytes] = []
    for body in bodies(folder):
        for line in body.split(b"\n"):
            named = _CHANNEL.search(line)
            if named is None or named[1] != channel or hash(line) in seen:
                continue
            seen.add(hash(line))
            found.append(line)
            if len(found) >= most:
                return found
    return found


def unique_command_lines(lines: list[bytes], count: int) -> list[bytes]:
    """Process creations drawn from the lines, each with command lines of its own: the worst stream that a sender can choose."""
    chance = random.Random(1)
    wanted = {(SYSMON, b"1"), (SECURITY, b"4688")}
    kept = [
        line
        for line in lines
        if (c := _CHANNEL.search(line))
        and (e := _EVENT.search(line))
        and (c[1], e[1]) in wanted
        and _CREATION.search(line)
    ]
    found = []
    for _ in range(count):
        line = chance.choice(kept)
        mark = f"{chance.randrange(10**9):x} ".encode()
        found.append(_CREATION.sub(lambda m, mark=mark: m[0] + mark, line))
    assert all(orjson.loads(line) for line in found[:100])
    return found
