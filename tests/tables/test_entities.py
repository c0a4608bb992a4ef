"""Entities: keys that join what is one thing and never what only looks alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.tables import Entity


@pytest.mark.parametrize(
    ("entity", "strong"),
    [
        (Entity("Host", {"FullName": "ws1.contoso.com"}), {("host", "ws1", "contoso.com")}),
        (Entity("Host", {"HostName": "WS1"}), set()),
        (Entity("Account", {"FullName": "CONTOSO\\Ann"}), {("account.nt", "contoso", "ann")}),
        (Entity("Account", {"FullName": "ann@contoso.com"}), {("account", "ann", "contoso.com")}),
        (Entity("Account", {"Name": "ann"}), set()),
        (Entity("Account", {"Name": "SYSTEM", "NTDomain": "NT AUTHORITY"}), set()),
        (Entity("Account", {"Sid": "S-1-5-18"}), set()),
        (Entity("Account", {"Name": "-", "Sid": "S-1-5-21-1-2-3-1001"}), {("account.sid", "s-1-5-21-1-2-3-1001")}),
        (Entity("IP", {"Address": "8.8.8.8"}), {("ip", "8.8.8.8")}),
        (Entity("IP", {"Address": "10.0.0.5"}), set()),
        (Entity("IP", {"Address": "10.0.0.5", "AddressScope": "site-a"}), {("ip.scoped", "10.0.0.5", "site-a")}),
        (Entity("IP", {"Address": "203.0.113.9"}), {("ip", "203.0.113.9")}),
        (Entity("Mailbox", {"MailboxPrimaryAddress": "ann@contoso.com"}), {("account", "ann", "contoso.com")}),
        (Entity("URL", {"Url": "/relative"}), set()),
    ],
)
def test_strong_keys(entity: Entity, strong: set[tuple[str, ...]]) -> None:
    assert set(entity.strong_keys()) == strong


def test_an_address_as_host_name_stays_whole() -> None:
    assert Entity("Host", {"FullName": "10.0.0.5"}).label == "10.0.0.5"
    assert Entity("Account", {"ObjectGuid": "123"}).label == "123"
    assert Entity("Host", {"OMSAgentID": "a1"}).label == "a1"


@given(
    st.sampled_from(["Account", "Host", "IP", "File", "Process", "URL", "Mailbox", "Thing"]),
    st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=5),
)
def test_any_identifiers_make_an_entity(kind: str, identifiers: dict[str, str]) -> None:
    entity = Entity(kind, identifiers)
    assert Entity.from_dict(entity.to_dict()) == entity
    assert isinstance(entity.label, str)
    entity.strong_keys()
    entity.weak_keys()
