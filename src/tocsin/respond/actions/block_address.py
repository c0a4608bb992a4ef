"""`host.block_address`: this host drops every packet from and to an address for some time (nftables, in a table of our own)."""

from __future__ import annotations

import ipaddress
import threading
import time
from datetime import datetime, timedelta
from typing import ClassVar

from pydantic import Field, field_serializer, field_validator

from tocsin.base.http import Address, embedded
from tocsin.detect.alert import iso
from tocsin.respond.errors import BadInputError
from tocsin.respond.host import addresses_of_host, gateways_of_host
from tocsin.respond.kind import Able, ActionInput, Approval, Context, Outcome, OutsideKind
from tocsin.respond.nft import Nft
from tocsin.respond.settings import BlockSettings

__all__ = ["BlockAddress", "BlockAddressInput"]

_LOOK_AGAIN = 5.0


class BlockAddressInput(ActionInput):
    """Which address, and for how long."""

    address: str = Field(description="An IPv4 or IPv6 address", max_length=64)
    duration: timedelta = Field(
        default=timedelta(hours=24), description="ISO 8601 (PT1H, P1D) or seconds; a second at least"
    )
    reason: str = Field(default="", max_length=500, description="Why, for whoever approves it")

    @field_validator("address")
    @classmethod
    def _one_address(cls, text: str) -> str:
        """The canonical form of exactly one address; ``::ffff:192.0.2.1`` is the IPv4 address inside, which is what packets carry."""
        address = ipaddress.ip_address(text)
        if isinstance(address, ipaddress.IPv6Address):
            if address.scope_id is not None:
                raise ValueError("an address with a zone can't be blocked")
            address = address.ipv4_mapped or address
        return str(address)

    @field_validator("duration")
    @classmethod
    def _long_enough(cls, duration: timedelta) -> timedelta:
        if duration < timedelta(seconds=1):
            raise ValueError("the duration must be a second at least")
        return duration

    @field_serializer("duration")
    def _seconds(self, duration: timedelta) -> str:
        return f"PT{round(duration.total_seconds())}S"

    @property
    def parsed(self) -> Address:
        """The address."""
        return ipaddress.ip_address(self.address)


class BlockAddress(OutsideKind[BlockAddressInput]):
    """Blocks an address on this host. Refuses what would cut the host off, or what settings protect."""

    kind: ClassVar[str] = "host.block_address"
    title: ClassVar[str] = "Block an address on this host"
    description: ClassVar[str] = (
        "Drops all packets from and to an address with nftables, on the host that Tocsin runs on. Ends by itself; can be undone."
    )
    expires: ClassVar[bool] = True
    usual_approval: ClassVar[Approval] = Approval.ONE
    Input = BlockAddressInput

    def __init__(self, settings: BlockSettings | None = None) -> None:
        self._settings = settings or BlockSettings()
        self._nft = Nft(self._settings.command)
        self._never = [ipaddress.ip_network(n) for n in self._settings.never]
        self._turn = threading.Lock()  # two blocks of one address must see each other
        self._looked: tuple[float, Able] | None = None

    def approval(self, given: BlockAddressInput) -> Approval:  # noqa: ARG002
        """See ActionKind."""
        return Approval.ONE

    def describe(self, given: BlockAddressInput) -> tuple[str, str]:
        """See ActionKind."""
        why = f" Reason: {given.reason}" if given.reason else ""
        length = _length(given.duration)
        return f"Block {given.address}", f"This host drops every packet from and to {given.address} for {length}.{why}"

    def effect(self, given: BlockAddressInput) -> str:
        """See ActionKind."""
        return given.address

    def able(self) -> Able:
        """See ActionKind. The answer holds for some seconds: pages ask often."""
        now = time.monotonic()
        if self._looked is None or now - self._looked[0] > _LOOK_AGAIN:
            self._looked = (now, self._nft.able())
        return self._looked[1]

    def check(self, given: BlockAddressInput) -> None:
        """See ActionKind."""
        address = given.parsed
        if given.duration > self._settings.longest:
            raise BadInputError(
                f"An address is blocked for {_length(self._settings.longest)} at most.",
                hint="The setting is respond.block.longest.",
            )
        for a in {address, embedded(address)}:
            if a.is_loopback or a.is_unspecified or a.is_multicast or str(a) == "255.255.255.255":
                raise BadInputError(f"{address} is not an address of another host.")
            if isinstance(a, ipaddress.IPv6Address) and a.is_link_local:
                raise BadInputError(f"{address} is link-local: it names another host on each link.")
            for network in self._never:
                if a.version == network.version and a in network:
                    raise BadInputError(
                        f"Settings say that {network} must never be blocked.", hint="See respond.block.never."
                    )
        if address in addresses_of_host(self._settings.command):
            raise BadInputError(f"{address} is this host's own address.")
        if address in gateways_of_host(self._settings.command):
            raise BadInputError(f"{address} is this host's gateway: blocking it would cut the host off.")

    def execute(self, context: Context[BlockAddressInput]) -> Outcome:
        """See OutsideKind. An address that another action has blocked for longer stays blocked for that long."""
        address = context.given.parsed
        with self._turn:
            until = context.now + context.given.duration
            longest = max([until, *_ends(context)])
            self._nft.block(address, longest - context.now)
        return Outcome(
            {"address": str(address), "until": iso(until)},
            {"address": str(address)},
            expires_at=until,
            text=f"Blocked until {iso(until)}.",
        )

    def undo(self, context: Context[BlockAddressInput]) -> str:
        """See OutsideKind. While another action blocks the address too, it stays blocked for that one's time."""
        address = context.given.parsed
        with self._turn:
            if ends := _ends(context):
                self._nft.block(address, max(ends) - context.now)
                return f"Another action blocks {address} too: it stays blocked until {iso(max(ends))}."
            was = self._nft.unblock(address)
        return f"{address} is no longer blocked." if was else f"{address} was not blocked any more."

    def restore(self, context: Context[BlockAddressInput]) -> str | None:
        """See OutsideKind. A restart of the machine empties nftables."""
        ends = context.action.expires_at
        if ends is None or ends <= context.now:
            return None
        address = context.given.parsed
        with self._turn:
            held = self._nft.remaining(address)
            if held is not None:
                return None
            self._nft.block(address, ends - context.now)
        return f"{address} is blocked again until {iso(ends)}."


def _ends(context: Context[BlockAddressInput]) -> list[datetime]:
    """When other actions' blocks of the address end; one that is being done now will last for what it asks."""
    return [o.expires_at or context.now + BlockAddressInput.model_validate(o.input).duration for o in context.others()]


def _length(duration: timedelta) -> str:
    """A duration as people say it: 90 minutes, 24 hours, 7 days."""
    seconds = round(duration.total_seconds())
    for size, unit, least in ((86400, "day", 2), (3600, "hour", 2), (60, "minute", 2)):
        if seconds % size == 0 and seconds // size >= least:
            return f"{seconds // size} {unit}s"
    return f"{seconds} second{'s' if seconds != 1 else ''}"
