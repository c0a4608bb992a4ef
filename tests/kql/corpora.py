"""Run the recorded corpora and count: ``python -m tests.kql.corpora fuzz|docs|agrees|rejects|hunting [--show N] [--match TEXT]``."""

from __future__ import annotations

import argparse
import collections
import importlib.util
import json
import statistics
import sys
import time
from pathlib import Path

from tests.kql.executor import Executor
from tocsin.kql import KqlErrors

SHARED = Path("/work/shared")
FILES = {
    "fuzz": "kql-oracle-fuzz.jsonl",
    "docs": "kql-oracle-docs.jsonl",
    "agrees": "kql-docs.jsonl",
    "rejects": "kql-oracle-rejects.jsonl",
    "hunting": "kql-hunting.jsonl",
}


def comparer():
    """The corpus' own comparison."""
    spec = importlib.util.spec_from_file_location("kql_compare", SHARED / "tools/kql_compare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.compare


def cases(name):
    for line in (SHARED / "corpus" / FILES[name]).read_text().splitlines():
        case = json.loads(line)
        if "nondeterministic" in case.get("flags", ()):
            continue
        if name == "agrees" and case.get("engine") != "agrees":
            continue
        yield case


def outcome(executor, case, compare, **options):
    try:
        columns, rows = executor.run(case["query"], **options)
    except KqlErrors as error:
        return "refused", f"{error.code} {error.message}"
    except RecursionError:
        return "crash", "RecursionError"
    except Exception as error:
        kind = "sql" if type(error).__module__.startswith(("_duckdb", "duckdb")) else "crash"
        return kind, f"{type(error).__name__}: {str(error)[:300]}"
    if compare is None:
        return "exact", ""
    got = compare(case, columns, rows)
    return got, "" if got == "exact" else f"{columns} {json.dumps(rows)[:600]}"


def catalogue():
    from tocsin.tables import catalogue as declared

    return declared()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus", choices=FILES)
    parser.add_argument("--show", type=int, default=0)
    parser.add_argument("--kind", default="")
    parser.add_argument("--match", default="")
    parser.add_argument("--full", action="store_true")
    args = parser.parse_args()
    hunting = args.corpus == "hunting"
    executor = Executor(catalogue() if hunting else None)
    compare = None if hunting or args.corpus == "rejects" else comparer()
    counts = collections.Counter()
    reasons = collections.Counter()
    shown = 0
    times = []
    for case in cases(args.corpus):
        if args.match and args.match not in case["id"] and args.match not in case["query"]:
            continue
        if hunting:
            started = time.perf_counter()
            try:
                executor.compile(case["query"])
                times.append(time.perf_counter() - started)
            except Exception:
                pass
        options = {"external": lambda *_: None} if hunting else {}
        kind, why = outcome(executor, case, compare, **options)
        counts[kind] += 1
        if kind != "exact":
            reasons[(kind, why[:110])] += 1
        if kind != "exact" and shown < args.show and (not args.kind or kind == args.kind):
            shown += 1
            print(f"--- {case['id']} [{kind}]\n{case['query'] if args.full else case['query'][:700]}\n=> {why}")
            if "rows" in case:
                print("want", case["columns"], json.dumps(case["rows"])[:600])
    total = sum(counts.values())
    print(args.corpus, dict(counts), f"{counts['exact']}/{total} = {100 * counts['exact'] / max(total, 1):.1f}%")
    if times:
        times.sort()
        print(
            f"compile median {statistics.median(times) * 1000:.2f} ms p95 {times[int(len(times) * 0.95)] * 1000:.2f} ms"
        )
    for (kind, why), n in reasons.most_common(40 if not args.show else 0):
        print(n, kind, why)
    return 0


if __name__ == "__main__":
    sys.exit(main())
