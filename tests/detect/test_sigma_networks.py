"""The network of a Zeek sensor: the scope of the private addresses in what Sigma says of its events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from tocsin.content import Watchlist, load_packs, packs_dir
from tocsin.detect.sigma.events import event_entities
from tocsin.detect.sigma.kept import hits_of, plain_hit
from tocsin.detect.sigma.matcher import SigmaMatcher
from tocsin.detect.sigma.networks import SensorNetworks
from tocsin.ingest.model import SourceBatch
from tocsin.query import QueryService
from tocsin.tables import Entity

from .support import detection, sigma

SENSORS = pa.table(
    {
        "SearchKey": ["Sensor1.corp.com", "bare", "", None],
        "Network": ["plant", "", "none", "none"],
        "Note": list("abcd"),
    }
)
LIST = Watchlist("ZeekSensors", SENSORS, Path("ZeekSensors.csv"), "site")


@pytest.fixture
def queries() -> Iterator[QueryService]:
    functions = load_packs([packs_dir()], only=("functions",)).functions
    service = QueryService(None, functions=[f for f in functions if f.name == "ZeekNetwork"])
    yield service
    service.close()


@pytest.mark.parametrize(
    "lists", [(), (LIST,), (Watchlist("zeeksensors", SENSORS.drop_columns(["Network"]), Path("x"), "site"),)]
)
def test_sigma_says_what_the_function_says(lists: tuple[Watchlist, ...], queries: QueryService) -> None:
    queries.set_watchlists({"ZeekSensors": lists[0].table} if lists else {})
    networks = SensorNetworks(lambda: lists)
    for sensor in ("sensor1.corp.com", "SENSOR1.CORP.COM", "bare", "other", ""):
        assert networks.of(sensor) == queries.run(f"print ZeekNetwork('{sensor}')").rows()[0][0], sensor


def test_a_watchlist_that_changes_counts_from_then_on() -> None:
    lists: tuple[Watchlist, ...] = ()
    networks = SensorNetworks(lambda: lists)
    assert networks.of("bare") == networks.of("sensor1.corp.com") == "zeek"
    lists = (LIST,)
    assert (networks.of("bare"), networks.of("sensor1.corp.com")) == ("zeek", "plant")


def test_a_private_address_is_one_machine_of_the_sensors_network() -> None:
    row = {
        "@system": "sensor1.corp.com",
        "id.orig_h": "10.0.0.5",
        "id.resp_h": "192.168.0.4",
        "host": "192.168.0.4:8080",
    }
    found = event_entities("zeek.http", row, SensorNetworks(lambda: (LIST,)))
    assert found == tuple(Entity("IP", {"Address": a, "AddressScope": "plant"}) for a in ("10.0.0.5", "192.168.0.4")), (
        "a host that is called by its address is no domain"
    )
    assert [k[0] for e in found for k in e.strong_keys()] == ["ip.scoped", "ip.scoped"]
    assert [e.label for e in event_entities("zeek.http", {**row, "host": "Files.corp.com"}) if e.type == "DNS"] == [
        "files.corp.com"
    ]


def test_what_is_kept_over_a_restart_keeps_its_network() -> None:
    (rule,) = sigma(detection("  s: {query|endswith: .evil}\n  condition: s", "{product: zeek, service: dns}")).rules
    matcher = SigmaMatcher([rule], networks=SensorNetworks(lambda: (LIST,)))
    row = {"@system": "sensor1.corp.com", "id.orig_h": "10.0.0.5", "query": "x.evil"}
    (hit,) = matcher.hits(SourceBatch("zeek.dns", pa.table({k: [v] for k, v in row.items()}), "t"))
    (again,) = hits_of([plain_hit(hit)], {rule.id: (0, rule)})
    assert again.event.entities == hit.event.entities
    assert hit.event.entities[0].identifiers["AddressScope"] == "plant"
