"""The Log Analytics query API by its own client, azure-monitor-query, over a real socket."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pyarrow as pa
import pytest
from azure.core.credentials import AccessToken, AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.core.pipeline.policies import AzureKeyCredentialPolicy
from azure.identity import ClientSecretCredential
from azure.monitor.query import LogsBatchQuery, LogsQueryClient, LogsQueryStatus

from tests.api.conftest import ADMIN, Served, Tls, open_served
from tests.api.test_kusto import SLOW, until
from tocsin.lake import DataFile, TableBatch
from tocsin.query import QuerySettings, RoleLimits, RolesLimits

HOURS = 10


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tls: Tls) -> Iterator[Served]:
    roles = RolesLimits(reader=RoleLimits(rows=1000, seconds=1.5), responder=RoleLimits(concurrent=1))
    query = QuerySettings(queue_seconds=0.2, roles=roles)
    for made in open_served(tmp_path_factory.mktemp("data"), start=False, query=query, tls=tls):
        now = datetime.now(UTC).replace(tzinfo=None)
        events = pa.table(
            {
                "TimeGenerated": [now - timedelta(hours=h, minutes=30) for h in range(HOURS)],
                "EventID": [4624] * HOURS,
            }
        )
        made.workspace.lake.put(1, [TableBatch("SecurityEvent", events)])
        yield made


class Credential:
    """A token as a credential: the shortest form that azure-core takes."""

    def __init__(self, token: str) -> None:
        self._token = token

    def get_token(self, *_scopes: str, **_: Any) -> AccessToken:
        return AccessToken(self._token, int(time.time()) + 300)


@pytest.fixture(scope="module")
def token(served: Served) -> str:
    return served.token()


@pytest.fixture(scope="module")
def client(served: Served, token: str, tls: Tls) -> Iterator[LogsQueryClient]:
    with connected(served, token, tls) as made:
        yield made


def connected(served: Served, token: str, tls: Tls) -> LogsQueryClient:
    return LogsQueryClient(Credential(token), endpoint=served.url, connection_verify=str(tls.authority), retry_total=0)


@pytest.fixture(scope="module")
def raw(served: Served, token: str, tls: Tls) -> Iterator[httpx.Client]:
    import ssl

    context = ssl.create_default_context(cafile=tls.authority)
    with httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {token}"}, verify=context) as made:
        yield made


class TestAnswers:
    def test_values(self, client: LogsQueryClient) -> None:
        text = """print b=true, nb=bool(null), i=int(-7), l=9223372036854775807, r=1.5, nan=real(nan), pinf=real(+inf), d=decimal(1.25), s='é☃', e='',
            t=datetime(2026-01-02T03:04:05.1234567Z), t0=datetime(2026-01-02), nt=datetime(null), ts=time(1.02:03:04),
            g=guid(74be27de-1e4e-49d9-b579-fe0b331d3642), o=dynamic({"a":[1,"x"]}), ds=dynamic("text"), dn=dynamic(null)"""
        answer = client.query_workspace("tocsin", text, timespan=None)
        assert answer.status is LogsQueryStatus.SUCCESS
        (table,) = answer.tables
        assert table.name == "PrimaryResult"
        assert table.columns_types == [
            "bool", "bool", "int", "long", "real", "real", "real", "decimal", "string", "string", "datetime", "datetime", "datetime",
            "timespan", "guid", "dynamic", "dynamic", "dynamic",
        ]  # fmt: skip
        row = table.rows[0]
        assert list(row)[:10] == [True, None, -7, 2**63 - 1, 1.5, "NaN", "Infinity", "1.25", "é☃", ""]
        assert row["t"] == datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)
        assert (row["t0"], row["nt"], row["ts"]) == (datetime(2026, 1, 2, tzinfo=UTC), None, "1.02:03:04")
        assert row["g"] == "74be27de-1e4e-49d9-b579-fe0b331d3642"
        assert (json.loads(row["o"]), row["ds"], row["dn"]) == ({"a": [1, "x"]}, "text", None)

    @pytest.mark.parametrize(
        ("timespan", "rows"),
        [
            (None, HOURS),
            (timedelta(hours=3), 3),
            ("ends", 2),
            ("lasts", 2),
        ],
    )
    def test_time_spans(self, client: LogsQueryClient, served: Served, timespan: Any, rows: int) -> None:
        now = datetime.now(UTC)
        spans = {
            "ends": (now - timedelta(hours=4), now - timedelta(hours=2)),
            "lasts": (now - timedelta(hours=4), timedelta(hours=2)),
        }
        span = spans.get(timespan, timespan) if isinstance(timespan, str) else timespan
        for workspace in (served.workspace.id, "tocsin"):
            answer = client.query_workspace(workspace, "SecurityEvent | count", timespan=span)
            assert answer.tables[0].rows[0][0] == rows

    def test_statistics_and_visualization(self, client: LogsQueryClient) -> None:
        text = "SecurityEvent | summarize count() by EventID | render barchart with (title='Logons')"
        plain = client.query_workspace("tocsin", text, timespan=None)
        assert (plain.statistics, plain.visualization) == (None, None)
        answer = client.query_workspace(
            "tocsin", text, timespan=None, include_statistics=True, include_visualization=True, server_timeout=60
        )
        assert (answer.visualization["visualization"], answer.visualization["title"]) == ("barchart", "Logons")
        assert answer.statistics["query"]["datasetStatistics"][0]["tableRowCount"] == 1
        assert answer.statistics["query"]["inputDatasetStatistics"]["rows"]["scanned"] == HOURS

    def test_archived_days_make_the_result_partial(self, client: LogsQueryClient, served: Served) -> None:
        store, old = served.workspace.lake._store, datetime(2020, 1, 1)  # noqa: DTZ001
        cold = (DataFile("SecurityEvent/x.parquet", 5, 1, (old, old), (old, old)),)
        store.update("SecurityEvent", lambda s: replace(s, archived=cold))
        try:
            answer = client.query_workspace("tocsin", "SecurityEvent | count", timespan=None)
            recent = client.query_workspace("tocsin", "SecurityEvent | count", timespan=timedelta(days=2))
        finally:
            store.update("SecurityEvent", lambda s: replace(s, archived=()))
        assert answer.status == LogsQueryStatus.PARTIAL
        assert answer.partial_data[0].rows[0][0] == HOURS
        assert "1 day of SecurityEvent (2020-01-01) is archived" in answer.partial_error.details[0].message
        assert recent.status == LogsQueryStatus.SUCCESS

    def test_partial_result(self, client: LogsQueryClient) -> None:
        answer = client.query_workspace("tocsin", "range x from 1 to 5000 step 1", timespan=None)
        assert answer.status is LogsQueryStatus.PARTIAL
        assert len(answer.partial_data[0].rows) == 1000
        assert answer.partial_error.code == "PartialError"
        assert "query.roles.reader.rows = 1000" in answer.partial_error.details[0].message

    def test_by_address(self, raw: httpx.Client, served: Served) -> None:
        answer = raw.get("/v1/workspaces/tocsin/query", params={"query": "SecurityEvent | count", "timespan": "PT3H"})
        assert answer.json()["tables"][0]["rows"] == [[3]]
        assert raw.get("/v1/workspaces/tocsin/query").status_code == 400
        named = f"/v1/subscriptions/s/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/{served.workspace.name}/query"
        assert raw.post(named, json={"query": "print 1"}).json()["tables"][0]["rows"] == [[1]]
        other = raw.post(
            "/v1/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm/query",
            json={"query": "print 1"},
        )
        assert (other.status_code, other.json()["error"]["code"]) == (404, "PathNotFoundError")

    def test_a_resource_by_the_client(self, client: LogsQueryClient) -> None:
        resource = "/subscriptions/s/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/tocsin"
        assert client.query_resource(resource, "print 2", timespan=None).tables[0].rows[0][0] == 2

    def test_request_id(self, raw: httpx.Client) -> None:
        answer = raw.post(
            "/v1/workspaces/tocsin/query", json={"query": "print 1"}, headers={"x-ms-client-request-id": "mine"}
        )
        assert answer.headers["x-ms-client-request-id"] == "mine"
        assert answer.headers["x-ms-request-id"]

    def test_metadata(self, raw: httpx.Client, served: Served) -> None:
        found = raw.get("/v1/workspaces/tocsin/metadata").json()
        tables = {t["name"]: t for t in found["tables"]}
        assert {"name": "EventID", "type": "int"}.items() <= next(
            c for c in tables["SecurityEvent"]["columns"] if c["name"] == "EventID"
        ).items()
        assert found["workspaces"][0]["id"] == served.workspace.id
        assert "_GetWatchlist" in {f["name"] for f in found["functions"]}


class TestErrors:
    def failed(self, client: LogsQueryClient, text: str, **given: Any) -> HttpResponseError:
        with pytest.raises(HttpResponseError) as caught:
            client.query_workspace("tocsin", text, **{"timespan": None, **given})
        return caught.value

    def test_syntax_and_semantic(self, client: LogsQueryClient) -> None:
        for text, kind, code in (
            ("SecurityEvent | where (", "SyntaxError", "KQL0013"),
            ("SecurityEvent | where Nope == 1", "SemanticError", "KQL01"),
        ):
            error = self.failed(client, text)
            assert error.status_code == 400
            found = error.response.json()["error"]
            assert (found["code"], found["innererror"]["code"]) == ("BadArgumentError", kind)
            inner = found["innererror"]["innererror"]
            assert inner["code"].startswith(code)
            assert inner["line"] == 1
            assert inner["message"][:30] in str(error)  # azure-core prints what follows with its escapes

    def test_time_limits(self, client: LogsQueryClient, served: Served, tls: Tls) -> None:
        error = self.failed(client, SLOW)
        assert (error.status_code, error.response.json()["error"]["code"]) == (504, "GatewayTimeout")
        assert "query.roles.reader.seconds = 1.5" in str(error)
        assert "Prefer: wait = 1" in str(self.failed(client, SLOW, server_timeout=1))

    def test_access(self, served: Served, tls: Tls) -> None:
        with pytest.raises(HttpResponseError) as refused:
            connected(served, "toc_a_nonsense", tls).query_workspace("tocsin", "print 1", timespan=None)
        assert refused.value.status_code == 401
        assert refused.value.response.json()["error"]["code"] == "AuthorizationRequiredError"
        sender = served.workspace.access.make_token("sender", by=ADMIN)["token"]
        with pytest.raises(HttpResponseError) as forbidden:
            connected(served, sender, tls).query_workspace("tocsin", "print 1", timespan=None)
        assert forbidden.value.status_code == 403
        assert forbidden.value.response.json()["error"]["code"] == "InsufficientAccessError"

    def test_other_workspaces(self, client: LogsQueryClient) -> None:
        with pytest.raises(HttpResponseError) as caught:
            client.query_workspace("00000000-0000-0000-0000-000000000000", "print 1", timespan=None)
        assert (caught.value.status_code, caught.value.response.json()["error"]["code"]) == (404, "PathNotFoundError")
        error = self.failed(client, "print 1", additional_workspaces=["other"])
        assert "There is no workspace 'other' here" in str(error)
        assert client.query_workspace("tocsin", "print 1", timespan=None, additional_workspaces=["tocsin"]).tables

    def test_throttling(self, served: Served, raw: httpx.Client, tls: Tls) -> None:
        token = served.token("Responder")
        asked = {"json": {"query": SLOW}, "headers": {"Authorization": f"Bearer {token}"}, "timeout": 60}
        thread = threading.Thread(target=lambda: raw.post("/v1/workspaces/tocsin/query", **asked))  # type: ignore[arg-type]
        thread.start()
        until(lambda: served.workspace.queries.running())
        error = self.failed(connected(served, token, tls), "print 1")
        assert (error.status_code, error.response.headers["retry-after"]) == (429, "5")
        assert "query.roles.responder.concurrent = 1" in str(error)
        for running in served.workspace.queries.running():
            served.workspace.queries.cancel(running.id)
        thread.join(60)

    @pytest.mark.parametrize(
        "timespan",
        ["P1M", "P1Y", "PT", "P", "x", "PT1H/PT1H", "2026-01-01/x", "P99999999999D", "/", "2026-01-01/P9999999D"],
    )
    def test_wrong_time_spans(self, raw: httpx.Client, timespan: str) -> None:
        answer = raw.post("/v1/workspaces/tocsin/query", json={"query": "print 1", "timespan": timespan})
        assert answer.status_code == 400
        assert answer.json()["error"]["innererror"]["code"] == "USE0022"

    def test_wrong_bodies(self, raw: httpx.Client) -> None:
        for path, body in (
            ("/v1/workspaces/tocsin/query", b"{"),
            ("/v1/workspaces/tocsin/query", b'{"query": 1}'),
            ("/v1/workspaces/tocsin/query", b'{"query": "print 1", "workspaces": "x"}'),
            ("/v1/workspaces/tocsin/query", b'{"query": "print 1", "timespan": 5}'),
            ("/v1/$batch", b"{}"),
            ("/v1/$batch", b'{"requests": [1]}'),
        ):
            answer = raw.post(path, content=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadArgumentError"), body
        assert (
            raw.post("/v1/workspaces/tocsin/query", json={"query": "print 1"}, headers={"Prefer": "wait=x"}).status_code
            == 400
        )


def test_batch(client: LogsQueryClient, served: Served, tls: Tls) -> None:
    """Answers come in the order of the questions, each a success, a partial result or an error of its own."""
    wide = connected(served, served.token("Contributor"), tls)
    queries = [
        LogsBatchQuery("tocsin", "SecurityEvent | count", timespan=timedelta(hours=3), include_statistics=True),
        LogsBatchQuery("tocsin", "SecurityEvent | where Nope == 1", timespan=None),
        LogsBatchQuery("nowhere", "print 1", timespan=None),
        *[LogsBatchQuery("tocsin", f"print {n}", timespan=None) for n in range(6)],
    ]
    found = wide.query_batch(queries)
    assert [r.status for r in found] == [
        LogsQueryStatus.SUCCESS,
        LogsQueryStatus.FAILURE,
        LogsQueryStatus.FAILURE,
        *[LogsQueryStatus.SUCCESS] * 6,
    ]
    assert found[0].tables[0].rows[0][0] == 3
    assert found[0].statistics["query"]["executionTime"] >= 0
    assert (found[1].code, found[2].code) == ("BadArgumentError", "PathNotFoundError")
    assert "Nope" in found[1].message
    assert [r.tables[0].rows[0][0] for r in found[3:]] == list(range(6))
    (partial,) = client.query_batch([LogsBatchQuery("tocsin", "range x from 1 to 2000 step 1", timespan=None)])
    assert (partial.status, len(partial.partial_data[0].rows)) == (LogsQueryStatus.PARTIAL, 1000)


class TestSignIn:
    """How-to's ways to hand over a token, each as it stands in docs/how-to/azure-clients.md."""

    def test_client_secret(self, served: Served, token: str, tls: Tls) -> None:
        """An app registration: the client secret is the token. azure-identity asks the server for its access token."""
        credential = ClientSecretCredential(
            served.workspace.id,
            "any",
            token,
            authority=served.url,
            disable_instance_discovery=True,
            connection_verify=str(tls.authority),
        )
        with LogsQueryClient(credential, endpoint=served.url, connection_verify=str(tls.authority)) as made:
            assert made.query_workspace("tocsin", "print 1", timespan=None).tables[0].rows[0][0] == 1
        wrong = ClientSecretCredential(
            served.workspace.id,
            "any",
            "no",
            authority=served.url,
            disable_instance_discovery=True,
            connection_verify=str(tls.authority),
        )
        with pytest.raises(ClientAuthenticationError, match="no valid token of Tocsin"):
            wrong.get_token(f"{served.url}/.default")

    def test_other_grants_are_refused(self, raw: httpx.Client) -> None:
        answer = raw.post("/x/oauth2/v2.0/token", data={"grant_type": "password", "username": "a", "password": "b"})
        assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")
        basic = httpx.BasicAuth("any", raw.headers["authorization"].partition(" ")[2])
        assert (
            raw.post("/x/oauth2/token", data={"grant_type": "client_credentials"}, auth=basic).json()["token_type"]
            == "Bearer"
        )
        assert raw.post("/x/oauth2/token", content=b"x" * 20_000).status_code == 413

    def test_without_tls(self, tmp_path: Any) -> None:
        """azure-core refuses to send a bearer token without TLS unless told that it may."""
        for plain in open_served(tmp_path / "data", start=False):
            token = plain.token()
            policy = AzureKeyCredentialPolicy(AzureKeyCredential(token), "Authorization", prefix="Bearer")
            with LogsQueryClient(Credential(token), endpoint=plain.url, authentication_policy=policy) as made:
                assert made.query_workspace("tocsin", "print 1", timespan=None).tables[0].rows[0][0] == 1
            with LogsQueryClient(Credential(token), endpoint=plain.url) as made:
                with pytest.raises(Exception, match="not permitted for non-TLS"):
                    made.query_workspace("tocsin", "print 1", timespan=None)
                assert (
                    made.query_workspace("tocsin", "print 1", timespan=None, enforce_https=False).tables[0].rows[0][0]
                    == 1
                )


def test_a_query_that_nobody_waits_for_ends(raw: httpx.Client, served: Served) -> None:
    headers = {"Authorization": f"Bearer {served.token('Contributor')}"}
    with pytest.raises(httpx.ReadTimeout):
        raw.post("/v1/workspaces/tocsin/query", json={"query": SLOW}, headers=headers, timeout=0.4)
    until(lambda: not served.workspace.queries.running(), 30)  # by itself it would end after 60 s
