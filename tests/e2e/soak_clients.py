"""The kill test's senders in this process: official clients where they can be told to repeat the same request, else the same bytes by hand."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from http.client import HTTPException, HTTPSConnection
from typing import Any

import httpx
import msgpack

from tests.e2e.soak_model import EPOCH, Sender
from tests.ingest import wef_support as windows
from tests.ingest.shipper_support import authority
from tocsin.ingest.receivers.settings import WefSettings
from tocsin.ingest.receivers.wef import subscription_of

__all__ = ["Bucket", "Clients", "Topic"]

PAUSE = 0.1


class Clients:
    """Senders to one server's ports."""

    def __init__(self, url: str, ports: dict[str, int], token: str) -> None:
        self.url = url
        self.ports = ports
        self.token = token

    @contextlib.contextmanager
    def _poster(self, sender: Sender, path: str, **headers: str) -> Iterator[Callable[[bytes, int], None]]:
        """Sends a body until it is taken."""
        with httpx.Client(timeout=20, trust_env=False) as client:

            def post(body: bytes, count: int) -> None:
                while True:
                    try:
                        answer = client.post(self.url + path, content=body, headers=headers)
                        if answer.status_code < 300:
                            sender.acknowledged += count
                            return
                        if answer.status_code not in (429, 503):
                            raise RuntimeError(f"{answer.status_code} {answer.text[:200]}")
                    except httpx.HTTPError:
                        pass
                    again(sender)

            yield post

    def hec(self, sender: Sender) -> None:
        with self._poster(sender, "/services/collector/event", Authorization=f"Splunk {self.token}") as post:
            for batch in sender.batches():
                events = [json.dumps({"time": EPOCH + e["n"] / 1000, "event": e}) for e in batch]
                post("".join(events).encode(), len(batch))

    def otlp(self, sender: Sender) -> None:
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

        headers = {"Content-Type": "application/x-protobuf", "Authorization": f"Bearer {self.token}"}
        with self._poster(sender, "/v1/logs", **headers) as post:
            for batch in sender.batches():
                request = ExportLogsServiceRequest()
                records = request.resource_logs.add().scope_logs.add().log_records
                for event in batch:
                    record = records.add(time_unix_nano=(EPOCH * 1000 + event["n"]) * 1_000_000)
                    record.body.kvlist_value.values.add(key="p").value.string_value = event["p"]
                    record.body.kvlist_value.values.add(key="n").value.int_value = event["n"]
                post(request.SerializeToString(), len(batch))

    def loki(self, sender: Sender) -> None:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        with self._poster(sender, "/loki/api/v1/push", **headers) as post:
            for batch in sender.batches():
                values = [[str((EPOCH * 1000 + e["n"]) * 1_000_000), json.dumps(e)] for e in batch]
                body = {"streams": [{"stream": {"job": "soak"}, "values": values}]}
                post(json.dumps(body).encode(), len(batch))

    def gelf(self, sender: Sender) -> None:
        same = {"version": "1.1", "host": "h", "short_message": "soak"}
        with self._poster(sender, "/gelf", Authorization=f"Bearer {self.token}") as post:
            for batch in sender.batches():
                lines = [same | {"timestamp": EPOCH + e["n"] / 1000, "_p": e["p"], "_n": e["n"]} for e in batch]
                post("\n".join(map(json.dumps, lines)).encode(), len(batch))

    def elastic(self, sender: Sender) -> None:
        from elasticsearch import Elasticsearch, helpers

        client = Elasticsearch(
            self.url, api_key=("id", self.token), request_timeout=20, max_retries=0, retry_on_timeout=False
        )
        for batch in sender.batches():
            actions = [{"_op_type": "create", "_index": "soak", "_id": str(e["n"]), "_source": e} for e in batch]
            while True:
                try:
                    done, _ = helpers.bulk(client, actions)
                    sender.acknowledged += done
                    break
                except Exception:
                    again(sender)
        client.close()

    def azure(self, sender: Sender) -> None:
        from azure.core.credentials import AzureKeyCredential
        from azure.core.exceptions import AzureError
        from azure.core.pipeline.policies import AzureKeyCredentialPolicy
        from azure.monitor.ingestion import LogsIngestionClient

        logging.getLogger("azure").setLevel(logging.CRITICAL)
        # The SDK's own policy sends a token by HTTPS only; this one takes what the test has.
        credential: Any = AzureKeyCredential(self.token)
        policy = AzureKeyCredentialPolicy(credential, "Authorization", prefix="Bearer")
        with LogsIngestionClient(self.url, credential, authentication_policy=policy, retry_total=0) as client:
            for number, batch in enumerate(sender.batches()):
                while True:
                    try:
                        client.upload("dcr-soak", "Custom-Soak_CL", batch, request_id=f"soak-{number}")
                        break
                    except AzureError:
                        again(sender)
                sender.acknowledged += len(batch)

    def wef(self, sender: Sender) -> None:
        subscription = subscription_of(WefSettings()).id
        context = ssl.create_default_context(cadata=authority().cert_pem.bytes().decode())
        authority().issue_cert(common_name=windows.MACHINE).configure_cert(context)
        connection = HTTPSConnection("127.0.0.1", self.ports["wef"], context=context, timeout=20)
        media = {"Content-Type": "application/soap+xml;charset=UTF-16"}
        for listed in sender.batches():
            marked = [
                windows.event(
                    e["n"], channel="Soak", extra=f"<Data Name='p'>{e['p']}</Data><Data Name='n'>{e['n']}</Data>"
                )
                for e in listed
            ]
            text = windows.batch(subscription, *marked, mark=windows.bookmark(listed[-1]["n"]))
            while True:
                try:
                    body = b"\xff\xfe" + text.encode("utf-16-le")
                    connection.request("POST", f"/wsman/subscriptions/{subscription}", body, media)
                    answer = connection.getresponse()
                    answer.read()
                    if answer.status == 200:
                        break
                except (OSError, HTTPException):
                    connection.close()
                again(sender)
            sender.acknowledged += len(listed)
        connection.close()

    def fluent(self, sender: Sender) -> None:
        sock: socket.socket | None = None
        for number, batch in enumerate(sender.batches()):
            message = msgpack.packb(["soak", [[EPOCH, e] for e in batch], {"chunk": f"chunk {number}"}])
            while True:
                try:
                    if sock is None:
                        sock = socket.create_connection(("127.0.0.1", self.ports["fluent"]), 5)
                        sock.settimeout(20)
                    sock.sendall(message)
                    answer = sock.recv(1000)
                    if answer and msgpack.unpackb(answer)["ack"] == f"chunk {number}":
                        break
                    raise ConnectionResetError
                except OSError:
                    if sock is not None:
                        sock.close()
                    sock = None
                    again(sender)
            sender.acknowledged += len(batch)
        if sock is not None:
            sock.close()

    def beats(self, sender: Sender) -> None:
        from pylogbeat import ConnectionException, PyLogBeatClient

        logging.getLogger("pylogbeat").setLevel(logging.CRITICAL)
        client: Any = None
        for batch in sender.batches():
            events = [{"@timestamp": "2024-05-01T10:00:00Z", **e} for e in batch]
            while True:
                try:
                    client = client or PyLogBeatClient("127.0.0.1", self.ports["beats"], timeout=20, use_logging=True)
                    client.send(events)
                    break
                except (OSError, ConnectionException, struct.error):
                    if client is not None:
                        client.close()
                    client = None
                    again(sender)
            sender.acknowledged += len(batch)
        if client is not None:
            client.close()


def again(sender: Sender) -> None:
    """Counts a repetition and lets the server breathe."""
    sender.repeats = (sender.repeats or 0) + 1
    time.sleep(PAUSE)


class Topic:
    """A topic of librdkafka's mock broker, which lives as long as its producer."""

    def __init__(self) -> None:
        from confluent_kafka import Producer

        self._producer = Producer(
            {"test.mock.num.brokers": 1, "queue.buffering.max.messages": 2_000_000}, logger=logging.getLogger("mock")
        )
        self._producer.list_topics("soak", timeout=30)
        self.brokers = ",".join(f"{b.host}:{b.port}" for b in self._producer.list_topics(timeout=30).brokers.values())

    def send(self, sender: Sender) -> None:
        for batch in sender.batches(200):
            for event in batch:
                self._producer.produce("soak", json.dumps(event).encode(), key=str(event["n"]).encode())
            self._producer.flush()
            sender.acknowledged += len(batch)


class Bucket:
    """A bucket of moto's S3."""

    def __init__(self) -> None:
        import boto3
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._moto = ThreadedMotoServer("127.0.0.1", 0)
        self._moto.start()
        host, port = self._moto.get_host_and_port()
        self.url = f"http://{host}:{port}"
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
        self._client = boto3.client("s3", endpoint_url=self.url, **keys)
        self._client.create_bucket(Bucket="soak")

    def send(self, sender: Sender) -> None:
        for number, batch in enumerate(sender.batches(max(100, sender.total // 100))):
            body = b"".join(json.dumps(e).encode() + b"\n" for e in batch)
            self._client.put_object(Bucket="soak", Key=f"logs/{number:06}.json", Body=body)
            sender.acknowledged += len(batch)

    def close(self) -> None:
        """Ends the server."""
        self._moto.stop()
