"""What the gate and its actions may do (``[respond]`` in `tocsin.toml`)."""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

__all__ = ["BlockSettings", "RespondSettings", "ResponderSettings", "WebhookSettings"]


def _network(text: str) -> str:
    return str(ipaddress.ip_network(text, strict=False))


Network = Annotated[str, AfterValidator(_network)]


class BlockSettings(BaseModel):
    """Blocking addresses on this host."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    never: tuple[Network, ...] = Field(default=(), description="Addresses and networks that must never be blocked.")
    longest: timedelta = Field(
        default=timedelta(days=30), description="The longest time for which an address may be blocked."
    )
    command: tuple[str, ...] = Field(
        default=(),
        description="Words before each command, for example `sudo -n`, or `ip netns exec NAME` to act in a namespace.",
    )


class WebhookSettings(BaseModel):
    """Sending incidents to other systems."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trusted: tuple[str, ...] = Field(
        default=(), description="URL prefixes to which incidents may be sent without approval, up to a slash."
    )
    secret: SecretStr | None = Field(
        default=None,
        description="Key of the HMAC signature. Without one, a key is made at first use and kept in state.",
    )
    timeout: float = Field(
        default=10.0, gt=0, le=60, description="Seconds for connecting, and for each wait for the answer."
    )


class ResponderSettings(BaseModel):
    """The system that acts on devices, accounts, files and mails for Tocsin."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(
        default="",
        pattern=r"^(https?://.+)?$",
        max_length=2048,
        description="Where approved responses of detections are sent, signed as webhooks are. Without it they are proposed and can't be done.",
    )


class RespondSettings(BaseModel):
    """The gate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    proposal_lasts: timedelta = Field(
        default=timedelta(days=7),
        description="A proposal that nobody decides within that time has lapsed, which means rejected.",
    )
    four_eyes: bool = Field(
        default=False, description="Whoever proposes an action that needs approval may not be the one who approves it."
    )
    egress_allow: tuple[str, ...] = Field(
        default=(), description="Hosts and networks inside that actions may send to; public addresses always may be."
    )
    block: BlockSettings = BlockSettings()
    webhook: WebhookSettings = WebhookSettings()
    responder: ResponderSettings = ResponderSettings()
