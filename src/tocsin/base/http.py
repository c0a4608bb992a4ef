"""The one way out over HTTP: a client that refuses addresses inside unless they were allowed, and never follows redirects.

The check is made where the connection is: on the address that a name resolves to, at the moment of connecting, so that a name can't answer with
a public address to the check and with a private one to the connection. Proxies of the environment are not used for the same reason.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from tocsin.base.errors import ConfigError, TocsinError

__all__ = ["Address", "EgressClient", "EgressError", "EgressPolicy", "EgressResponse"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class EgressError(TocsinError):
    """A request that isn't allowed out (HTT0001), or that failed on its way (HTT0002)."""

    code = "HTT0001"


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """Where requests may go. Public addresses may be reached unless `public` is False; others when `allow` names them.

    An entry of `allow` is an address, a network (``10.1.0.0/16``), or a host name, which allows whatever it resolves to.
    """

    names: frozenset[str] = frozenset()
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    public: bool = True

    @classmethod
    def of(cls, allow: Iterable[str] = (), *, public: bool = True) -> EgressPolicy:
        """The policy of a setting's entries; ConfigError for one that is neither an address, a network nor a name."""
        names: set[str] = set()
        networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for entry in allow:
            text = entry.strip().rstrip(".").lower()
            try:
                networks.append(ipaddress.ip_network(text, strict=False))
            except ValueError:
                if not text or any(c in text for c in "/:@ ?#"):
                    raise ConfigError(
                        f"{entry!r} is no host, address or network to allow.",
                        hint="For example 10.1.0.0/16 or hooks.example.org.",
                    ) from None
                names.add(text)
        return cls(frozenset(names), tuple(networks), public)

    def allows(self, host: str, address: Address) -> bool:
        """Whether a connection to that address, asked for by that name, may be made."""
        if host.rstrip(".").lower() in self.names:
            return True
        inner = embedded(address)
        if any(a.version == n.version and a in n for a in (address, inner) for n in self.networks):
            return True
        return self.public and is_public(address) and is_public(inner)


def embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to (mapped, NAT64, 6to4), or the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if address.sixtofour is not None:
            return address.sixtofour
    return address


def is_public(address: Address) -> bool:
    """Whether the address is one of the internet's: not private, loopback, link-local, multicast, reserved or unspecified."""
    if isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped is not None or address in _NAT64):
        return True  # what it leads to decides
    return address.is_global and not address.is_multicast and not address.is_reserved


@dataclass(frozen=True, slots=True)
class EgressResponse:
    """An answer: its status, headers and at most the allowed number of bytes (`truncated` when there were more)."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool


class EgressClient:
    """Sends single requests under a policy.

    `timeout` seconds bound each phase (connect, write, each read), `max_bytes` what is read of an answer.
    """

    def __init__(
        self,
        policy: EgressPolicy | None = None,
        *,
        timeout: float = 10.0,
        max_bytes: int = 256 * 1024,
        resolve: Callable[[str, int], Sequence[str]] | None = None,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self.policy = policy or EgressPolicy()
        self._timeout = httpx.Timeout(timeout)
        self._max_bytes = max_bytes
        self._resolve = resolve or _resolve
        self._verify = verify

    def check(self, url: str) -> None:
        """Raises EgressError when the URL may not be asked for: what can be said without connecting, names resolved included."""
        parsed = self._parse(url)
        self._addresses(parsed.host, parsed.port or (443 if parsed.scheme == "https" else 80))

    def request(
        self, method: str, url: str, *, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> EgressResponse:
        """Sends a request. A redirect is an answer like any other. EgressError when it isn't allowed or fails."""
        self._parse(url)
        transport = _CheckedTransport(self._addresses, self._verify)
        try:
            with (
                httpx.Client(
                    transport=transport, timeout=self._timeout, follow_redirects=False, trust_env=False
                ) as client,
                client.stream(method, url, content=content, headers=dict(headers or {})) as answer,
            ):
                body = bytearray()
                truncated = False
                for chunk in answer.iter_raw():  # not decompressed: a small answer must not become a large one
                    room = self._max_bytes - len(body)
                    body += chunk[:room]
                    if len(chunk) > room:
                        truncated = True
                        break
                return EgressResponse(answer.status_code, dict(answer.headers), bytes(body), truncated)
        except EgressError:
            raise
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            host = httpx.URL(url).host
            text = str(error) or type(error).__name__
            raise EgressError(f"The request to {host} failed: {text}", code="HTT0002") from error

    @staticmethod
    def _parse(url: str) -> httpx.URL:
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, TypeError, ValueError) as error:
            raise EgressError(f"{url!r} is no URL.") from error
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise EgressError("Only http and https URLs with a host can be asked for.")
        if parsed.userinfo:
            raise EgressError(
                "A URL with a name and password in it isn't sent.", hint="Put the secret into a header or a key."
            )
        return parsed

    def _addresses(self, host: str, port: int) -> list[str]:
        """What the host resolves to, all of it allowed; EgressError otherwise."""
        try:
            found = self._resolve(host, port)
        except OSError as error:
            raise EgressError(f"{host} can't be resolved: {error.strerror or error}", code="HTT0002") from error
        for text in found:
            address = ipaddress.ip_address(text.partition("%")[0])
            if not self.policy.allows(host, address):
                what = f"{host} is {address}, which" if host != str(address) else f"{address}"
                raise EgressError(
                    f"{what} is not a public address, and settings don't allow it.",
                    hint="Allow the host or its network in `respond.egress_allow`.",
                )
        if not found:
            raise EgressError(f"{host} has no address.", code="HTT0002")
        return list(found)


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _CheckedBackend(httpcore.SyncBackend):
    """Connects to an address that was checked, whatever the name says by then."""

    def __init__(self, addresses: Callable[[str, int], Sequence[str]]) -> None:
        super().__init__()
        self._addresses = addresses

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """See httpcore. TLS still verifies the name: it is given to start_tls apart from the address."""
        last: Exception | None = None
        for address in self._addresses(host, port):
            try:
                return super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
        assert last is not None
        raise last

    def connect_unix_socket(self, *_args: Any, **_kwargs: Any) -> httpcore.NetworkStream:
        """Never: a socket on this machine is no way out."""
        raise EgressError("Requests to sockets of this machine aren't made.")


class _CheckedTransport(httpx.HTTPTransport):
    """httpx's transport over a pool whose connections are checked."""

    def __init__(self, addresses: Callable[[str, int], Sequence[str]], verify: ssl.SSLContext | bool) -> None:
        super().__init__(verify=verify, trust_env=False)
        context = httpx.create_ssl_context(verify=verify, trust_env=False)
        self._pool.close()
        self._pool = httpcore.ConnectionPool(
            ssl_context=context, network_backend=_CheckedBackend(addresses), http1=True, http2=False
        )
