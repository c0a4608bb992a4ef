"""msticpy's Sentinel and Kusto drivers over a real socket, in an environment of their own: msticpy brings 425 MB with it (panel, bokeh,
pandas), which have no place in everybody's. The environment is made from uv.lock's group `notebooks`, once a checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from tests.api.conftest import Served, Tls, open_served
from tocsin.lake import TableBatch
from tocsin.query import QuerySettings, RoleLimits, RolesLimits

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".make" / "notebooks"

pytestmark = [pytest.mark.slow, pytest.mark.system]


@pytest.fixture(scope="module")
def notebook() -> Path:
    """The Python that has msticpy."""
    uv = next(
        (
            p
            for p in (
                shutil.which("uv"),
                ROOT / ".make/uv-env/bin/uv",
                ROOT / ".make/uv",
                Path(sys.executable).with_name("uv"),
            )
            if p and Path(p).exists()
        ),
        None,
    )
    if uv is None:
        pytest.skip("uv, which makes msticpy's environment, isn't here; `make env` fetches it")
    made = subprocess.run(
        [uv, "sync", "--locked", "--only-group", "notebooks", "--no-install-project", "--python", sys.executable, "--quiet"],
        cwd=ROOT, env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(HOME)}, capture_output=True, text=True,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"msticpy's environment could not be made: {made.stderr.strip()[-300:]}")
    return HOME / "bin" / "python"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tls: Tls) -> Iterator[Served]:
    query = QuerySettings(roles=RolesLimits(reader=RoleLimits(rows=1000)))
    for made in open_served(tmp_path_factory.mktemp("data"), start=False, query=query, tls=tls):
        now = datetime.now(UTC).replace(tzinfo=None)
        events = pa.table(
            {
                "TimeGenerated": [now - timedelta(hours=h, minutes=30) for h in range(10)],
                "EventID": [4624 + h % 2 for h in range(10)],
                "Computer": [f"ws-{h % 3}" for h in range(10)],
                "LogonType": [3] * 10,
            }
        )
        made.workspace.lake.put(1, [TableBatch("SecurityEvent", events)])
        yield made


def test_a_notebook(notebook: Path, served: Served, tls: Tls, tmp_path: Path) -> None:
    workspace, token = served.workspace, served.token()
    (tmp_path / "msticpyconfig.yaml").write_text(
        f"""
Azure:
  cloud: global
  resource_manager_url: {served.url}
  auth_methods: [env]
AzureSentinel:
  Workspaces:
    Tocsin:
      WorkspaceId: {workspace.id}
      TenantId: adfs
      SubscriptionId: {workspace.id}
      ResourceGroup: any
      WorkspaceName: {workspace.name}
"""
    )
    # msticpy doesn't ask for the cloud's endpoints when it believes that its own tests run.
    ours = ("PYTHON", "PYTEST", "VIRTUAL_ENV")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)} | {
        "HOME": str(tmp_path),
        "MSTICPYCONFIG": str(tmp_path / "msticpyconfig.yaml"),
        "AZURE_CLIENT_ID": "any",
        "AZURE_CLIENT_SECRET": token,
        "AZURE_TENANT_ID": "adfs",
        "SSL_CERT_FILE": str(tls.authority),
        "REQUESTS_CA_BUNDLE": str(tls.authority),
        "NO_PROXY": "127.0.0.1",
    }
    script = Path(__file__).with_name("msticpy_session.py")
    ran = subprocess.run(
        [notebook, script, served.url, token, workspace.name],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-4000:]
    counts = [{"EventID": 4624, "n": 5}, {"EventID": 4625, "n": 5}]
    assert json.loads(ran.stdout.strip().splitlines()[-1]) == {
        "connected": True,
        "schema": "int",
        "counts": counts,
        "typed": ["2026-01-02 03:04:05.500000+00:00", 2**63 - 1, 1.5, True, "é", {"a": 1}],
        "windowed": 3,
        "shipped": [1, ["ws-1"]],
        "error": ["MsticpyDataQueryError", True],
        "partial": [1000, True],
        "databases": ["tocsin"],
        "kusto_schema": "Int32",
        "kusto_counts": counts,
        "kusto_typed": ["2026-01-02 03:04:05.500000+00:00", "1 days 00:00:00", 2**63 - 1, True, True, {"a": 1}, 1.5],
        "kusto_error": ["MsticpyDataQueryError", True],
    }
