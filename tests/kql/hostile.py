"""Queries made to exhaust whoever runs them. ``python -m tests.kql.hostile [NAME…]`` runs them in this process and prints a line of JSON for each.

Every text must end in an answer or in an error of ours, in bounded time and memory. The test runs this in a process of its own, with the
operating system's limit on its memory.
"""

from __future__ import annotations

import base64
import gzip
import json
import resource
import sys
import time
import zlib
from collections.abc import Iterator

SECONDS = 2.0
"""The time limit that queries run with."""
MEMORY = 256
"""MiB that the engine may take."""


def _ladder(first: str, step: str, levels: int, last: str) -> str:
    """``let n0 = …; let n1 = … n0 n0 …; …``"""
    return (
        "".join([f"let n0 = {first};\n", *(f"let n{k} = {step.format(b=f'n{k - 1}')};\n" for k in range(1, levels))])
        + last
    )


def texts() -> Iterator[tuple[str, str]]:
    """(name, query)."""
    many = "range a from 1 to 3000000 step 1 | extend k = 1"
    yield "cross join", f"{many} | join kind=inner ({many}) on k | summarize sum(a)"
    yield "cross join of rows", f"{many} | join kind=inner ({many}) on k"
    yield (
        "self joins",
        "let t = range a from 1 to 2000 step 1 | extend k = 1;\nt" + " | join kind=inner t on k" * 4 + " | count",
    )
    yield "range without end", "range x from 1 to 9223372036854775807 step 1 | summarize sum(x % 7)"
    yield "range without end, rows", "range x from 1 to 9223372036854775807 step 1 | where x < 0"
    yield "range of ticks", "range t from datetime(0001-01-01) to datetime(9999-12-31) step 1tick | count"
    yield "mv-expand a huge range", "print x = 1 | mv-expand y = range(0, 1000000000, 1) | count"
    yield (
        "mv-expand each",
        "range x from 1 to 100000 step 1 | mv-expand y = range(0, 1000000, 1) | summarize sum(tolong(y))",
    )
    yield "scalar range", "print array_length(range(0, 1000000000, 1))"
    yield "repeat", "print strlen(strrep('abcdefghij', 1000000000))"
    yield (
        "repeat of rows",
        "range x from 1 to 10000 step 1 | extend s = strrep('x', 1000000) | summarize sum(strlen(s))",
    )
    yield "repeat kept", "range x from 1 to 10000 step 1 | extend s = strrep('x', 1000000 + x) | summarize make_list(s)"
    yield "doubling text", _ladder("'0123456789'", "strcat({b}, {b})", 40, "print strlen(n39)")
    yield (
        "doubling text of rows",
        "range x from 1 to 10 step 1 | extend s = 'aaaaaaaaaa'"
        + " | extend s = strcat(s, s)" * 40
        + " | project strlen(s)",
    )
    yield "doubling expressions", _ladder("tostring(toscalar(T | count))", "strcat({b}, {b})", 40, "print strlen(n39)")
    yield "doubling conditions", _ladder("toscalar(T | count) > 1", "({b} and not({b}))", 40, "T | where n39")
    yield "doubling numbers", _ladder("toscalar(T | count)", "{b} * {b} + 1", 40, "print n39")
    yield (
        "doubling in a function",
        "let f = (x:string) { "
        + "".join(f"let y{k} = strcat({f'y{k - 1}' if k else 'x'}, {f'y{k - 1}' if k else 'x'}); " for k in range(40))
        + "strlen(y39) }; T | project f(s)",
    )
    yield (
        "doubling arrays",
        "print d = range(1, 100)" + " | extend d = array_concat(d, d)" * 40 + " | project array_length(d)",
    )
    yield (
        "doubling functions",
        "let f0 = (x:long) { x + 1 };\n"
        + "".join(f"let f{k} = (x:long) {{ f{k - 1}(x) + f{k - 1}(x) }};\n" for k in range(1, 40))
        + "print f39(1)",
    )
    yield "doubling tables", _ladder("(range x from 1 to 10 step 1)", "(union {b}, {b})", 40, "n39 | count")
    yield (
        "doubling functions of tables",
        "let f0 = () { range x from 1 to 10 step 1 };\n"
        + "".join(f"let f{k} = () {{ union f{k - 1}(), f{k - 1}() }};\n" for k in range(1, 40))
        + "f39() | count",
    )
    yield (
        "doubling materialized tables",
        _ladder("materialize(range x from 1 to 10 step 1)", "materialize(union {b}, {b})", 40, "n39 | count"),
    )
    yield "thousand lets", _ladder("1", "{b} + 1", 1000, "print n999")
    yield "thousand tables", _ladder("(T | where l > 0)", "({b} | where l > 1)", 1000, "n999")
    yield (
        "thousand functions",
        "let f0 = () { 1 };\n" + "".join(f"let f{k} = () {{ f{k - 1}() }};\n" for k in range(1, 1000)) + "print f999()",
    )
    yield "wide texts", "let n = '" + "x" * 1_900_000 + "'; T | extend y = strcat(s" + ", n" * 10_000 + ")"
    yield "wide lists", "let n = '" + "x" * 1_900_000 + "'; T | where s in (s" + ", n" * 10_000 + ")"
    yield "recursion", "let f = (n:long) { f(n - 1) }; print f(3)"
    yield "mutual recursion", "let g = (n:long) { f(n) }; let f = (n:long) { g(n) }; print f(3)"
    yield "stored recursion", "Loop()"
    yield "stored mutual recursion", "print Ping(1)"
    yield (
        "recursion through a table",
        "let f = (t:(x:long)) { t | invoke f() }; range x from 1 to 2 step 1 | invoke f()",
    )
    yield "long list of numbers", "T | where l in (" + ",".join(map(str, range(150_000))) + ")"
    yield "long list of texts", "T | where s in~ (" + ",".join(f"'x{n}'" for n in range(100_000)) + ")"
    yield "long list of terms", "T | where s has_any (" + ",".join(f"'x{n}'" for n in range(100_000)) + ")"
    yield "million rows", "datatable(x:long) [" + "1," * 990_000 + "1] | count"
    yield "million rows of text", "datatable(x:string) [" + "'a'," * 450_000 + "'a'] | summarize count() by x"
    yield "too long", "T | where s == '" + "x" * 2_100_000 + "'"
    yield "long text", "print strlen('" + "x" * 1_900_000 + "')"
    yield "long identifier", "T | extend " + "x" * 1_000_000 + " = 1"
    yield "long list", "range x from 1 to 100000000 step 1 | summarize make_list(x)"
    yield "long set", "range x from 1 to 50000000 step 1 | summarize make_set(tostring(x))"
    yield (
        "long joined text",
        "range x from 1 to 20000000 step 1 | summarize d = make_list(x) | project strlen(strcat_array(d, ','))",
    )
    yield "wildcards", "union " + ", ".join(["*"] * 50) + " | count"
    yield "union of many", "union " + ", ".join(["T"] * 5000)
    yield "search of everything", "search 'x'" + " or 'y'" * 100
    yield "nested toscalar", "print " + "toscalar(print x = " * 60 + "1" + ")" * 60
    yield "nested materialize", "let t = " + "materialize(" * 60 + "T" + ")" * 60 + "; t | union t"
    yield "nested toscalar of tables", "T" + " | where l > toscalar(T" * 40 + ")" * 40
    yield (
        "external data",
        "externaldata(x:string) ['https://169.254.169.254/latest/meta-data', 'file:///etc/passwd', '/etc/shadow']",
    )
    for name, pattern in (
        ("counted", "(a{1000}){1000}"), ("counted thrice", "((a{100}){100}){100}"), ("starred", "(((a*)*)*)*b"), ("doubled", "(x+x+)+y"),
        ("classes", "(\\\\p{L}{500}\\\\p{N}{500}){10}"), ("many groups", "(a)" * 20_000),
        ("many alternatives", "|".join(f"a{n}b" for n in range(60_000))),
        ("deep", "(" * 5_000 + "a" + ")" * 5_000), ("unclosed", "(" * 10_000), ("any", ".*" * 2_000),
    ):  # fmt: skip
        yield f"pattern, {name}", f"T | where s matches regex '{pattern}'"
        yield f"replace, {name}", f"T | project replace_regex(s, '{pattern}', 'x')"
        yield f"extract, {name}", f"T | project extract_all('({pattern})', strrep('ax', 50000))"
    yield "pattern of a column", "T | extend p = strrep('(a*)*', 10000) | where s matches regex p"
    yield "pattern of long text", "print replace_regex(strrep('ab', 1000000), '(a|b)*?c|(.*)(.*)(.*)x', '')"
    yield (
        "deep JSON",
        "print d = parse_json(strcat(strrep('[', 100000), strrep(']', 100000))) | project tostring(d[0][0]), array_length(d)",
    )
    yield (
        "deep JSON bags",
        "print d = parse_json(strcat(strrep('{\"a\":', 100000), '1', strrep('}', 100000))) | project bag_keys(d), treepath(d)",
    )
    yield "wide JSON", "print d = parse_json(strcat('{', strcat_array(range(1, 2), ','), '}')) | evaluate bag_unpack(d)"
    yield "columns from data", "range x from 1 to 20000 step 1 | extend k = strcat('c', x) | evaluate pivot(k, count())"
    yield (
        "columns from bags",
        "range x from 1 to 20000 step 1 | project d = bag_pack(strcat('c', x), x) | evaluate bag_unpack(d)",
    )
    bomb = base64.b64encode(gzip.compress(bytes(300_000_000), 9)).decode()
    yield "gzip bomb", f"print strlen(gzip_decompress_from_base64_string('{bomb}'))"
    bomb = base64.b64encode(zlib.compress(bytes(300_000_000), 9)).decode()
    yield "zlib bomb", f"print strlen(zlib_decompress_from_base64_string('{bomb}'))"
    yield "series", "print x = series_periods_detect(range(1, 1000000, 1), 1.0, 1000000.0, 5)"
    yield "series of ticks", "T | make-series count() on t from datetime(0001-01-01) to datetime(9999-12-31) step 1tick"
    yield "decomposition", "print series_decompose_anomalies(range(1, 500000, 1))"
    yield "transform", "print series_fft(range(1, 1000000, 1))"
    yield (
        "cells",
        "print geo_polygon_to_h3cells(dynamic({'type':'Polygon','coordinates':[[[0,0],[0,50],[100,50],[0,0]]]}), 15)",
    )
    edges = "let e = range a from 1 to 25 step 1 | extend k = 1 | join kind=inner (range b from 1 to 25 step 1 | extend k = 1) on k | where a != b;\n"
    yield "paths", edges + "e | make-graph a --> b | graph-match (x)-[p*1..25]->(y) project x.a, y.b | count"
    yield (
        "triangles",
        edges + "e | make-graph a --> b | graph-match (x)-->(y)-->(z)-->(w)-->(v)-->(u) project x.a | count",
    )
    yield (
        "shortest paths",
        edges + "e | make-graph a --> b | graph-shortest-paths output=all (x)-[p*1..25]->(y) project x.a | count",
    )
    yield (
        "patterns in rows",
        "range x from 1 to 200000 step 1 | extend s = strcat('a', x % 1000, ' b', x % 77) | evaluate basket(0.01)",
    )
    yield "partitions", "range x from 1 to 1000000 step 1 | partition by x (top 1 by x)"
    yield "tokens", "print array_length(split(strrep('a ', 5000000), ' '))"
    yield "values in values", "print parse_csv(strrep(',', 3000000)) | project array_length(print_0)"
    yield "nul", "T | where s == 'a\0b' or ['o\0dd'] == 1 // \0"
    yield "nul in the text", "print x = strcat('a', '\\0', 'b', make_string(0, 1, 0x202e)), strlen('\0')"
    yield "directions", "print ['\u202edda'] = '\u2066x\u2069' // \u202e\n| where nosuch\u202e == 1"
    yield "half characters", "print x = '\ud800', y = '\udfff\ud800' | where x has '\udc00'"
    yield "half characters in a name", "T | extend ['\ud800'] = 1 | summarize count() by ['\ud800']"
    yield (
        "half characters by escape",
        "print '\\ud800', make_string(0xd800), parse_json('\"\\\\ud800\"'), url_decode('%ed%a0%80'), base64_decode_tostring('7aCA')",
    )
    yield "lines", "T\r| where l > 0\u2028| where l > 1\u2029| take 1\x85| where nosuch == 1"
    for number, text in enumerate(
        (
            '{"a":1e999}',
            '"\\\\u0000"',
            "[1,]",
            '{"a":NaN}',
            "1e5000",
            "-0",
            '{"a":1,"a":2}',
            '"\\\\udc00\\\\ud800"',
            " 1 ",
            "\ufeff1",
        )
    ):
        yield (
            f"constant JSON {number}",
            f"print d = parse_json('{text}'), e = parse_json(strcat('{text}', toscalar(print ''))) | project d, e, tostring(d.a), d[0]",
        )
    yield "unclosed comment", "T | take 1 /* never " + "x" * 100_000
    yield "numbers", "print " + "9" * 400_000 + ", 1e" + "9" * 400_000 + ", 0x" + "f" * 400_000
    yield "operators", "print " + " + ".join(["1"] * 10_000)
    yield "conditions", "T | where " + " and ".join(f"l != {n}" for n in range(10_000))
    yield "stages", "T" + " | where l != 1" * 10_000
    yield "columns", "T | extend " + ", ".join(f"c{n} = l + {n}" for n in range(10_000))
    yield (
        "columns of columns",
        "T | extend " + ", ".join(f"c{n} = {f'c{n - 1}' if n else 'l'} + 1" for n in range(300)) + " | where c299 > 1",
    )
    yield "copies of columns", "T" + " | extend l = l * l + l" * 300
    yield "forks", "T | fork " + " ".join(f"a{n} = (where l > {n} | count)" for n in range(300))
    yield "facets", "T | facet by " + ", ".join(["s", "l", "i"] * 50)
    yield "cases", "print case(" + ", ".join(f"1 == {n}, {n}" for n in range(2, 20_000)) + ", 0)"
    yield "text of texts", "print strcat(" + ", ".join(["'x'"] * 60_000) + ")"
    yield "assertion", "T | where assert(l > 100, strrep('\u202e\x1b[31m no\\n', 100000))"


def run() -> Iterator[dict[str, object]]:
    """What became of each text: its verdict, seconds, and the most that the process has held so far."""
    from dataclasses import replace

    from tests.kql.fuzz import promises
    from tocsin.kql import FunctionSource

    promises._FUNCTIONS.update(
        Loop=FunctionSource("Loop", "", "Loop()"),
        Ping=FunctionSource("Ping", "x:long", "Pong(x)"),
        Pong=FunctionSource("Pong", "x:long", "Ping(x)"),
    )
    promises.LIMITS = replace(promises.LIMITS, seconds=SECONDS)
    promises.world()
    wanted = sys.argv[1:]
    for name, text in texts():
        if wanted and name not in wanted:
            continue
        began = time.perf_counter()
        cpu = time.process_time()
        try:
            verdict = promises.check(text)
        except MemoryError:
            verdict = "BROKEN out of memory"
        except Exception as error:
            verdict = f"BROKEN {type(error).__name__}: {str(error)[:300]}"
        yield {
            "name": name,
            "verdict": verdict,
            "seconds": round(time.perf_counter() - began, 2),
            "cpu": round(time.process_time() - cpu, 2),
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        }


def main() -> None:
    """Prints a line for each."""
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    for outcome in run():
        print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main()
