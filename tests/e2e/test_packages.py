"""The wheel and the sdist hold everything: installed into an empty environment, `tocsin scan` and `tocsin up` work from another folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.e2e.server import ROOT, Server

# Wherever `make env` found it or put it.
UV = shutil.which(
    "uv", path=f"{Path(sys.executable).parent}:{ROOT}/.make/uv-env/bin:{ROOT}/.make:{os.environ.get('PATH', '')}"
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),  # where the portal isn't built yet, the build does that first
    pytest.mark.skipif(UV is None, reason="uv isn't there to build with (make env brings it)"),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this isn't a checkout"),
]
STATIC = "src/tocsin/portal/static"


def run(*command: str | Path, cwd: Path, **more: str) -> str:
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("TOCSIN_", "PYTHON", "VIRTUAL_ENV", "UV_PROJECT"))
    }
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=clean | more, capture_output=True, text=True, timeout=800, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """sdist and wheel, built as `make wheel` does but from a copy of the checkout, so that nothing is written into it."""
    copy, out = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("packages")
    for name in run("git", "ls-files", "-z", "-c", "-o", "--exclude-standard", cwd=ROOT).split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    if (ROOT / STATIC).is_dir():
        shutil.copytree(ROOT / STATIC, copy / STATIC)
    run(str(UV), "build", "--out-dir", out, cwd=copy)
    return out


@pytest.fixture(scope="module")
def wheel(packages: Path) -> Path:
    (found,) = packages.glob("*.whl")
    return found


def test_the_wheel_holds_packs_and_portal_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert all(n.startswith(("tocsin/", "tocsin-")) for n in names)
    packs = {n.removeprefix("tocsin/") for n in names if n.startswith("tocsin/packs/")}
    shipped = {
        str(p.relative_to(ROOT)) for p in (ROOT / "packs").rglob("*") if p.is_file() and "__pycache__" not in p.parts
    }
    assert packs == shipped
    assert "tocsin/portal/static/index.html" in names
    assert any(re.fullmatch(r"tocsin/portal/static/assets/.*\.js\.br", n) for n in names)
    assert not [n for n in names if "node_modules" in n or "__pycache__" in n or n.endswith(".map")]
    assert any(n.endswith(".dist-info/licenses/LICENSE") for n in names)


def test_the_sdist_can_be_built_again_without_node(packages: Path, wheel: Path, tmp_path: Path) -> None:
    (sdist,) = packages.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    for name in (
        "Makefile",
        "pyproject.toml",
        "uv.lock",
        "tools/bootstrap.py",
        "packs",
        "ui/package.json",
        "tests",
        "docs",
        STATIC,
    ):
        assert (folder / name).exists(), name
    assert not list(folder.rglob("node_modules"))
    # A registry that isn't there: a build that asked it for Node's packages would fail.
    run(
        str(UV),
        "build",
        "--wheel",
        "--out-dir",
        tmp_path / "again",
        cwd=folder,
        npm_config_registry="http://127.0.0.1:9/",
    )
    (again,) = (tmp_path / "again").glob("*.whl")
    with zipfile.ZipFile(again) as one, zipfile.ZipFile(wheel) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())


EVENT = {
    "Channel": "Microsoft-Windows-Sysmon/Operational", "SourceName": "Microsoft-Windows-Sysmon", "EventID": 1, "Hostname": "pc1",
    "TimeCreated": "2024-05-01T10:00:00.123Z", "Image": r"C:\Windows\System32\vssadmin.exe", "ProcessId": "7", "User": r"CORP\ann",
    "CommandLine": "vssadmin.exe delete shadows /all /quiet", "ParentImage": r"C:\Windows\System32\cmd.exe",
}  # fmt: skip


def test_scan_and_up_work_from_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    python = tmp_path / "venv/bin/python"
    run(str(UV), "venv", "--python", sys.executable, tmp_path / "venv", cwd=elsewhere)
    run(str(UV), "pip", "install", "--python", python, wheel, cwd=elsewhere)
    tocsin = tmp_path / "venv/bin/tocsin"
    where = run(python, "-c", "import tocsin; print(tocsin.__file__)", cwd=elsewhere)
    assert str(tmp_path / "venv") in where
    assert run(tocsin, "--version", cwd=elsewhere).startswith("tocsin ")

    (elsewhere / "log.json").write_text(json.dumps(EVENT) + "\n")
    answer = json.loads(run(tocsin, "scan", "log.json", "--json", "--html", "report.html", cwd=elsewhere))
    assert answer["errors"] == []
    assert "T1490" in {t for i in answer["incidents"] for t in i["techniques"]}
    assert "<html" in (elsewhere / "report.html").read_text()
    run(tocsin, "rules", "list", cwd=elsewhere)

    server = Server(tmp_path / "data", command=[str(tocsin)])
    try:
        server.start(cwd=elsewhere)
        assert "not built" not in server.said()
        client = server.signed_in()
        page = client.get("/")
        assert page.status_code == 200
        scripts = re.findall(r'(?:src|href)="(/?assets/[^"]+)"', page.text)
        assert scripts
        for script in scripts:
            assert client.get(f"/{script.lstrip('/')}").status_code == 200
        assert len(client.get("/api/v1/rules").json()["items"]) >= 40
        assert server.rows("print x = 1 + 1") == [[2]]
        assert server.stop() == 0
    finally:
        server.close()
