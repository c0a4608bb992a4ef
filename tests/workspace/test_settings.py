"""Settings: where they come from, and what is said about wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.base.errors import ConfigError
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
