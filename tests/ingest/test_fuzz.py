"""What reads bytes from the network: what the fuzzer found, for ever, and each decoder over its seeds and a few hundred mutants of them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.ingest.fuzz import targets
from tests.ingest.fuzz.doors import FindingError, Kept
from tests.ingest.fuzz.targets import TARGETS, Target

FINDINGS = sorted((Path(__file__).parent / "fuzz" / "findings").glob("[!.]*.*"))
MUTANTS = 120


@pytest.mark.parametrize("path", FINDINGS, ids=lambda p: p.name)
def test_a_finding_stays_fixed(path: Path) -> None:
    TARGETS[path.name.split(".", 1)[0]].check(path.read_bytes())


def mutant(seed: bytes, chance: random.Random) -> bytes:
    data = bytearray(seed)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(data) + 1)
        change = chance.randrange(5)
        if change == 0:
            data[at:at] = chance.randbytes(chance.randrange(1, 5))
        elif change == 1:
            del data[at : at + chance.randrange(1, 20)]
        elif change == 2 and at < len(data):
            data[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, data[at] ^ 1))
        elif change == 3:
            data[at:at] = data[at : at + 30]
        else:
            del data[at:]
    return bytes(data) or b"\0"


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda t: t.name)
def test_mutants_are_answered_or_refused(target: Target) -> None:
    seeds = target.seeds()
    taken = [target.check(seed) for seed in seeds]
    assert any(word in ("rows", "whole", "EOFError", "200", "202", "204") for word in taken), taken
    chance = random.Random(target.name)
    for _ in range(MUTANTS):
        target.check(mutant(chance.choice(seeds), chance))


def test_a_broken_promise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception of a decoder, a body that comes to nothing, an answer that isn't the protocol's, a framing that depends on the pieces."""
    seed = TARGETS["forward"].seeds()[0]
    with monkeypatch.context() as patch:
        patch.setattr("tocsin.ingest.receivers.fluent.read_message", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            TARGETS["forward"].check(seed)
    with monkeypatch.context() as patch:
        patch.setattr("tests.ingest.fuzz.doors.decode_body", lambda *_, **__: iter(()))
        with pytest.raises(FindingError, match="nothing"):
            TARGETS["jsonl"].check(TARGETS["jsonl"].seeds()[0])
    with monkeypatch.context() as patch:
        patch.setattr("tocsin.ingest.receivers.relp._OFFER", b"200 OK")
        with pytest.raises(FindingError, match="answered"):
            TARGETS["relp"].check(TARGETS["relp"].seeds()[0])
    with monkeypatch.context() as patch:
        patch.setattr(targets.SyslogFramer, "rest", lambda _: b"")
        patch.setattr(targets, "chunks", lambda data, size: [data[size:]])
        with pytest.raises(FindingError, match="pieces"):
            TARGETS["syslog-framing"].check(TARGETS["syslog-framing"].seeds()[1])
    assert Kept().requests.begin("x") is None
