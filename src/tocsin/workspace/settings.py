"""Every setting of Tocsin, documented by the fields themselves (`tocsin settings` prints this).

Values come, strongest first, from flags, the environment (``TOCSIN_SERVER__PORT=9000``: two underscores between section and name),
`tocsin.toml` in the working folder or named by ``--config``, and the defaults below. An unknown name is an error, not a shrug.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from tocsin.access.settings import AccessSettings
from tocsin.base.errors import ConfigError, Place, did_you_mean
from tocsin.incidents.weights import CorrelationSettings
from tocsin.ingest.receivers.settings import (
    AzureSettings,
    BeatsSettings,
    ElasticSettings,
    FluentSettings,
    GelfSettings,
    HealthSettings,
    KafkaSettings,
    S3Settings,
    TlsSettings,
    WefSettings,
)
from tocsin.lake.settings import EngineSettings, LakeSettings
from tocsin.query.settings import QuerySettings
from tocsin.respond.settings import RespondSettings

__all__ = [
    "DetectSettings",
    "GeoipSettings",
    "IngestSettings",
    "RespondSettings",
    "ServerSettings",
    "Settings",
    "describe",
    "load_settings",
]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerSettings(_Section):
    """The server's door."""

    host: str = Field(
        default="127.0.0.1",
        description="Address that portal, API and HTTP intake listen on. Anything but loopback needs tls_cert, or a TLS proxy before it.",
    )
    port: int = Field(
        default=7443, ge=0, le=65535, description="TCP port of portal, API and HTTP intake; 0 takes a free one."
    )
    public_url: str = Field(
        default="",
        max_length=512,
        description="Where people reach the portal, such as https://tocsin.example: links to incidents in rows, exports and webhooks begin so. "
        "By default the address that it listens on, where that can be one: of loopback, or with tls_cert.",
    )
    secure_cookie: bool = Field(
        default=False,
        description="Whether the session cookie is sent over HTTPS only. Set it behind a TLS proxy; with tls_cert it always is.",
    )
    metrics_loopback: bool = Field(
        default=True,
        description="Whether /metrics answers programs of this machine without a token. Others, and whoever comes through a proxy, need one.",
    )
    tls_cert: Path | None = Field(
        default=None,
        description="PEM file of the server's certificate, its chain after it: everything is then served over HTTPS.",
    )
    tls_key: Path | None = Field(
        default=None,
        description="PEM file of the certificate's key, unencrypted; by default it stands in tls_cert too.",
    )

    @field_validator("public_url")
    @classmethod
    def _is_an_origin(cls, given: str) -> str:
        try:
            parts = urlsplit(given.strip())
            named = bool(parts.hostname) and parts.port != 0  # which raises for what is no port
        except ValueError:
            named = False
        if given and not (named and parts.scheme in ("http", "https") and re.fullmatch(r"[^\s@\\]+", parts.netloc)):
            raise ValueError("it is no address as https://tocsin.example or https://tocsin.example:8443")
        if given and (parts.path not in ("", "/") or parts.query or parts.fragment):
            raise ValueError("the portal is at the root of its address: leave out what follows the host and port")
        return f"{parts.scheme}://{parts.netloc}".lower() if given else ""

    def address(self, port: int = 0) -> str:
        """Where people reach the portal: `public_url`, or where it listens (on `port`, where settings leave it open) if that leads here.

        "" when that can't be known: it listens on every address, or a proxy for TLS stands before it.
        """
        if self.public_url:
            return self.public_url
        try:
            ip = ip_address("127.0.0.1" if self.host == "localhost" else self.host)
        except ValueError:
            ip = None  # a name
        if ip is not None and ip.is_unspecified:
            return ""
        if self.tls_cert is None and (ip is None or not ip.is_loopback or self.secure_cookie):
            return ""
        host = f"[{self.host}]" if ip is not None and ip.version == 6 else self.host
        listening = port or self.port
        return f"http{'s' if self.tls_cert else ''}://{host}:{listening}" if listening else ""

    @model_validator(mode="after")
    def _key_needs_certificate(self) -> Self:
        if self.tls_key is not None and self.tls_cert is None:
            raise ValueError("tls_key needs tls_cert beside it")
        return self


class IngestSettings(_Section):
    """Receivers and their limits."""

    syslog_host: str = Field(default="127.0.0.1", description="Address that the syslog receiver listens on.")
    syslog_udp_port: int = Field(
        default=5514, ge=-1, le=65535, description="UDP port of syslog; 0 takes a free one, -1 switches it off."
    )
    syslog_tcp_port: int = Field(
        default=5514, ge=-1, le=65535, description="TCP port of syslog; 0 takes a free one, -1 switches it off."
    )
    relp_port: int = Field(
        default=5515,
        ge=-1,
        le=65535,
        description="TCP port of RELP, syslog with acknowledgements (rsyslog's omrelp); 0 takes a free one, -1 switches it off.",
    )
    folder: Path | None = Field(
        default=None,
        description="Folder that is watched for log files; by default `drop` in the data folder. Files stay where they are.",
    )
    max_record_bytes: int = Field(
        default=16 * 1024 * 1024, ge=1024, description="Longest record; a longer one becomes a dead letter."
    )
    max_body_bytes: int = Field(default=64 * 1024 * 1024, ge=1024, description="Largest HTTP body after decompression.")
    time_zones: dict[str, str] = Field(
        default_factory=dict,
        description="Time zones (IANA's names, such as Europe/Berlin) of logs that write local times, by source kind (dns.windows), by sender "
        "(its address or host) or by the beginning of a file's path. Without one such times are UTC, or what syslog's header says.",
    )
    elastic: ElasticSettings = ElasticSettings()
    azure: AzureSettings = AzureSettings()
    tls: TlsSettings = TlsSettings()
    fluent: FluentSettings = FluentSettings()
    gelf: GelfSettings = GelfSettings()
    beats: BeatsSettings = BeatsSettings()
    wef: WefSettings = WefSettings()
    kafka: KafkaSettings = KafkaSettings()
    s3: S3Settings = S3Settings()
    health: HealthSettings = HealthSettings()

    @field_validator("time_zones")
    @classmethod
    def _zones_are_known(cls, given: dict[str, str]) -> dict[str, str]:
        for name, zone in given.items():
            try:
                ZoneInfo(zone)
            except (KeyError, ValueError, OSError):
                raise ValueError(f"'{zone}' (for {name}) is no time zone; take one of IANA's names") from None
        return given


class DetectSettings(_Section):
    """Rules."""

    site: Path | None = Field(
        default=None,
        description="Folder of your own rules, parsers and automation; by default `site` in the data folder.",
    )
    poll_seconds: float = Field(default=2.0, gt=0, description="How often the scheduler looks for rules that are due.")
    eager: bool = Field(
        default=True,
        description="Whether a rule whose tables received rows runs at once instead of waiting for its frequency. Windows stay exact.",
    )
    windows: Literal["ingestion", "lookback"] = Field(
        default="ingestion",
        description="`ingestion`: late rows are neither missed nor said twice. `lookback`: every rule looks at the events of its last "
        "period only, as Sentinel's do.",
    )
    costly_percent: float = Field(
        default=10.0, gt=0, description="A Sigma rule that takes more of a core than this is named in SentinelHealth."
    )
    cap_percent: float | None = Field(
        default=None,
        gt=0,
        description="A Sigma rule that takes more of a core than this, over half a minute, is switched off. By default none is.",
    )
    noise_budget: int = Field(
        default=20,
        ge=0,
        description="How many alerts a week that nobody calls a true positive a rule may cost its readers before its page says that it is too "
        "loud; a rule's tuning may give it another budget.",
    )


class GeoipSettings(_Section):
    """Where addresses are."""

    database: Path | None = Field(
        default=None,
        description="MaxMind database (MMDB) of cities or countries, such as GeoLite2-City.mmdb, for geo_info_from_ip_address(). "
        "Without one the function is refused; a replaced file is taken up at once.",
    )


class Settings(BaseSettings):
    """All sections. `data` is where everything that must survive lives: log, tables, state, site content."""

    model_config = SettingsConfigDict(env_prefix="TOCSIN_", env_nested_delimiter="__", extra="forbid", frozen=True)

    data: Path = Field(
        default=Path("data"), description="Folder of everything that must survive: log, tables, state, your content."
    )
    database: str = Field(
        default="", description="Relational state: a PostgreSQL URL; empty for SQLite in the data folder."
    )
    server: ServerSettings = ServerSettings()
    ingest: IngestSettings = IngestSettings()
    lake: LakeSettings = LakeSettings()
    engine: EngineSettings = EngineSettings()
    detect: DetectSettings = DetectSettings()
    correlation: CorrelationSettings = CorrelationSettings()
    query: QuerySettings = QuerySettings()
    geoip: GeoipSettings = GeoipSettings()
    access: AccessSettings = AccessSettings()
    respond: RespondSettings = RespondSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then environment, then the file. TOCSIN_SERVER alone is where commands find a server, not the section of that name."""
        if isinstance(env_settings, EnvSettingsSource):
            env_settings.env_vars = {
                k: v
                for k, v in env_settings.env_vars.items()
                if k.lower() != "tocsin_server" or (v or "").startswith("{")
            }
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_settings(config: Path | None = None, **flags: Any) -> Settings:
    """The settings in force.

    Args:
        config: a TOML file; by default `tocsin.toml` in the working folder when there is one.
        flags: values given on the command line; None means not given. Sections as mappings.

    Raises:
        ConfigError: a file that is no TOML, an unknown name, or a value that is out of range; says which and where.
    """
    path = config or Path("tocsin.toml")
    if config is not None and not config.is_file():
        raise ConfigError(f"there is no file {config}", code="CFG0002")
    if path.is_file():
        try:
            tomllib.loads(path.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"this is not TOML: {error}", code="CFG0003", place=Place(str(path))) from error
    given = {k: v for k, v in flags.items() if v is not None}

    class _Located(Settings):
        model_config = SettingsConfigDict(**{**Settings.model_config, "toml_file": path if path.is_file() else None})

    try:
        return _Located(**given)
    except ValidationError as error:
        raise _explained(error, path) from error
    except SettingsError as error:
        name = next((n for n in Settings.model_fields if f'"{n}"' in str(error)), "")
        raise ConfigError(
            f"the variable TOCSIN_{name.upper()} is no section of settings",
            code="CFG0005",
            hint=f"A setting of it is TOCSIN_{name.upper()}__NAME, two underscores between section and name.",
        ) from error


def _explained(error: ValidationError, path: Path) -> ConfigError:
    first = error.errors()[0]
    name = ".".join(str(p) for p in first["loc"])
    if first["type"] == "extra_forbidden":
        hint = did_you_mean(name, [n for n, _, _ in describe()])
        return ConfigError(f"there is no setting '{name}'", code="CFG0004", place=Place(str(path)), hint=hint)
    return ConfigError(
        f"setting '{name}': {first['msg'].lower()}, got {first['input']!r}", code="CFG0005", place=Place(str(path))
    )


def describe() -> Iterator[tuple[str, Any, str]]:
    """Every setting's dotted name, default and description, in order."""
    yield from _describe(Settings, "")


def _describe(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, Any, str]]:
    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _describe(kind, f"{prefix}{name}.")
        else:
            default: Mapping[str, Any] | Any = info.get_default(call_default_factory=False)
            yield f"{prefix}{name}", default, info.description or ""
