"""Makes `.venv` from `uv.lock` on a machine that has Python 3.11 or newer and nothing else.

uv comes, in this order, from the PATH, from pip in a fresh environment, or (Debian's python3 without python3-venv) as the
wheel itself, fetched by the standard library and checked against the index's SHA-256. Run by `make env`.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
import zipfile
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
TOOLS = ROOT / ".make"
INDEX = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL") or "https://pypi.org/simple"


def main() -> int:
    if sys.version_info < (3, 11):
        print(
            f"Tocsin needs Python 3.11 or newer; this is {platform.python_version()} ({sys.executable}).",
            file=sys.stderr,
        )
        print("Name another one with `make PYTHON=/path/to/python3.11 …`.", file=sys.stderr)
        return 1
    uv = find_uv()
    command = [str(uv), "sync", "--locked", "--python", sys.executable]
    print("+", " ".join(command), flush=True)
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "VIRTUAL_ENV": ""}, check=False).returncode


def find_uv() -> Path:
    """The path of a working uv, fetched if need be."""
    for candidate in (shutil.which("uv"), TOOLS / "uv-env/bin/uv", TOOLS / "uv"):
        if candidate and Path(candidate).exists():
            return Path(candidate)
    environment = TOOLS / "uv-env"
    if (
        subprocess.run([sys.executable, "-m", "venv", str(environment)], capture_output=True, check=False).returncode
        == 0
    ):
        pip = subprocess.run(
            [str(environment / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "uv"], check=False
        )
        if pip.returncode == 0:
            return environment / "bin/uv"
    shutil.rmtree(environment, ignore_errors=True)
    return fetch_uv()


def fetch_uv() -> Path:
    """Takes uv's binary out of its wheel, without pip."""
    machine = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}.get(
        platform.machine().lower()
    )
    if machine is None or sys.platform != "linux":
        raise SystemExit("python3 -m venv does not work here. Install python3-venv, or uv, and run this again.")
    request = urllib.request.Request(
        f"{INDEX.rstrip('/')}/uv/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        files = json.load(answer)["files"]
    wheels = [f for f in files if f["filename"].endswith(f"manylinux_2_17_{machine}.manylinux2014_{machine}.whl")]
    if not wheels:
        raise SystemExit("The package index has no uv wheel for this machine. Install python3-venv or uv.")
    wheel = wheels[-1]
    with urllib.request.urlopen(urllib.parse.urljoin(request.full_url, wheel["url"]), timeout=300) as answer:
        body = answer.read()
    if hashlib.sha256(body).hexdigest() != wheel["hashes"]["sha256"]:
        raise SystemExit(f"{wheel['filename']} does not have the SHA-256 that the index names.")
    with zipfile.ZipFile(BytesIO(body)) as archive:
        member = next(n for n in archive.namelist() if n.endswith("/scripts/uv"))
        target = TOOLS / "uv"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(archive.read(member))
    target.chmod(0o755)
    return target


if __name__ == "__main__":
    raise SystemExit(main())
