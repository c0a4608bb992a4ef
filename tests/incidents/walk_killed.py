"""The child process of `test_walk`: walks on and says which alerts are filed, until it is killed."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.incidents.test_walk import Walk


def main() -> None:
    walk = Walk(int(sys.argv[2]), Path(sys.argv[1]))
    said = 0
    while True:
        walk.step()
        if len(walk.filed) > said:
            print(" ".join(walk.filed[said:]), flush=True)
            said = len(walk.filed)


if __name__ == "__main__":
    main()
