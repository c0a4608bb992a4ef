"""Kafka with librdkafka's own mock broker, over real sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.ingest.intake_support import Rig, until
from tests.ingest.shipper_support import WINLOGBEAT, packed_rig
from tocsin.base.errors import IngestError
from tocsin.ingest.receivers.kafka import KafkaReceiver

COUNT = 2000
BRIEF = {"session.timeout.ms": "6000"}
"""The mock broker forgets a member that leaves only when its session ends, 45 s as a rule; two that join at once have taken 50 s and more."""


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = packed_rig(tmp_path / "rig").start()
    yield made
    made.close()


@pytest.fixture
def producer() -> Any:
    return Producer({"test.mock.num.brokers": 1, "linger.ms": 5})


def brokers(producer: Producer) -> str:
    producer.list_topics("logs", timeout=60)
    return ",".join(f"{b.host}:{b.port}" for b in producer.list_topics(timeout=60).brokers.values())


def numbers(rig: Rig) -> list[int]:
    return sorted(json.loads(r["RawData"])["n"] for r in rig.rows("Unparsed_CL"))


def committed(address: str) -> int:
    consumer = Consumer({"bootstrap.servers": address, "group.id": "tocsin"})
    topic = consumer.list_topics("logs", timeout=60).topics["logs"]
    found = consumer.committed([TopicPartition("logs", p) for p in topic.partitions], timeout=60)
    consumer.close()
    return sum(max(p.offset, 0) for p in found)


def test_messages_of_every_shape(rig: Rig, producer: Producer) -> None:
    address = brokers(producer)
    receiver = KafkaReceiver(rig.intake, address, ["logs"])
    receiver.start()
    producer.produce("logs", json.dumps(WINLOGBEAT), key="k", headers={"h": b"v"})
    producer.produce("logs", json.dumps({"records": [{"n": 1}, {"n": 2}]}))
    producer.produce(
        "logs", b"<38>1 2024-05-01T10:00:00Z web1 sshd 77 - - Failed password for root from 203.0.113.9 port 1 ssh2"
    )
    producer.produce("logs", b"\xff\xfe not text", key=b"\xff")
    producer.produce("logs", None, key="tombstone")
    producer.flush()
    assert rig.wait("SecurityEvent", 1)[0]["TargetUserName"] == "mallory"
    assert rig.wait("Syslog", 1)[0]["ProcessName"] == "sshd"
    rows = [json.loads(r["RawData"]) for r in rig.wait("Unparsed_CL", 3)]
    assert sorted(r["n"] for r in rows if "n" in r) == [1, 2]
    (odd,) = [r for r in rows if "n" not in r]
    assert odd["topic"] == "logs"
    until(lambda: committed(address) == 5)
    receiver.stop()
    assert {(s.kind, s.events, s.errors) for s in rig.intake.sources() if s.events} == {("kafka", 5, 0)}


@pytest.mark.slow
def test_what_was_durable_and_not_committed_comes_once(tmp_path: Path, producer: Producer) -> None:
    rig = packed_rig(tmp_path / "rig").start()
    address = brokers(producer)
    receiver = KafkaReceiver(rig.intake, address, ["logs"], options=BRIEF)
    # Everything is taken, nothing can be committed: as when the process dies in between.
    from confluent_kafka import KafkaException

    class Deaf:
        def __init__(self, consumer: Any) -> None:
            self._consumer = consumer

        def commit(self, **_: Any) -> None:
            raise KafkaException("no")

        def __getattr__(self, name: str) -> Any:
            return getattr(self._consumer, name)

    run = receiver._run
    receiver._run = lambda consumer: run(Deaf(consumer))  # type: ignore[method-assign]
    receiver.start()
    for n in range(COUNT):
        producer.produce("logs", json.dumps({"n": n}))
    producer.flush()
    until(lambda: len(numbers(rig)) >= COUNT, 90)
    receiver.stop()
    rig.crash()
    again = packed_rig(tmp_path / "rig").start()
    second = KafkaReceiver(again.intake, address, ["logs"], options=BRIEF)
    second.start()
    for n in range(COUNT, COUNT + 10):
        producer.produce("logs", json.dumps({"n": n}))
    producer.flush()
    # Asking for offsets before the new consumer has joined keeps the mock broker from letting it in.
    until(lambda: len(numbers(again)) >= COUNT + 10, 90, lambda: f"{len(numbers(again))}")
    until(lambda: committed(address) == COUNT + 10, 90)
    assert numbers(again) == list(range(COUNT + 10))
    second.stop()
    again.close()


def test_two_consumers_of_a_group_share(rig: Rig, producer: Producer) -> None:
    address = brokers(producer)
    receivers = [KafkaReceiver(rig.intake, address, ["logs"], options=BRIEF) for _ in range(2)]
    for receiver in receivers:
        receiver.start()
    for n in range(200):
        producer.produce("logs", json.dumps({"n": n}), key=str(n))
    producer.flush()
    # As above: no questions to the mock broker before both have joined and all is read.
    until(lambda: len(set(numbers(rig))) == 200, 90, lambda: f"{len(set(numbers(rig)))}")
    until(lambda: committed(address) == 200, 90)
    for receiver in receivers:
        receiver.stop()
    assert sorted(set(numbers(rig))) == list(range(200))


@pytest.mark.parametrize("wrong", [{"topics": []}, {"options": {"no.such.option": "1"}}])
def test_settings_that_cant_be_are_named(rig: Rig, wrong: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"topics": ["logs"], **wrong}
    with pytest.raises(IngestError, match=r"topics|no\.such"):
        KafkaReceiver(rig.intake, "127.0.0.1:1", **settings).start()
