"""externaldata over real files and a real web server: formats, packing, policy, and what is refused."""

from __future__ import annotations

import gzip
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tocsin.kql import KqlErrors
from tocsin.query import QueryService
from tocsin.query.external_formats import FORMATS, parse_records, unzip
from tocsin.query.settings import ExternalSettings, QuerySettings

CSV = 'Address,Score,Seen\r\n10.0.0.1,7,2024-01-02\r\n"a,""b""",x,\r\n'


class Site(BaseHTTPRequestHandler):
    """Serves bodies by path and counts what was asked for."""

    bodies: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        body = self.bodies.get(self.path)
        self.send_response(302 if self.path == "/lists/moved" else 200 if body is not None else 404)
        if self.path == "/lists/moved":
            self.send_header("Location", "/lists/a.csv")
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    Site.bodies, Site.asked = {}, []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def service(*allow: str, **more: object) -> QueryService:
    return QueryService(None, settings=QuerySettings(external=ExternalSettings(allow=allow, **more)))  # type: ignore[arg-type]


def rows(queries: QueryService, text: str) -> list[list[object]]:
    try:
        return queries.run(text).rows()
    finally:
        queries.close()


def refusal(queries: QueryService, text: str) -> str:
    with pytest.raises(KqlErrors) as caught:
        rows(queries, text)
    found = caught.value.diagnostics[0]
    return f"{found.code} {found.message}"


def test_a_file_of_an_allowed_folder_with_types_of_the_schema(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CSV, newline="")
    query = f"""externaldata(Address:string, Score:long, Seen:datetime, More:string)['{tmp_path}/a.csv'] with (ignoreFirstRecord=true)
        | extend Seen = tostring(Seen)"""
    assert rows(service(str(tmp_path)), query) == [
        ["10.0.0.1", 7, "2024-01-02T00:00:00.0000000Z", ""],
        ['a,"b"', None, "", ""],
    ]


def test_formats(tmp_path: Path) -> None:
    objects = [{"a": 1, "b": {"c": [5, "x"]}}, {"a": None, "b": "t"}]
    (tmp_path / "l.json").write_text("\n".join(map(json.dumps, objects)))
    (tmp_path / "m.txt").write_text(json.dumps(objects, indent=1))
    (tmp_path / "t.tsv").write_text("1\tx\n2\ty\n")
    (tmp_path / "p.parquet").write_bytes(b"")
    pq.write_table(pa.table({"a": [1, None], "b": [[1, 2], None]}), tmp_path / "p.parquet")

    def read(name: str, columns: str = "a:long, b:dynamic", options: str = "") -> list[list[object]]:
        query = f"externaldata({columns})['{tmp_path}/{name}'] {f'with ({options})' if options else ''}"
        return rows(service(str(tmp_path)), query)

    both = [[1, {"c": [5, "x"]}], [None, "t"]]
    assert read("l.json") == both
    assert read("m.txt", options="format='multijson'") == both
    assert read("t.tsv", "a:long, b:string") == [[1, "x"], [2, "y"]]
    assert read("t.tsv", "line:string", "format='txt', ignoreFirstRecord=true") == [["2\ty"]]
    assert read("t.tsv", "all:string", "format='raw'") == [["1\tx\n2\ty\n"]]
    assert read("p.parquet") == [[1, [1, 2]], [None, None]]
    paths = json.dumps([{"Column": "v", "Properties": {"Path": "$.b['c'][0]"}}])
    assert read("l.json", "v:long", f"format='json', ingestionMapping='{paths}'".replace("['c']", r"[\'c\']")) == [
        [5],
        [None],
    ]
    places = json.dumps([{"Column": "v", "Properties": {"Ordinal": "1"}}])
    assert read("t.tsv", "v:string", f"ingestionMapping='{places}'") == [["x"], ["y"]]


def test_packed_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"1\n2\n"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x.csv", "3\n")
        archive.writestr("y.csv", "4\n")
    query = f"externaldata(a:long)['{tmp_path}/a.csv.gz', 'file://{tmp_path}/a.zip'] | summarize make_list(a)"
    assert rows(service(str(tmp_path)), query) == [[[1, 2, 3, 4]]]


def test_the_web_is_read_once_and_only_below_what_is_allowed(site: str) -> None:
    Site.bodies = {"/lists/a.csv": b"evil.example\n", "/other.csv": b"x\n", "/lists2/a.csv": b"x\n"}
    queries = service(f"{site}/lists")
    read = f"externaldata(d:string)['{site}/lists/a.csv']"
    assert queries.run(f"{read} | union ({read})").rows() == [["evil.example"], ["evil.example"]]
    assert queries.run(f"print 'evil.example' in ({read})").rows() == [[True]]
    assert Site.asked == ["/lists/a.csv"]
    for address in (f"{site}/other.csv", f"{site}/lists2/a.csv", f"{site}/lists/../other.csv", f"{site}/lists/%2e%2e/other.csv",
                    "https://example.org/a.csv", "/etc/passwd", "file:///etc/passwd", "lists/a.csv",
                    site.replace("http://", "http://u:p@") + "/lists/a.csv"):  # fmt: skip
        with pytest.raises(KqlErrors, match="may not read"):
            queries.run(f"externaldata(d:string)['{address}']")
    with pytest.raises(KqlErrors, match="answered 302"):
        queries.run(f"externaldata(d:string)['{site}/lists/moved']")
    with pytest.raises(KqlErrors, match="answered 404"):
        queries.run(f"externaldata(d:string)['{site}/lists/none.csv']")
    assert "/other.csv" not in Site.asked
    queries.close()


def test_refusals_say_why_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1\n" * 2000)
    (tmp_path / "bad.json").write_text("{no json")
    (tmp_path / "out").symlink_to("/etc")
    nothing, some = service(), service(str(tmp_path), max_bytes=1024)
    assert refusal(nothing, f"externaldata(a:long)['{tmp_path}/a.csv']").startswith("KQL0202 externaldata may not read")
    assert "more than" in refusal(some, f"externaldata(a:long)['{tmp_path}/a.csv']")
    assert refusal(service(str(tmp_path)), f"externaldata(a:long)['{tmp_path}/out/passwd']").startswith("KQL0202")
    assert "can't be read as json" in refusal(service(str(tmp_path)), f"externaldata(a:long)['{tmp_path}/bad.json']")
    assert "format 'avro'" in refusal(
        service(str(tmp_path)), f"externaldata(a:long)['{tmp_path}/a.csv'] with (format='avro')"
    )
    with pytest.raises(ValidationError):
        ExternalSettings(allow=("lists",))


def test_compiling_alone_reads_nothing(site: str) -> None:
    queries = service(site)
    assert queries.compile(f"externaldata(d:string)['{site}/a.csv']").columns[0].name == "d"
    assert Site.asked == []
    queries.close()


@given(st.binary(max_size=400), st.sampled_from(sorted(FORMATS)))
def test_any_bytes_are_records_or_an_error(body: bytes, kind: str) -> None:
    columns: list[list[str | None]] = [[], []]
    try:
        for part in unzip(body, "x", 1000):
            parse_records(part, kind, ["a", "b"], {}, columns)
    except ValueError:
        return
    assert len(columns[0]) == len(columns[1])


def test_what_unpacks_to_too_much_is_refused() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", b"0" * 5000)
    for body in (packed.getvalue(), gzip.compress(b"0" * 5000)):
        with pytest.raises(ValueError, match="unpacks"):
            unzip(body, "x", 1000)
