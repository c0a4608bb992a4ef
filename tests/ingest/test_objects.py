"""Objects of a bucket by queue and by listing, with a server that speaks S3 and SQS (moto)."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer

from tests.ingest.intake_support import Rig, until
from tests.ingest.shipper_support import WINLOGBEAT, packed_rig
from tocsin.ingest.receivers.objects import Found, S3Receiver, notified
from tocsin.ingest.receivers.settings import S3Settings

KEYS = {"region": "us-east-1", "access_key": "a", "secret_key": "b"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = packed_rig(tmp_path / "rig").start()
    yield made
    with contextlib.suppress(Exception):
        made.close()


def client(kind: str, endpoint: str) -> Any:
    return boto3.client(
        kind, endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )


def lines(first: int, last: int) -> bytes:
    return b"".join(json.dumps({"n": n}).encode() + b"\n" for n in range(first, last))


def numbers(rig: Rig) -> list[int]:
    return sorted(v["n"] for r in rig.rows("Unparsed_CL") if "n" in (v := json.loads(r["RawData"])))


def test_by_listing(rig: Rig, endpoint: str, tmp_path: Path) -> None:
    s3 = client("s3", endpoint)
    s3.create_bucket(Bucket="listed")
    s3.put_object(Bucket="listed", Key="in/a.json.gz", Body=gzip.compress(lines(0, 50)))
    s3.put_object(Bucket="listed", Key="in/windows.json", Body=json.dumps(WINLOGBEAT).encode())
    s3.put_object(Bucket="listed", Key="in/notes.txt", Body=b"free text\nmore of it\n")
    s3.put_object(Bucket="listed", Key="in/empty", Body=b"")
    s3.put_object(Bucket="listed", Key="in/broken.gz", Body=gzip.compress(lines(0, 50))[:40])
    s3.put_object(Bucket="listed", Key="in/large", Body=lines(1000, 9000))
    s3.put_object(Bucket="listed", Key="out/b.json", Body=lines(900, 901))
    settings = S3Settings(
        bucket="listed", prefix="in/", endpoint=endpoint, poll_seconds=0.2, max_object_bytes=50_000, **KEYS
    )
    receiver = S3Receiver(rig.intake, settings, tmp_path / "s3.txt")
    receiver.start()
    until(lambda: len(numbers(rig)) >= 50, 90)
    rig.wait("SecurityEvent", 1)
    texts = lambda: {v["message"] for r in rig.rows("Unparsed_CL") if "message" in (v := json.loads(r["RawData"]))}  # noqa: E731
    until(lambda: texts() >= {"free text", "more of it"})
    assert {d["Source_s"] for d in rig.wait("DeadLetter_CL", 2)} == {"s3://listed/in/broken.gz", "s3://listed/in/large"}
    s3.put_object(Bucket="listed", Key="in/a.json.gz", Body=gzip.compress(lines(50, 60)))
    until(lambda: len(numbers(rig)) >= 60, 90)
    receiver.stop()
    # Another run reads nothing again.
    again = S3Receiver(rig.intake, settings, tmp_path / "s3.txt")
    again.start()
    s3.put_object(Bucket="listed", Key="in/c.json", Body=lines(60, 61))
    until(lambda: len(numbers(rig)) >= 61, 90)
    again.stop()
    assert numbers(rig) == list(range(61))
    assert len(rig.rows("DeadLetter_CL")) == 2
    assert {s.kind for s in rig.intake.sources()} == {"s3"}


def test_by_queue_and_through_a_crash(rig: Rig, endpoint: str, tmp_path: Path) -> None:
    s3, sqs = client("s3", endpoint), client("sqs", endpoint)
    s3.create_bucket(Bucket="told")
    queue = sqs.create_queue(QueueName="objects")["QueueUrl"]

    def tell(*keys: str) -> None:
        records = [
            {
                "eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": "told"}, "object": {"key": k.replace(" ", "+")}},
            }
            for k in keys
        ]
        sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"Records": records}))

    sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"Event": "s3:TestEvent"}))
    sqs.send_message(QueueUrl=queue, MessageBody="junk")
    s3.put_object(
        Bucket="told", Key="logs/a b.json", Body=json.dumps({"Records": [{"n": n} for n in range(40)]}).encode()
    )
    tell("logs/a b.json", "logs/gone.json")
    settings = S3Settings(queue=queue, endpoint=endpoint, **KEYS)
    receiver = S3Receiver(rig.intake, settings, tmp_path / "s3.txt")
    receiver.start()
    until(lambda: len(numbers(rig)) >= 40, 90)
    receiver.stop()
    rig.crash()
    # Told of once more, as when the process dies before the message is deleted.
    tell("logs/a b.json")
    s3.put_object(Bucket="told", Key="logs/b.json", Body=lines(40, 50))
    tell("logs/b.json")
    again = packed_rig(tmp_path / "rig").start()
    second = S3Receiver(again.intake, settings, tmp_path / "s3.txt")
    second.start()
    until(lambda: len(numbers(again)) >= 50, 90)
    until(lambda: not sqs.receive_message(QueueUrl=queue, VisibilityTimeout=0).get("Messages"), 90)
    second.stop()
    assert numbers(again) == list(range(50))
    assert len(again.rows("DeadLetter_CL")) == 1
    again.close()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"Event": "s3:TestEvent"}, []),
        (
            {"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": "a%2Bb+c", "eTag": "e"}}}]},
            [Found("b", "a+b c", "e")],
        ),
        (
            {
                "Records": [
                    {"eventName": "ObjectRemoved:Delete", "s3": {"bucket": {"name": "b"}, "object": {"key": "k"}}}
                ]
            },
            [],
        ),
        ({"detail": {"bucket": {"name": "b"}, "object": {"key": "a+b", "etag": "e"}}}, [Found("b", "a+b", "e")]),
        (
            {"Message": json.dumps({"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": "k"}}}]})},
            [Found("b", "k")],
        ),
    ],
)
def test_notifications(body: dict[str, Any], expected: list[Found]) -> None:
    assert notified(json.dumps(body)) == expected


NAMES = st.sampled_from(["Records", "s3", "bucket", "object", "name", "key", "Message", "detail"])
TREES = st.recursive(
    st.none() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@given(st.text(max_size=40) | TREES.map(json.dumps))
def test_no_message_breaks_the_reader(body: str) -> None:
    with contextlib.suppress(ValueError):
        assert all(isinstance(f.key, str) for f in notified(body))
