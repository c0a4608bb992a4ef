"""Settings of the receivers that have more than a port: sections of `[ingest]` in `tocsin.toml`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "AzureSettings",
    "BeatsSettings",
    "ElasticSettings",
    "FluentSettings",
    "GelfSettings",
    "HealthSettings",
    "KafkaSettings",
    "S3Settings",
    "TlsSettings",
    "WefSettings",
]

_PORT = "{} 0 takes a free one, -1 switches it off."


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HealthSettings(_Section):
    """What is told of sources, and when one counts as silent."""

    seconds: float = Field(default=60.0, gt=0, description="How often TocsinHealth tells of each source.")
    silent_factor: float = Field(
        default=3.0,
        ge=1,
        description="A source counts as silent after that many times the pause it usually stays within.",
    )
    silent_minutes: float = Field(
        default=10.0,
        gt=0,
        description="A source doesn't count as silent before that; on its first day not before an hour.",
    )
    forget_days: int = Field(default=30, ge=1, description="A source that was silent for so long is forgotten.")


class TlsSettings(_Section):
    """The certificate of every receiver that speaks TLS."""

    certificate: Path | None = Field(
        default=None, description="PEM file with the server's certificate and its chain, for every receiver with TLS."
    )
    key: Path | None = Field(default=None, description="PEM file with the certificate's private key.")
    client_ca: Path | None = Field(
        default=None,
        description="PEM file of authorities; when set, senders over TLS need a certificate of one of them.",
    )
    syslog_port: int = Field(
        default=-1, ge=-1, le=65535, description=_PORT.format("TCP port of syslog over TLS (RFC 5425; commonly 6514);")
    )
    relp_port: int = Field(default=-1, ge=-1, le=65535, description=_PORT.format("TCP port of RELP over TLS;"))


class ElasticSettings(_Section):
    """The Elasticsearch API."""

    version: str = Field(
        default="9.2.0",
        pattern=r"^\d+\.\d+\.\d+$",
        description="Version that the Elasticsearch API says it is. Beats and Logstash refuse one older than their own.",
    )


class AzureSettings(_Section):
    """Azure Monitor's APIs."""

    shared_keys: dict[str, str] = Field(
        default_factory=dict,
        description="Workspace ids and their base64 keys for the Data Collector API (`/api/logs`); without any it takes nothing.",
    )


class FluentSettings(_Section):
    """Fluentd's forward protocol."""

    host: str = Field(default="127.0.0.1", description="Address that the forward receiver listens on.")
    port: int = Field(
        default=-1,
        ge=-1,
        le=65535,
        description=_PORT.format("TCP port of Fluentd's forward protocol (commonly 24224);"),
    )
    tls: bool = Field(default=False, description="Whether it speaks TLS, with the certificate of `ingest.tls`.")
    shared_key: str = Field(
        default="",
        description="Shared key that senders must prove they know (`security.shared_key`); needed on any address but loopback.",
    )


class GelfSettings(_Section):
    """Graylog's format over the network; `POST /gelf` is open without this."""

    host: str = Field(default="127.0.0.1", description="Address that the GELF receivers listen on.")
    udp_port: int = Field(default=-1, ge=-1, le=65535, description=_PORT.format("UDP port of GELF (commonly 12201);"))
    tcp_port: int = Field(
        default=-1, ge=-1, le=65535, description=_PORT.format("TCP port of GELF, messages end in NUL;")
    )
    tls: bool = Field(
        default=False, description="Whether the TCP port speaks TLS, with the certificate of `ingest.tls`."
    )


class BeatsSettings(_Section):
    """Beats' and Logstash's lumberjack protocol, version 2."""

    host: str = Field(default="127.0.0.1", description="Address that the Beats receiver listens on.")
    port: int = Field(
        default=-1, ge=-1, le=65535, description=_PORT.format("TCP port of Beats' `output.logstash` (commonly 5044);")
    )
    tls: bool = Field(default=False, description="Whether it speaks TLS, with the certificate of `ingest.tls`.")


class WefSettings(_Section):
    """Windows event forwarding over TLS, in place of a Windows event collector."""

    host: str = Field(default="127.0.0.1", description="Address that machines forward their events to.")
    port: int = Field(
        default=-1,
        ge=-1,
        le=65535,
        description=_PORT.format("TCP port of Windows event forwarding over TLS (commonly 5986);"),
    )
    client_ca: Path | None = Field(
        default=None,
        description="PEM file of the authorities whose certificates machines show; without it `ingest.tls.client_ca`. One of them is needed.",
    )
    name: str = Field(
        default="Tocsin", min_length=1, max_length=100, description="What machines call the subscription."
    )
    channels: tuple[str, ...] = Field(
        default=(),
        description="Event logs to forward, whole; without any those that the packs read, Security, Sysmon and PowerShell among them.",
    )
    query: Path | None = Field(
        default=None, description="XML file with a `QueryList` that chooses events instead of `channels`."
    )
    read_existing_events: bool = Field(
        default=False, description="Whether a machine that is new here sends what its logs hold already."
    )
    rendered: bool = Field(
        default=False,
        description="Whether events carry their message as text too; it makes them about twice as large.",
    )
    heartbeat_seconds: int = Field(
        default=3600, ge=10, description="How often a machine without events says that it is there."
    )
    latency_seconds: int = Field(default=30, ge=1, description="How long a machine may gather events for a batch.")


class KafkaSettings(_Section):
    """A consumer group of Kafka or Event Hubs; needs `pip install tocsin[kafka]`."""

    brokers: str = Field(default="", description="Brokers as `host:port,host:port`; empty switches the consumer off.")
    topics: tuple[str, ...] = Field(default=(), description="Topics to read; one that begins with `^` is a pattern.")
    group: str = Field(default="tocsin", description="Consumer group.")
    start: Literal["earliest", "latest"] = Field(
        default="earliest", description="Where a group begins that has no offsets yet."
    )
    options: dict[str, str] = Field(
        default_factory=dict,
        description="Further options of librdkafka, for example `security.protocol` and `sasl.password`.",
    )


class S3Settings(_Section):
    """Objects of a bucket; needs `pip install tocsin[aws]`."""

    bucket: str = Field(default="", description="Bucket whose objects are read; empty switches it off.")
    prefix: str = Field(default="", description="Only objects whose key begins so.")
    queue: str = Field(
        default="",
        description="URL of the SQS queue that the bucket notifies of new objects; without one the bucket is listed.",
    )
    poll_seconds: float = Field(default=60.0, gt=0, description="How often the bucket is listed.")
    region: str = Field(default="", description="Region; empty takes the environment's.")
    endpoint: str = Field(default="", description="URL of an S3-compatible store; empty for AWS.")
    access_key: str = Field(default="", description="Access key; empty takes the environment's or the machine's role.")
    secret_key: str = Field(default="", description="Secret of the access key.")
    max_object_bytes: int = Field(
        default=1 << 30, ge=1024, description="Largest object that is read; a larger one becomes a dead letter."
    )
