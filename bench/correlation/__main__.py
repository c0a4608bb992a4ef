"""`python -m bench.correlation`: scans what isn't scanned yet, correlates, and writes docs/explanation/correlation-results.md.

python -m bench.correlation scan     scans the recordings (some minutes); what was scanned is kept in /tmp/tocsin-correlation
python -m bench.correlation report   writes the document
python -m bench.correlation tune     tries each weight up and down on the tuning half of the pairings and prints what each gives
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.correlation import report, tune
from bench.correlation.datasets import OTRF, alerts_of, datasets

DOCUMENT = Path("docs/explanation/correlation-results.md")


def main() -> int:
    """Does what the first word says."""
    what = sys.argv[1] if len(sys.argv) > 1 else "report"
    if not OTRF.is_dir():
        print(f"{OTRF}: not here; nothing to measure", file=sys.stderr)
        return 0
    match what:
        case "scan":
            for dataset in datasets():
                print(f"{dataset.name}: {len(alerts_of(dataset))} alerts", flush=True)
        case "report":
            DOCUMENT.write_text(report.document(), encoding="utf-8")
            print(f"{DOCUMENT} written")
        case "tune":
            tune.main()
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
