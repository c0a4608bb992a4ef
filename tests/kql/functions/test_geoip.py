"""What geo_info_from_ip_address answers, over a real MaxMind file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from tests.kql.executor import rows
from tocsin.kql import KqlErrors
from tocsin.kql.functions.python import geoip

RECORD = {
    "country": {"names": {"en": "Sweden"}},
    "subdivisions": [{"names": {"en": "Östergötland"}}],
    "city": {"names": {"en": "Linköping"}},
    "location": {"latitude": 58.4167, "longitude": 15.6167},
}


def database(path: Path, networks: dict[str, Any]) -> Path:
    """An MMDB file of these networks."""
    writer = MMDBWriter(6, "Tocsin-Test-City", languages=["en"], ipv4_compatible=True, float_type="f64")
    for network, record in networks.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return path


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lookup that others set stays theirs."""
    monkeypatch.setattr(geoip, "_lookup", None)


def test_answers_what_is_known(tmp_path: Path) -> None:
    from tocsin.workspace.places import use_places

    path = database(tmp_path / "city.mmdb", {"89.160.20.0/24": RECORD, "2001:db8::/32": {"country": "AU"}})
    with use_places(path) as ready:
        assert ready
        assert rows("print p = geo_info_from_ip_address('89.160.20.112')") == [
            [
                {
                    "country": "Sweden",
                    "state": "Östergötland",
                    "city": "Linköping",
                    "latitude": 58.4167,
                    "longitude": 15.6167,
                }
            ]
        ]
        assert rows("print tostring(geo_info_from_ip_address('2001:db8::5').country)") == [["AU"]]
        assert rows("print geo_info_from_ip_address('1.1.1.1'), geo_info_from_ip_address('no address')") == [[{}, None]]
    with pytest.raises(KqlErrors, match="no database of places"):
        rows("print geo_info_from_ip_address('1.1.1.1')")


def test_takes_up_a_replaced_file_and_keeps_the_old_one_when_it_is_broken(tmp_path: Path) -> None:
    from tocsin.workspace.places import Places

    path = database(tmp_path / "city.mmdb", {"10.0.0.0/8": {"country": "A"}})
    places = Places(path)
    assert places.find("10.1.1.1") == {"country": "A"}
    database(tmp_path / "new.mmdb", {"10.0.0.0/8": {"country": "B"}}).rename(path)
    assert places.find("10.1.1.1") == {"country": "B"}
    (tmp_path / "bad.mmdb").write_bytes(b"no database")
    (tmp_path / "bad.mmdb").rename(path)
    assert places.find("10.1.1.1") == {"country": "B"}
    path.unlink()
    assert places.find("10.1.1.1") == {"country": "B"}
    places.close()


def test_a_file_that_is_none_is_said_and_the_function_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from tocsin.workspace.doctor import examine
    from tocsin.workspace.places import use_places
    from tocsin.workspace.settings import Settings

    path = tmp_path / "city.mmdb"
    path.write_bytes(b"something else")
    with use_places(path) as ready:
        assert not ready
        assert not geoip.configured()
    assert "geoip.database" in caplog.text

    def finding(database: Path | None) -> tuple[str, str]:
        settings = Settings.model_validate({"data": tmp_path, "geoip": {"database": database}})
        [check] = [c for c in examine(settings) if c.name == "places"]
        return check.verdict, check.fact

    assert finding(path)[0] == "failed"
    assert finding(tmp_path / "absent.mmdb")[0] == "failed"
    assert finding(None) == ("ok", "no database of places: geo_info_from_ip_address() is refused")
    verdict, fact = finding(database(path, {"10.0.0.0/8": RECORD}))
    assert verdict == "ok"
    assert "Tocsin-Test-City" in fact
