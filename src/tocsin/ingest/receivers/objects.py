"""Objects of an S3-compatible bucket, by the notifications in a queue or by listing (`pip install tocsin[aws]`).

An object is decoded as a file of its name would be: gzip, archives, CloudTrail's `Records`, JSON lines, CSV and the rest. A queue's message is
deleted, and a listed object noted as read, only after all of its rows are durable. Each piece carries bucket, key, ETag and its number as its
request key, so that an object whose reading a crash cut short is neither lost nor doubled.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote_plus

import orjson
import structlog

from tocsin.base.errors import IngestError, Place
from tocsin.ingest import codes
from tocsin.ingest.decoders.body import pack_batch, pack_letters
from tocsin.ingest.decoders.paths import decode_source
from tocsin.ingest.decoders.source import Source
from tocsin.ingest.decoders.tables import TableMatcher, default_matcher
from tocsin.ingest.model import DeadLetter, SourceBatch
from tocsin.ingest.receivers.http import Port
from tocsin.ingest.receivers.settings import S3Settings
from tocsin.ingest.receivers.sockets import submit_patiently
from tocsin.ingest.settings import DecodeLimits
from tocsin.lake import Body
from tocsin.lake.objects import s3_store

__all__ = ["Found", "S3Receiver", "notified"]

_log = structlog.get_logger("tocsin.ingest.s3")
_MEMORY = 16 << 20
_TEXT_BYTES = 64 << 20
_RETRY_SECONDS = 5.0
_HIDDEN_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Found:
    """An object to read."""

    bucket: str
    key: str
    etag: str = ""
    size: int = 0


class S3Receiver:
    """Reads one bucket, or what one queue tells of, in a thread of its own."""

    def __init__(
        self,
        intake: Port,
        settings: S3Settings,
        book: Path,
        *,
        limits: DecodeLimits | None = None,
        matcher: TableMatcher | None = None,
    ) -> None:
        """`book` is the file that lists what was read, for a bucket that is listed."""
        self._intake = intake
        self._settings = settings
        self._book = book
        self._limits = limits or DecodeLimits()
        self._matcher = matcher or default_matcher()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._stores: dict[str, Any] = {}
        self._seen: dict[str, str] = {}

    def start(self) -> None:
        """Begins. Raises IngestError when a library is missing."""
        try:
            import obstore  # noqa: F401

            if self._settings.queue:
                import boto3  # noqa: F401
        except ImportError as error:
            raise IngestError(
                "What reads buckets isn't installed.", code="ING0038", hint="pip install 'tocsin[aws]'"
            ) from error
        self._load()
        address = self._settings.queue or f"s3://{self._settings.bucket}/{self._settings.prefix}"
        self._intake.listening("s3", self._settings.bucket or "queue", address)
        work = self._by_queue if self._settings.queue else self._by_listing
        self._thread = threading.Thread(target=self._run, args=(work,), name="tocsin-s3", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends after the piece in hand."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, work: Callable[[], None]) -> None:
        while not self._stopping.is_set():
            try:
                work()
            except Exception as error:
                # The network, most likely: nothing was noted as read that wasn't.
                _log.warning("ingest.s3", error=f"{type(error).__name__}: {error}")
                self._intake.refused("s3", self._settings.bucket or "queue", f"{type(error).__name__}: {error}")
                self._stopping.wait(_RETRY_SECONDS)

    # ---------------------------------------------------------------------------------------------- by listing

    def _by_listing(self) -> None:
        import obstore

        bucket = self._settings.bucket
        listed: set[str] = set()
        for batch in obstore.list(self._store(bucket), prefix=self._settings.prefix or None):
            for item in batch:
                if self._stopping.is_set():
                    return
                key, etag = item["path"], (item.get("e_tag") or "").strip('"')
                listed.add(key)
                if self._seen.get(key) == etag or not item["size"]:
                    continue
                if not self._read(Found(bucket, key, etag, item["size"])):
                    return
                self._note(key, etag)
        gone = self._seen.keys() - listed
        if len(gone) > 10_000 and len(gone) > len(listed):
            self._seen = {k: v for k, v in self._seen.items() if k in listed}
            self._rewrite()
        self._stopping.wait(self._settings.poll_seconds)

    def _load(self) -> None:
        try:
            text = self._book.read_text("utf-8")
        except FileNotFoundError:
            return
        # A line that a crash cut short has no newline; its object's pieces are known by their keys.
        for line in text[: text.rfind("\n") + 1].splitlines():
            etag, _, key = line.partition(" ")
            self._seen[orjson.loads(key)] = etag

    def _note(self, key: str, etag: str) -> None:
        self._seen[key] = etag
        with self._book.open("ab") as out:
            out.write(f"{etag} ".encode() + orjson.dumps(key) + b"\n")
            out.flush()
            os.fdatasync(out.fileno())

    def _rewrite(self) -> None:
        temporary = self._book.with_suffix(".new")
        with temporary.open("wb") as out:
            out.writelines(f"{e} ".encode() + orjson.dumps(k) + b"\n" for k, e in self._seen.items())
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, self._book)

    # ---------------------------------------------------------------------------------------------- by queue

    def _by_queue(self) -> None:
        import boto3

        s = self._settings
        more = {"aws_access_key_id": s.access_key, "aws_secret_access_key": s.secret_key} if s.access_key else {}
        client = boto3.client("sqs", region_name=s.region or None, endpoint_url=s.endpoint or None, **more)
        while not self._stopping.is_set():
            answer = client.receive_message(
                QueueUrl=s.queue, MaxNumberOfMessages=10, WaitTimeSeconds=1, VisibilityTimeout=_HIDDEN_SECONDS
            )
            for message in answer.get("Messages", ()):
                try:
                    found = notified(message["Body"])
                except ValueError as error:
                    self._dead(s.queue, f"A message of the queue can't be read: {error}.", message["Body"].encode())
                    found = []
                wanted = [f for f in found if (not s.bucket or f.bucket == s.bucket) and f.key.startswith(s.prefix)]
                if not all(self._read(f) for f in wanted):
                    return
                client.delete_message(QueueUrl=s.queue, ReceiptHandle=message["ReceiptHandle"])

    # ---------------------------------------------------------------------------------------------- objects

    def _store(self, bucket: str) -> Any:
        if bucket not in self._stores:
            s = self._settings
            self._stores[bucket] = s3_store(
                bucket, region=s.region, endpoint=s.endpoint, access_key=s.access_key, secret_key=s.secret_key
            )
        return self._stores[bucket]

    def _read(self, found: Found) -> bool:
        """Makes all of an object durable. False when the receiver stops meanwhile; raises what the network says."""
        import obstore

        name = f"s3://{found.bucket}/{found.key}"
        try:
            answer = obstore.get(self._store(found.bucket), found.key)
        except FileNotFoundError:
            # Deleted since it was told of.
            _log.warning("ingest.s3.gone", object=name)
            return True
        size = answer.meta["size"]
        etag = (answer.meta.get("e_tag") or found.etag).strip('"')
        if size > self._settings.max_object_bytes:
            limit = self._settings.max_object_bytes
            return self._dead(
                name,
                f"The object is {size} bytes long; {limit} are allowed. The setting is ingest.s3.max_object_bytes.",
                b"",
            )
        with tempfile.SpooledTemporaryFile(max_size=_MEMORY) as spool:
            for block in answer.stream(min_chunk_size=1 << 20):
                spool.write(bytes(block))
            spool.seek(0)
            for number, body in enumerate(self._bodies(name, spool, size)):
                if not self._keep(body, f"s3:{found.bucket}/{found.key}@{etag}#{number}"):
                    return False
        return True

    def _bodies(self, name: str, spool: IO[bytes], size: int) -> Iterator[Body]:
        meta = {"path": name, "receiver": "s3"}
        for item in decode_source(Source(name, spool), size, self._limits, self._matcher):
            if isinstance(item, SourceBatch):
                data, more = pack_batch(item)
                yield Body("batch", data, self._intake.now(), {**meta, **more})
            elif isinstance(item, DeadLetter):
                yield Body("dead", pack_letters([item]), self._intake.now(), meta)
            elif item.error is not None:
                error = item.error
                letter = DeadLetter(error.message, error.code, error.place or Place(name), b"", name, item.format, size)
                yield Body("dead", pack_letters([letter]), self._intake.now(), meta)
            elif item.skipped and item.format == "text" and item.path == name and size <= _TEXT_BYTES:
                # Text of no known format: the decoder of bodies keeps it line by line.
                spool.seek(0)
                yield Body("s3", spool.read(), self._intake.now(), meta)
            elif item.skipped and item.format != "empty":
                letter = DeadLetter(item.skipped, codes.UNKNOWN_TEXT, Place(item.path), b"", name, item.format, size)
                yield Body("dead", pack_letters([letter]), self._intake.now(), meta)

    def _dead(self, name: str, reason: str, raw: bytes) -> bool:
        letter = DeadLetter(
            reason, codes.TOO_LONG if not raw else codes.JSON_SYNTAX, Place(name), raw[: 64 << 10], name, "s3", len(raw)
        )
        return self._keep(
            Body("dead", pack_letters([letter]), self._intake.now(), {"path": name, "receiver": "s3"}),
            f"s3:dead:{name}",
        )

    def _keep(self, body: Body, key: str) -> bool:
        key = key.replace("\n", " ").replace("\r", " ")
        earlier = self._intake.requests.begin(key)
        if earlier is not None and earlier.result():
            return True
        body = Body(body.source, body.data, body.received, {**body.meta, "request": key})
        future = submit_patiently(self._intake, [body], self._stopping)
        if future is None or future.exception() is not None:
            self._intake.requests.abandon(key)
            if self._stopping.is_set():
                return False
            raise IngestError("The log can't be written just now.", code="ING0030")
        self._intake.requests.durable(key)
        return True


def notified(body: str) -> list[Found]:
    """The objects that a message of a queue tells of: S3's own notification, one that came through SNS, or EventBridge's.

    Raises ValueError for anything else; S3's test message tells of none.
    """
    message = orjson.loads(body)
    if isinstance(message, dict) and isinstance(message.get("Message"), str):
        message = orjson.loads(message["Message"])
    if not isinstance(message, dict):
        raise ValueError("it isn't an object")  # noqa: TRY004 - it is text that is wrong
    if message.get("Event") == "s3:TestEvent":
        return []
    detail = message.get("detail")
    if isinstance(detail, dict) and isinstance(detail.get("bucket"), dict) and isinstance(detail.get("object"), dict):
        # EventBridge writes keys as they are.
        return [_found(detail["bucket"], detail["object"], plain=True)]
    records = message.get("Records")
    if not isinstance(records, list):
        raise ValueError("it tells of no object")  # noqa: TRY004
    out = []
    for record in records:
        s3 = record.get("s3") if isinstance(record, dict) else None
        if not isinstance(s3, dict) or not isinstance(s3.get("bucket"), dict) or not isinstance(s3.get("object"), dict):
            raise ValueError("a record tells of no object")  # noqa: TRY004
        if str(record.get("eventName", "")).startswith("ObjectRemoved"):
            continue
        out.append(_found(s3["bucket"], s3["object"], plain=False))
    return out


def _found(bucket: dict[str, Any], item: dict[str, Any], *, plain: bool) -> Found:
    name, key = bucket.get("name"), item.get("key")
    if not isinstance(name, str) or not isinstance(key, str):
        raise ValueError("a record names no object")  # noqa: TRY004
    etag = item.get("eTag") or item.get("etag") or ""
    return Found(name, key if plain else unquote_plus(key), str(etag), 0)
