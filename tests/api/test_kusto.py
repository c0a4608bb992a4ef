"""Kusto's REST endpoints by its own client, azure-kusto-data, over a real socket."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pyarrow as pa
import pytest
from azure.core.credentials import AccessToken
from azure.kusto.data import ClientRequestProperties, KustoClient, KustoConnectionStringBuilder
from azure.kusto.data.exceptions import (
    KustoApiError,
    KustoMultiApiError,
    KustoServiceError,
    KustoThrottlingError,
    KustoUnsupportedApiError,
)

from tests.api.conftest import ADMIN, Served, open_served
from tocsin.lake import TableBatch
from tocsin.query import QuerySettings, RoleLimits, RolesLimits

SLOW = "range a from 1 to 200000 step 1 | extend k=1 | join kind=inner (range b from 1 to 200000 step 1 | extend k=1) on k | summarize sum(a*b)"
NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    query = QuerySettings(
        concurrent=4,
        queue_seconds=0.3,
        niceness=0,
        roles=RolesLimits(
            reader=RoleLimits(rows=1000, seconds=2.0),
            responder=RoleLimits(memory_bytes=64 << 20, spill_bytes=32 << 20),
            contributor=RoleLimits(concurrent=2),
        ),
    )
    for made in open_served(tmp_path_factory.mktemp("data"), start=False, query=query):
        events = pa.table(
            {
                "TimeGenerated": [NOW.replace(tzinfo=None) - timedelta(hours=h) for h in range(10)],
                "Computer": [f"ws-{h}" for h in range(10)],
                "EventID": [4624 + h % 2 for h in range(10)],
            }
        )
        made.workspace.lake.put(1, [TableBatch("SecurityEvent", events)])
        yield made


@pytest.fixture(scope="module")
def token(served: Served) -> str:
    return served.token()


@pytest.fixture(scope="module")
def client(served: Served, token: str) -> Iterator[KustoClient]:
    with connected(served, token) as made:
        yield made


def connected(served: Served, token: str) -> KustoClient:
    return KustoClient(KustoConnectionStringBuilder.with_aad_application_token_authentication(served.url, token))


def options(**given: Any) -> ClientRequestProperties:
    made = ClientRequestProperties()
    for name, value in given.items():
        made.set_option(name, value)
    return made


VALUES = """print b=true, nb=bool(null), i=int(-7), l=9223372036854775807, nl=long(null), r=1.5, nan=real(nan), pinf=real(+inf), ninf=real(-inf),
    d=decimal(123456789012345.6789), s="é\\"\\n☃", e="", t=datetime(2026-01-02T03:04:05.1234567Z), t0=datetime(2026-01-02), nt=datetime(null),
    ts=time(1.02:03:04.5000001), neg=-1h, g=guid(74be27de-1e4e-49d9-b579-fe0b331d3642), o=dynamic({"a":[1,2.5,null,"x"]}), arr=dynamic([1]),
    ds=dynamic("text"), dn=dynamic(null), big=dynamic({"n":9007199254740993})"""


class TestValues:
    def test_version_2(self, client: KustoClient) -> None:
        (table,) = client.execute("tocsin", VALUES).primary_results
        assert [c.column_type for c in table.columns] == [
            "bool", "bool", "int", "long", "long", "real", "real", "real", "real", "decimal", "string", "string", "datetime", "datetime",
            "datetime", "timespan", "timespan", "guid", "dynamic", "dynamic", "dynamic", "dynamic", "dynamic",
        ]  # fmt: skip
        row = table[0]
        assert (row["b"], row["nb"], row["i"], row["l"], row["nl"]) == (True, None, -7, 2**63 - 1, None)
        assert (row["r"], row["nan"], row["pinf"], row["ninf"]) == (1.5, "NaN", "Infinity", "-Infinity")
        assert row["d"] == Decimal("123456789012345.6789")
        assert (row["s"], row["e"]) == ('é"\n☃', "")
        assert row["t"] == datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)
        assert (row["t0"], row["nt"]) == (datetime(2026, 1, 2, tzinfo=UTC), None)
        assert row["ts"] == timedelta(days=1, hours=2, minutes=3, seconds=4, microseconds=500000)
        assert row["neg"] == timedelta(hours=-1)
        assert row["g"] == "74be27de-1e4e-49d9-b579-fe0b331d3642"
        assert (row["o"], row["arr"], row["ds"], row["dn"]) == ({"a": [1, 2.5, None, "x"]}, [1], "text", None)
        assert row["big"] == {"n": 9007199254740993}
        raw = dict(zip([c.column_name for c in table.columns], table.raw_rows[0], strict=True))
        assert (raw["t"], raw["t0"], raw["ts"]) == (
            "2026-01-02T03:04:05.1234567Z",
            "2026-01-02T00:00:00Z",
            "1.02:03:04.5000001",
        )

    def test_version_1_has_the_same(self, client: KustoClient, served: Served, token: str) -> None:
        (two,) = client.execute("tocsin", VALUES).primary_results
        body = post(served, token, "/v1/rest/query", csl=VALUES, db="tocsin").json()
        assert body["Tables"][0]["Rows"] == two.raw_rows
        types = {c["ColumnType"]: c["DataType"] for c in body["Tables"][0]["Columns"]}
        assert types == {
            "bool": "SByte", "int": "Int32", "long": "Int64", "real": "Double", "decimal": "SqlDecimal", "string": "String",
            "datetime": "DateTime", "timespan": "TimeSpan", "guid": "Guid", "dynamic": "Object",
        }  # fmt: skip
        assert "Exceptions" not in body
        parsed = KustoClient._kusto_parse_by_endpoint("v1/rest/query", body)
        assert [t.table_kind.value for t in parsed.tables] == [
            "PrimaryResult", "QueryProperties", "QueryCompletionInformation", "TableOfContents",
        ]  # fmt: skip
        assert parsed.errors_count == 0
        assert parsed.primary_results[0][0].to_list() == two[0].to_list()

    def test_streaming(self, client: KustoClient) -> None:
        answer = client.execute_streaming_query("tocsin", "range x from 1 to 900 step 1 | extend y=tostring(x)")
        rows = [r.to_list() for table in answer.iter_primary_results() for r in table]
        assert rows == [[x, str(x)] for x in range(1, 901)]

    def test_no_rows_and_several_results(self, client: KustoClient) -> None:
        (none,) = client.execute("tocsin", "SecurityEvent | where false | project Computer").primary_results
        assert (len(none), none.columns[0].column_name) == (0, "Computer")
        found = client.execute("tocsin", "SecurityEvent | fork (count) (summarize by EventID | sort by EventID asc)")
        assert [[r.to_list() for r in t] for t in found.primary_results] == [[[10]], [[4624], [4625]]]

    def test_render(self, client: KustoClient) -> None:
        text = "SecurityEvent | summarize count() by EventID | render barchart with (title='Logons', kind=stacked)"
        answer = client.execute("tocsin", text)
        properties = json.loads(answer["@ExtendedProperties"][0]["Value"])
        assert (properties["Visualization"], properties["Title"], properties["Kind"]) == (
            "barchart",
            "Logons",
            "stacked",
        )


def post(served: Served, token: str, path: str, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    return httpx.post(served.url + path, json=body, headers={"Authorization": f"Bearer {token}", **(headers or {})})


class TestErrors:
    def test_syntax(self, client: KustoClient) -> None:
        with pytest.raises(KustoApiError) as caught:
            client.execute("tocsin", "SecurityEvent\n| where (EventID == ")
        error = caught.value.get_api_error()
        assert (error.code, error.type, error.permanent) == (
            "BadRequest_SyntaxError",
            "Kusto.Data.Exceptions.SyntaxException",
            True,
        )
        assert "Syntax error: KQL0013" in error.description
        assert "[line:position=2:" in error.description
        assert not caught.value.is_semantic_error()
        assert caught.value.http_response.status_code == 400

    def test_semantic(self, client: KustoClient) -> None:
        with pytest.raises(KustoApiError) as caught:
            client.execute("tocsin", "SecurityEvent | where EventIdd == 1")
        assert caught.value.is_semantic_error()
        assert caught.value.get_api_error().code == "General_BadRequest"
        assert "Did you mean 'EventID'" in str(caught.value)
        inner = caught.value.http_response.json()["error"]["innererror"]
        assert (inner["@line"], inner["@pos"]) == ("1", "23")

    def test_database(self, client: KustoClient, served: Served) -> None:
        for name in (None, "tocsin", "TOCSIN", "NetDefaultDB", served.workspace.id):
            assert client.execute(name, "print 1").primary_results[0][0][0] == 1
        with pytest.raises(KustoApiError, match="'tocsinn' of kind 'Database' was not found") as caught:
            client.execute("tocsinn", "print 1")
        assert caught.value.get_api_error().code == "BadRequest_EntityNotFound"

    def test_time_limit_of_the_role(self, client: KustoClient) -> None:
        with pytest.raises(KustoApiError, match=r"QRY0002.*2 s.*query\.roles\.reader\.seconds = 2") as caught:
            client.execute("tocsin", SLOW, options(norequesttimeout=True))
        assert (caught.value.http_response.status_code, caught.value.get_api_error().permanent) == (504, False)

    def test_time_limit_of_the_request(self, client: KustoClient) -> None:
        for text, given in (
            (SLOW, options(servertimeout=timedelta(milliseconds=300))),
            ("set servertimeout=300ms; " + SLOW, options(servertimeout=timedelta(minutes=1))),
        ):
            with pytest.raises(KustoApiError, match=r"QRY0002.*0\.3 s.*servertimeout = 0\.3"):
                client.execute("tocsin", text, given)

    def test_memory_and_spill_limits_of_the_role(self, served: Served) -> None:
        client = connected(served, served.token("Responder"))
        rows = "range x from 1 to 3000000 step 1 | extend s=strcat('0123456789abcdef0123456789abcdef', x)"
        with pytest.raises(KustoApiError, match=r"QRY0012.*query\.roles\.responder\.spill_bytes = 33554432") as caught:
            client.execute("tocsin", rows + " | sort by s asc | extend r=row_number() | where r > 2999990")
        assert caught.value.get_api_error().code == "LimitsExceeded"
        with pytest.raises(KustoApiError, match=r"QRY0004.*64 MiB.*query\.roles\.responder\.memory_bytes = 67108864"):
            client.execute("tocsin", rows + " | summarize l=make_list(s) | project array_length(l)")

    def test_other_failures_are_in_kustos_shape(self, served: Served, token: str) -> None:
        for body, code in (
            (b"{", "USE0021"),
            (b"[]", "USE0021"),
            (b"{}", "USE0022"),
            (b'{"csl": 1}', "USE0022"),
            (b'{"csl": "print 1", "db": 3}', "USE0022"),
            (b'{"csl": "print 1", "properties": "{"}', "USE0022"),
            (b'{"csl": "print 1", "properties": {"Options": []}}', "USE0022"),
            (b'{"csl": "print 1", "properties": {"Options": {"servertimeout": "soon"}}}', "QRY0014"),
            (b'{"csl": "print 1", "properties": {"Options": {"truncationmaxrecords": -1}}}', "QRY0014"),
            (b'{"csl": "print 1", "properties": {"Options": {"query_bin_auto_size": "1h"}}}', "QRY0014"),
            (b'{"csl": "print 1", "properties": {"Options": {"query_language": "sql"}}}', "QRY0014"),
            (b'{"csl": "' + b"x" * (1 << 20) + b'"}', "USE0020"),
        ):
            answer = httpx.post(
                f"{served.url}/v2/rest/query", content=body, headers={"Authorization": f"Bearer {token}"}
            )
            assert answer.status_code in (400, 413)
            assert code in answer.json()["error"]["@message"], body[:80]
        assert post(served, token, "/v1/rest/nothing").status_code == 404


class TestAccess:
    def test_no_and_wrong_tokens(self, served: Served) -> None:
        for wrong in ("toc_a_nonsense", "x"):
            with pytest.raises(KustoServiceError, match="401"):
                connected(served, wrong).execute("tocsin", "print 1")
        answer = httpx.post(f"{served.url}/v2/rest/query", json={"csl": "print 1"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "Unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")

    def test_a_token_without_the_right(self, served: Served) -> None:
        made = served.workspace.access.make_token("sender", by=ADMIN)["token"]
        with pytest.raises(KustoApiError) as caught:
            connected(served, made).execute("tocsin", "print 1")
        assert caught.value.http_response.status_code == 403
        assert caught.value.get_api_error().code == "Forbidden"
        assert "query.run" in caught.value.get_api_error().description

    def test_a_credential(self, served: Served, token: str) -> None:
        """TokenCredential, the way of azure-identity: the client asks the server's metadata first."""
        asked: list[str] = []

        class Credential:
            def get_token(self, *scopes: str, **_: Any) -> AccessToken:
                asked.extend(scopes)
                return AccessToken(token, int(time.time()) + 300)

            def close(self) -> None:
                pass

        builder = KustoConnectionStringBuilder.with_azure_token_credential(served.url, Credential())
        with KustoClient(builder) as made:
            assert made.execute("tocsin", "print 1").primary_results[0][0][0] == 1
        assert asked == [f"{served.url}/.default"]

    def test_throttling(self, served: Served) -> None:
        """The role's `concurrent` is two; who asks for a third waits for a while and is then refused."""
        token = served.token("Contributor")
        threads = [
            threading.Thread(target=lambda: post(served, token, "/v2/rest/query", csl=SLOW), daemon=True)
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        until(lambda: len(served.workspace.queries.running()) == 2)
        with pytest.raises(KustoThrottlingError) as caught:
            connected(served, token).execute("tocsin", "print 1")
        response = caught.value.args[1]
        assert response.headers["retry-after"] == "5"
        assert "query.roles.contributor.concurrent = 2" in response.json()["error"]["@message"]
        assert connected(served, served.token("Responder")).execute("tocsin", "print 1").primary_results[0][0][0] == 1
        for running in served.workspace.queries.running():
            served.workspace.queries.cancel(running.id)
        for thread in threads:
            thread.join(60)


def until(true: Any, seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


class TestPartialResults:
    def test_in_the_data(self, client: KustoClient) -> None:
        with pytest.raises(KustoMultiApiError) as caught:
            client.execute("tocsin", "range x from 1 to 100 step 1", options(truncationmaxrecords=5))
        (error,) = caught.value.get_api_errors()
        assert (error.code, error.permanent) == ("LimitsExceeded", False)
        assert "E_QUERY_RESULT_SET_TOO_LARGE" in error.description
        assert "truncationmaxrecords = 5" in error.description

    def test_deferred(self, client: KustoClient) -> None:
        answer = client.execute(
            "tocsin", "range x from 1 to 100 step 1", options(truncationmaxrecords=5, deferpartialqueryfailures=True)
        )
        assert [r[0] for r in answer.primary_results[0]] == [1, 2, 3, 4, 5]
        assert answer.errors_count == 1
        (found,) = answer.get_exceptions()
        assert "E_QUERY_RESULT_SET_TOO_LARGE" in found

    def test_streamed(self, client: KustoClient) -> None:
        answer = client.execute_streaming_query(
            "tocsin", "range x from 1 to 100 step 1", properties=options(truncationmaxrecords=5)
        )
        rows = (row for table in answer.iter_primary_results() for row in table)
        assert [next(rows)[0] for _ in range(5)] == [1, 2, 3, 4, 5]
        with pytest.raises(KustoMultiApiError):
            next(rows)

    def test_version_1(self, served: Served, token: str) -> None:
        text = "set truncationmaxrecords=2; range x from 1 to 3 step 1"
        body = post(served, token, "/v1/rest/query", csl=text).json()
        assert body["Tables"][0]["Rows"][:2] == [[1], [2]]
        assert body["Tables"][0]["Rows"][2]["Exceptions"] == body["Exceptions"]
        assert "E_QUERY_RESULT_SET_TOO_LARGE" in body["Exceptions"][0]
        deferred = post(served, token, "/v1/rest/query", csl="set deferpartialqueryfailures; " + text).json()
        assert deferred["Tables"][0]["Rows"] == [[1], [2]]
        assert KustoClient._kusto_parse_by_endpoint("v1/rest/query", deferred).errors_count == 1

    def test_the_roles_limit_and_no_truncation(self, client: KustoClient, served: Served) -> None:
        text = "range x from 1 to 5000 step 1"
        with pytest.raises(KustoMultiApiError, match=r"query\.roles\.reader\.rows = 1000"):
            client.execute("tocsin", text, options(notruncation=True))
        wide = connected(served, served.token("Contributor"))
        assert len(wide.execute("tocsin", text).primary_results[0]) == 5000
        assert len(wide.execute("tocsin", "set notruncation; " + text).primary_results[0]) == 5000

    def test_by_size(self, client: KustoClient) -> None:
        text = "range x from 1 to 900 step 1 | project s=strrep('x', 1000)"
        answer = client.execute("tocsin", text, options(truncationmaxsize=100_000, deferpartialqueryfailures=True))
        assert 80 < len(answer.primary_results[0]) <= 100
        assert "truncationmaxsize = 100000" in answer.get_exceptions()[0]

    def test_asking_for_few_rows_is_no_error(self, client: KustoClient) -> None:
        answer = client.execute("tocsin", "range x from 1 to 100 step 1", options(query_take_max_records=3))
        assert (len(answer.primary_results[0]), answer.errors_count) == (3, 0)


class TestFrames:
    def frames(self, served: Served, token: str, text: str, **given: Any) -> tuple[list[dict[str, Any]], str]:
        answer = post(served, token, "/v2/rest/query", csl=text, properties=json.dumps({"Options": given}))
        assert answer.status_code == 200, answer.text
        return answer.json(), answer.text

    def test_whole(self, served: Served, token: str) -> None:
        frames, _ = self.frames(served, token, "print 1")
        assert [f["FrameType"] for f in frames] == [
            "DataSetHeader", "DataTable", "DataTable", "DataTable", "DataSetCompletion",
        ]  # fmt: skip
        assert frames[0]["IsProgressive"] is False
        assert [f["TableKind"] for f in frames[1:4]] == [
            "QueryProperties",
            "PrimaryResult",
            "QueryCompletionInformation",
        ]
        assert [f["TableId"] for f in frames[1:4]] == [0, 1, 2]
        assert frames[-1] == {"FrameType": "DataSetCompletion", "HasErrors": False, "Cancelled": False}

    def test_progressive(self, served: Served, token: str, client: KustoClient) -> None:
        given = {"results_progressive_enabled": True, "query_results_progressive_row_count": 40}
        frames, _ = self.frames(served, token, "range x from 1 to 100 step 1", **given)
        assert [f["FrameType"] for f in frames] == [
            "DataSetHeader", "DataTable", "TableHeader", *(["TableFragment", "TableProgress"] * 3), "TableCompletion", "DataTable",
            "DataSetCompletion",
        ]  # fmt: skip
        assert frames[0]["IsProgressive"] is True
        parts = [f for f in frames if f["FrameType"] == "TableFragment"]
        assert {f["TableFragmentType"] for f in parts} == {"DataAppend"}
        assert [r for f in parts for r in f["Rows"]] == [[x] for x in range(1, 101)]
        assert [f["TableProgress"] for f in frames if f["FrameType"] == "TableProgress"] == [40.0, 80.0, 100.0]
        (completion,) = [f for f in frames if f["FrameType"] == "TableCompletion"]
        assert completion == {"FrameType": "TableCompletion", "TableId": 1, "RowCount": 100}
        with pytest.raises(KustoUnsupportedApiError):  # the Python client knows them and says that it can't read them
            list(
                client.execute_streaming_query(
                    "tocsin", "print 1", properties=options(results_progressive_enabled=True)
                )
            )

    @pytest.mark.parametrize("placement", ["in_data", "end_of_table", "end_of_dataset"])
    def test_fragments_and_where_errors_stand(self, served: Served, token: str, placement: str) -> None:
        given = {
            "results_v2_fragment_primary_tables": True,
            "results_v2_newlines_between_frames": True,
            "results_error_reporting_placement": placement,
            "truncationmaxrecords": 2,
        }
        frames, text = self.frames(served, token, "range x from 1 to 3 step 1", **given)
        lines = text.strip().splitlines()
        assert [json.loads(line.lstrip("[,")) for line in lines[:-1]] == frames
        assert lines[-1] == "]"
        assert (frames[0]["IsFragmented"], frames[0]["IsProgressive"]) == (True, False)
        rows = [r for f in frames if f["FrameType"] == "TableFragment" for r in f["Rows"]]
        (completion,) = [f for f in frames if f["FrameType"] == "TableCompletion"]
        assert rows[:2] == [[1], [2]]
        assert (len(rows) == 3) == (placement == "in_data")
        assert ("OneApiErrors" in completion) == (placement != "end_of_dataset")
        assert frames[-1]["HasErrors"] is True
        assert frames[-1]["OneApiErrors"][0]["error"]["code"] == "LimitsExceeded"


class TestProperties:
    def test_request_ids(self, client: KustoClient, served: Served, token: str) -> None:
        asked = options()
        asked.client_request_id = "KPC.execute;my-id"
        answer = client.execute("tocsin", "print 1", asked)
        information = answer["QueryCompletionInformation"][0]
        assert information["ClientRequestId"] == "KPC.execute;my-id"
        raw = post(served, token, "/v2/rest/query", {"x-ms-client-request-id": "mine"}, csl="print 1")
        assert raw.headers["x-ms-client-request-id"] == "mine"
        assert uuid.UUID(raw.headers["x-ms-activity-id"])
        none = post(served, token, "/v2/rest/query", csl="nonsense (")
        assert none.headers["x-ms-client-request-id"].startswith("unspecified;")
        assert none.json()["error"]["@context"]["clientRequestId"] == none.headers["x-ms-client-request-id"]

    def test_query_parameters(self, client: KustoClient) -> None:
        asked = ClientRequestProperties()
        for name, value in {
            "s": "it's", "q": "'quoted'", "n": "long(42)", "i": 7, "t": "datetime(2026-01-02T03:04:05.1234567Z)", "d": 'dynamic({"a":[1]})',
            "span": "time(1.02:00:00)", "g": "74be27de-1e4e-49d9-b579-fe0b331d3642", "unused": "x",
        }.items():  # fmt: skip
            asked.set_parameter(name, value)
        text = (
            "declare query_parameters(s:string, q:string, n:long, i:int, t:datetime, d:dynamic, span:timespan, g:guid, z:string='def');"
            "print s, q, n, i, tostring(t), d.a[0], span, g, z"
        )
        row = client.execute("tocsin", text, asked).primary_results[0][0].to_list()
        assert row == [
            "it's", "quoted", 42, 7, "2026-01-02T03:04:05.1234567Z", 1, timedelta(days=1, hours=2), "74be27de-1e4e-49d9-b579-fe0b331d3642",
            "def",
        ]  # fmt: skip
        asked.set_parameter("n", "datetime(2026-01-01)")
        with pytest.raises(KustoApiError, match="query parameter n is a datetime, not a long"):
            client.execute("tocsin", text, asked)

    def test_time_scope_and_now(self, client: KustoClient) -> None:
        scope = {"query_datetimescope_from": "2026-11-02T06:00:00Z", "query_datetimescope_to": "2026-11-02T09:00:00Z"}
        counted = client.execute("tocsin", "SecurityEvent | count", options(**scope)).primary_results[0][0][0]
        assert counted == 3
        with pytest.raises(KustoApiError, match="query_datetimescope_column"):
            client.execute("tocsin", "SecurityEvent", options(**scope, query_datetimescope_column="StartTime"))
        moment = client.execute("tocsin", "print now()", options(query_now="2026-01-01T00:00:00Z")).primary_results[0][
            0
        ][0]
        assert moment == datetime(2026, 1, 1, tzinfo=UTC)


class TestRunningQueries:
    def test_seen_and_cancelled_by_command(self, client: KustoClient, served: Served) -> None:
        token = served.token("Contributor")  # a reader's queries would end by themselves meanwhile
        ended: list[httpx.Response] = []
        headers = {"x-ms-client-request-id": "KPC.execute;slow", "x-ms-app": "notebook"}
        thread = threading.Thread(target=lambda: ended.append(post(served, token, "/v2/rest/query", headers, csl=SLOW)))
        thread.start()
        until(lambda: served.workspace.queries.running())
        stranger = connected(served, served.token("Responder"))  # the same person by another token
        shown = client.execute(
            "tocsin", ".show queries | project ClientActivityId, Text, Application, State"
        ).primary_results[0]
        assert [r.to_list() for r in shown] == [["KPC.execute;slow", SLOW, "notebook", "InProgress"]]
        with pytest.raises(KustoApiError, match="No query of yours with the id 'other'"):
            client.execute("tocsin", ".cancel query 'other'")
        done = stranger.execute("tocsin", '.cancel query "KPC.execute;slow" with (reason = "test")').primary_results[0][
            0
        ]
        assert done["RunningQueryCanceled"] is True
        thread.join(60)
        assert ended[0].status_code == 400
        assert ended[0].json()["error"]["code"] == "QueryCanceled"

    def test_who_goes_away_ends_their_query(self, served: Served) -> None:
        headers = {"Authorization": f"Bearer {served.token('Contributor')}"}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{served.url}/v2/rest/query", json={"csl": SLOW}, headers=headers, timeout=0.4)
        until(lambda: not served.workspace.queries.running(), 30)  # by itself it would end after 60 s


class TestCommands:
    def rows(self, client: KustoClient, text: str) -> list[dict[str, Any]]:
        return [r.to_dict() for r in client.execute("tocsin", text).primary_results[0]]

    def test_tables(self, client: KustoClient) -> None:
        names = {r["TableName"] for r in self.rows(client, ".show tables")}
        assert {"SecurityEvent", "SigninLogs", "DeviceProcessEvents"} <= names
        (details,) = self.rows(client, ".show table SecurityEvent details")
        assert (details["TotalRowCount"], details["DatabaseName"]) == (10, "tocsin")
        (two,) = self.rows(client, ".show tables details | where TotalRowCount > 0 | project TableName, TotalRowCount")
        assert two == {"TableName": "SecurityEvent", "TotalRowCount": 10}
        listed = self.rows(client, ".show tables (SecurityEvent, ['SigninLogs']) | project TableName")
        assert [r["TableName"] for r in listed] == ["SecurityEvent", "SigninLogs"]

    def test_a_table(self, client: KustoClient) -> None:
        columns = {r["AttributeName"]: r for r in self.rows(client, ".show table SecurityEvent")}
        assert columns["EventID"]["AttributeType"] == "System.Int32"
        for text in (".show table SecurityEvent cslschema", ".show table ['SecurityEvent'] cql schema"):
            (found,) = self.rows(client, text)
            assert "EventID:int" in found["Schema"].split(", ")
        (found,) = self.rows(client, '.show table ["SecurityEvent"] schema as json')
        schema = json.loads(found["Schema"])
        assert {"Name": "EventID", "Type": "System.Int32", "CslType": "int"}.items() <= next(
            c for c in schema["OrderedColumns"] if c["Name"] == "EventID"
        ).items()
        with pytest.raises(
            KustoApiError, match=r"'SecurityEvnt' of kind 'Table' was not found.*SecurityEvent"
        ) as caught:
            client.execute("tocsin", ".show table SecurityEvnt")
        assert caught.value.get_api_error().code == "BadRequest_EntityNotFound"

    def test_databases_and_schema(self, client: KustoClient, served: Served) -> None:
        (database,) = self.rows(client, ".show databases")
        assert (database["DatabaseName"], database["DatabaseId"]) == ("tocsin", served.workspace.id)
        for text in (
            ".show databases schema as json",
            ".show database tocsin schema as json",
            ".show schema as json",
            ".show databases (['tocsin']) schema as json",
        ):
            (cell,) = self.rows(client, text)
            found = json.loads(cell["DatabaseSchema"])["Databases"]["tocsin"]
            assert "EventID" in {c["Name"] for c in found["Tables"]["SecurityEvent"]["OrderedColumns"]}
            assert "_GetWatchlist" in found["Functions"]
        rows = self.rows(
            client, ".show database schema | where TableName == 'SecurityEvent' and ColumnName == 'EventID'"
        )
        assert [r["ColumnType"] for r in rows] == ["System.Int32"]
        with pytest.raises(KustoApiError, match="'other' of kind 'Database'"):
            client.execute("tocsin", ".show database other schema")

    def test_functions(self, client: KustoClient) -> None:
        names = {r["Name"] for r in self.rows(client, ".show functions")}
        assert "_GetWatchlist" in names
        (one,) = self.rows(client, ".show function _GetWatchlist")
        assert one["Parameters"] == "(watchlistAlias:string)"
        (cell,) = self.rows(client, ".show function _GetWatchlist schema as json")
        assert json.loads(cell["Schema"])["InputParameters"] == [
            {"Name": "watchlistAlias", "Type": "System.String", "CslType": "string"}
        ]

    def test_version_and_cluster(self, client: KustoClient, served: Served) -> None:
        (version,) = self.rows(client, ".show version")
        assert version["ProductVersion"] == f"Tocsin {served.workspace.version}"
        (cluster,) = self.rows(client, ".show cluster")
        assert cluster["MachineTotalMemory"] > cluster["MachineAvailableMemory"] > 0
        for text in (".show materialized-views", ".show external tables", ".show entity_groups", ".show queries"):
            assert self.rows(client, text) == []

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            (".show tabels", "'.show tabels' is not supported. Did you mean '.show tables'"),
            (".create table T (a:int)", "'.create table t ( a' is not supported: this endpoint reads"),
            (".drop table SecurityEvent", "'.drop table securityevent' is not supported"),
            (".ingest inline into table T <| 1", "'.ingest inline into table t' is not supported"),
            (".show database tocsin principals", "is not supported"),
            (".", "is not supported"),
            ("print 1", "begins with a dot"),
        ],
    )
    def test_others_are_refused_by_name(self, client: KustoClient, text: str, told: str) -> None:
        with pytest.raises(KustoApiError) as caught:
            client.execute_mgmt("tocsin", text)
        assert told in caught.value.get_api_error().description

    def test_an_error_after_the_pipe_points_to_its_place(self, client: KustoClient) -> None:
        with pytest.raises(KustoApiError, match=r"TableNam.*\[line:position=1:24\]"):
            client.execute("tocsin", ".show tables | project TableNam")
