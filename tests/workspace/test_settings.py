"""Settings: where they come from, and what is said about wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tocsin.base.errors import ConfigError
from tocsin.workspace.doctor import _links
from tocsin.workspace.settings import describe, load_settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_flag_beats_environment_beats_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tocsin.toml").write_text('data = "from-file"\n[server]\nport = 1111\n')
    assert load_settings().server.port == 1111
    monkeypatch.setenv("TOCSIN_SERVER__PORT", "2222")
    settings = load_settings(data=Path("from-flag"))
    assert (settings.server.port, settings.data) == (2222, Path("from-flag"))


def test_unknown_setting_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    (tmp_path / "tocsin.toml").write_text("[server]\nprot = 1\n")
    with pytest.raises(ConfigError, match=r"no setting 'server\.prot'.*Did you mean 'server\.port'"):
        load_settings()


def test_bad_value_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "tocsin.toml").write_text("[server]\nport = 99999\n")
    with pytest.raises(ConfigError, match=r"CFG0005 .*server\.port"):
        load_settings()


def test_not_toml(tmp_path: Path) -> None:
    (tmp_path / "tocsin.toml").write_text("port: 1\n")
    with pytest.raises(ConfigError, match="CFG0003"):
        load_settings()


def test_every_setting_says_what_it_is_for() -> None:
    assert [name for name, _, text in describe() if len(text) < 15] == []


def test_loopback_only_by_default() -> None:
    settings = load_settings()
    assert {settings.server.host, settings.ingest.syslog_host} == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("server", "address"),
    [
        ({}, "http://127.0.0.1:7443"),
        ({"host": "::1", "port": 80}, "http://[::1]:80"),
        ({"host": "localhost"}, "http://localhost:7443"),
        ({"port": 0}, ""),
        ({"secure_cookie": True}, ""),  # a proxy stands before it
        ({"host": "10.1.2.3"}, ""),
        ({"host": "0.0.0.0", "tls_cert": "x.pem"}, ""),
        ({"host": "::", "tls_cert": "x.pem"}, ""),
        ({"host": "siem.example", "tls_cert": "x.pem"}, "https://siem.example:7443"),
        ({"host": "0.0.0.0", "public_url": "HTTPS://Tocsin.Example/"}, "https://tocsin.example"),
        ({"public_url": "https://[2001:db8::1]:8443"}, "https://[2001:db8::1]:8443"),
    ],
)
def test_where_people_reach_the_portal(server: dict[str, Any], address: str) -> None:
    assert load_settings(server=server).server.address() == address


def test_a_port_that_is_taken_when_it_starts() -> None:
    assert load_settings(server={"port": 0}).server.address(50123) == "http://127.0.0.1:50123"
    assert load_settings(server={"public_url": "http://x"}).server.address(50123) == "http://x"


@pytest.mark.parametrize(
    "given",
    [
        "tocsin.example", "ftp://tocsin.example", "https://", "https://a:99999", "https://ann:x@tocsin.example", "https://tocsin.example/soc",
        "https://tocsin.example?x", "https://tocsin.example#x", "https://a b", "javascript:alert(1)", "https://x\\@y",
    ],
)  # fmt: skip
def test_what_is_no_public_address(given: str) -> None:
    with pytest.raises(ConfigError, match=r"CFG0005 .*server\.public_url"):
        load_settings(server={"public_url": given})


def test_the_doctor_says_when_links_lead_nowhere() -> None:
    assert _links(load_settings()).verdict == "ok"
    found = _links(load_settings(server={"host": "0.0.0.0"}))
    assert (found.verdict, "server.public_url" in found.advice) == ("warning", True)
    assert _links(load_settings(server={"host": "0.0.0.0", "public_url": "https://soc.example"})).verdict == "ok"


def test_the_address_of_a_server_is_no_section(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """TOCSIN_SERVER says where commands find a server; whoever has set it can still use a folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOCSIN_SERVER", "https://tocsin.example")
    monkeypatch.setenv("TOCSIN_SERVER__PORT", "9001")
    assert load_settings().server.port == 9001
    monkeypatch.setenv("TOCSIN_SERVER", '{"host": "0.0.0.0"}')
    assert (load_settings().server.host, load_settings().server.port) == ("0.0.0.0", 9001)
    monkeypatch.setenv("TOCSIN_LAKE", "here")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert (caught.value.code, "TOCSIN_LAKE" in str(caught.value)) == ("CFG0005", True)
