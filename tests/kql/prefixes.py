"""Every prefix of queries, parsed and bound: ``python -m tests.kql.prefixes`` tries all of every corpus, which takes hours of one core's time;
``--step 7`` every seventh. Prints what broke; the exit code is 1 then."""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterable, Iterator

from tests.kql.fuzz.promises import world
from tests.kql.fuzz.texts import SHARED
from tocsin.kql import KqlErrors

CORPORA = ("kql-hunting", "kql-oracle-docs", "kql-oracle-fuzz", "kql-docs", "kql-docs-noout", "kql-oracle-rejects")


def prefixes(text: str, step: int = 1) -> Iterator[str]:
    """The beginnings of a text, the whole of it last."""
    yield from (text[:end] for end in range(0, len(text), step))
    yield text


def broken(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(text, what came out) for every text that gave neither a compiled query nor KqlErrors, or took over five seconds."""
    here = world()
    for text in texts:
        began = time.process_time()
        try:
            here.compile(text)
        except KqlErrors as error:
            if not error.diagnostics or not error.render():
                yield text, "a refusal without words"
        except Exception as error:
            yield text, f"{type(error).__name__}: {error}"
        if time.process_time() - began > 5:
            yield text, f"{time.process_time() - began:.1f} s"


def main() -> int:
    """Tries them."""
    parser = argparse.ArgumentParser(prog="python -m tests.kql.prefixes")
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so many")
    args = parser.parse_args()
    ends = time.monotonic() + args.seconds
    count = found = 0
    queries = [
        json.loads(line)["query"]
        for name in CORPORA
        for line in (SHARED / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    random.Random(1).shuffle(queries)
    for number, query in enumerate(queries):
        if time.monotonic() > ends:
            print(f"stopped after {number} of {len(queries)} queries")
            break
        texts = list(prefixes(query, args.step))
        count += len(texts)
        for text, what in broken(texts):
            found += 1
            print(json.dumps({"text": text, "what": what}), flush=True)
    print(f"{count:,} prefixes, {found} broken")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
