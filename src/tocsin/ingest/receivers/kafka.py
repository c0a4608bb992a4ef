"""A consumer group of Kafka, or of an Event Hub by its Kafka endpoint (`pip install tocsin[kafka]`).

Offsets are committed only after the messages are durable. What a crash left between the two comes again and is known by its offset: each body
carries topic, partition and last offset as its request key through the log. Consumers of one group share the partitions.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog

from tocsin.base.errors import IngestError
from tocsin.ingest.receivers.envelopes import envelope, enveloped
from tocsin.ingest.receivers.http import Port
from tocsin.ingest.receivers.sockets import submit_patiently
from tocsin.lake import Body

__all__ = ["KafkaReceiver", "message_line"]

_log = structlog.get_logger("tocsin.ingest.kafka")
_GATHER_BYTES = 8 << 20
_GATHER = 5000
_SLICE = 500
_TRIES_SECONDS = 5.0


class KafkaReceiver:
    """One consumer in a thread of its own."""

    def __init__(
        self,
        intake: Port,
        brokers: str,
        topics: Sequence[str],
        *,
        group: str = "tocsin",
        start: str = "earliest",
        options: Mapping[str, str] | None = None,
    ) -> None:
        self._intake = intake
        self._brokers = brokers
        self._topics = list(topics)
        self._group = group
        self._begin = start
        self._options = dict(options or {})
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._known: dict[tuple[str, int], int] = {}

    def start(self) -> None:
        """Joins the group. Raises IngestError when the library is missing or refuses an option."""
        if not self._topics:
            raise IngestError("A consumer needs topics.", code="ING0037", hint="The setting is ingest.kafka.topics.")
        try:
            from confluent_kafka import Consumer, KafkaException
        except ImportError as error:
            raise IngestError(
                "confluent-kafka isn't installed.", code="ING0037", hint="pip install 'tocsin[kafka]'"
            ) from error
        settings = {
            "client.id": "tocsin",
            "queued.max.messages.kbytes": 65536,
            **self._options,
            "bootstrap.servers": self._brokers,
            "group.id": self._group,
            "auto.offset.reset": self._begin,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
        }
        try:
            consumer = Consumer(settings, logger=None)
            consumer.subscribe(self._topics, on_assign=self._assigned)
        except (KafkaException, ValueError, TypeError) as error:
            raise IngestError(
                f"Kafka refuses a setting: {error}.", code="ING0037", hint="See ingest.kafka.options."
            ) from error
        for key in self._intake.requests.keys(f"kafka:{self._group}/"):
            topic, partition, last = key[len(f"kafka:{self._group}/") :].rsplit("/", 2)
            if partition.isdigit() and last.isdigit():
                place = (topic, int(partition))
                self._known[place] = max(self._known.get(place, -1), int(last))
        self._intake.listening("kafka", self._group, self._brokers)
        self._thread = threading.Thread(target=self._run, args=(consumer,), name="tocsin-kafka", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Commits what is durable and leaves the group."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _assigned(self, consumer: Any, partitions: Iterable[Any]) -> None:
        """Forgets what is known of a topic that was made anew: it holds less than was read of it."""
        for partition in partitions:
            place = (partition.topic, partition.partition)
            if place not in self._known:
                continue
            try:
                _, end = consumer.get_watermark_offsets(partition, timeout=5.0)
            except Exception as error:
                _log.warning("ingest.kafka.watermark", topic=partition.topic, error=str(error))
                continue
            if end <= self._known[place]:
                _log.warning("ingest.kafka.anew", topic=partition.topic, partition=partition.partition)
                del self._known[place]

    def _run(self, consumer: Any) -> None:
        try:
            while not self._stopping.is_set():
                messages = self._gather(consumer)
                if messages and not self._take(consumer, messages):
                    return
        except Exception as error:
            _log.exception("ingest.kafka.stopped")
            self._intake.refused("kafka", self._group, f"{type(error).__name__}: {error}")
        finally:
            consumer.close()

    def _gather(self, consumer: Any) -> list[Any]:
        found: list[Any] = []
        size = 0
        wait = 0.5
        while size < _GATHER_BYTES and len(found) < _GATHER:
            some = consumer.consume(_SLICE, wait)
            for message in some:
                error = message.error()
                if error is None:
                    found.append(message)
                    size += len(message)
                elif error.code() != -191:  # the end of a partition
                    _log.warning("ingest.kafka.error", error=str(error))
                    self._intake.refused("kafka", self._group, str(error))
            if not some or self._stopping.is_set():
                break
            wait = 0.0
        return found

    def _take(self, consumer: Any, messages: list[Any]) -> bool:
        """Makes messages durable, then commits. False when the receiver stops or the log can't be written: nothing is committed then."""
        from confluent_kafka import KafkaException, TopicPartition

        parts: dict[tuple[str, int], list[Any]] = {}
        for message in messages:
            parts.setdefault((message.topic(), message.partition()), []).append(message)
        now = self._intake.now()
        bodies: list[Body] = []
        for place, listed in parts.items():
            known = self._known.get(place, -1)
            fresh = [m for m in listed if m.offset() > known and m.value() is not None]
            if not fresh:
                continue
            key = f"kafka:{self._group}/{place[0]}/{place[1]}/{listed[-1].offset()}"
            meta = {"form": "event", "peer": place[0], "request": key}
            bodies.append(Body("kafka", b"\n".join(message_line(m) for m in fresh), now, meta))
        while bodies:
            future = submit_patiently(self._intake, bodies, self._stopping)
            if future is not None and future.exception() is None:
                break
            self._intake.refused("kafka", self._group, "The log can't be written.")
            # The log can't be written just now (a full disk, for one); nothing is committed before it can.
            if self._stopping.wait(_TRIES_SECONDS):
                return False
        for body in bodies:
            # Claimed and durable in one step: nobody else writes these keys.
            if self._intake.requests.begin(body.meta["request"]) is None:
                self._intake.requests.durable(body.meta["request"])
        offsets = [TopicPartition(t, p, listed[-1].offset() + 1) for (t, p), listed in parts.items()]
        try:
            consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            # Taken from us by a rebalance, or the broker is away: whoever reads on from the older offset knows them by their keys.
            _log.warning("ingest.kafka.commit", error=str(error))
        for place, listed in parts.items():
            self._known[place] = max(self._known.get(place, -1), listed[-1].offset())
        return True


def message_line(message: Any) -> bytes:
    """One message as it is kept: a JSON object is the event, anything else the text of one."""
    value: bytes = message.value()
    headers = {str(k): v.decode("utf-8", "replace") if isinstance(v, bytes) else v for k, v in message.headers() or ()}
    kind, stamp = message.timestamp()
    key = message.key()
    fields: dict[str, object] = {
        "time": stamp / 1000 if kind and stamp > 0 else None,
        "source": f"{message.topic()}/{message.partition()}",
        "sourcetype": message.topic(),
        "more": {
            "topic": message.topic(),
            "partition": message.partition(),
            "offset": message.offset(),
            **({"key": key.decode("utf-8", "replace")} if isinstance(key, bytes) else {}),
            **({"headers": headers} if headers else {}),
        },
    }
    if value.lstrip()[:1] == b"{":
        line, _ = enveloped(value, **fields)
        if line:
            return line
    return envelope(value.decode("utf-8", "replace") or " ", **fields)
