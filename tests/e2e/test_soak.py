"""The small form of `make soak`: numbered events through a kill of the real server, by protocols that acknowledge."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.soak import Soak

PROTOCOLS = ("hec", "gelf", "elastic", "azure", "otlp", "loki", "fluent", "wef", "beats")


@pytest.mark.slow
def test_what_is_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    soak = Soak(tmp_path, 300, 1, only=PROTOCOLS)
    figures = {f.sender.name: f for f in soak.run()}
    assert [s.failed for s in soak.senders if s.failed] == []
    assert {name: (f.sender.acknowledged, f.present) for name, f in figures.items()} == dict.fromkeys(
        PROTOCOLS, (300, 300)
    )
    assert {name: f.doubled for name, f in figures.items() if f.sender.promise.once} == dict.fromkeys(PROTOCOLS[:-1], 0)
