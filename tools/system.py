"""Installs the Debian packages that tests of real peers need, as root; otherwise says which are missing. Run by `make test`.

Nothing fails here: a test that needs a missing package skips and says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from glob import glob

PACKAGES = {  # a command or file that the package brings → the package
    "chromium": "chromium",
    "rsyslogd": "rsyslog",
    "/usr/lib/*/rsyslog/omrelp.so": "rsyslog-relp",
    "/usr/lib/*/rsyslog/lmnsd_gtls.so": "rsyslog-gnutls",
    "nft": "nftables",
    "ip": "iproute2",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc": "fonts-wqy-microhei",
    "/usr/share/fonts/truetype/lohit-devanagari/Lohit-Devanagari.ttf": "fonts-lohit-deva",
    "cc": "gcc",
    "/usr/include/stdlib.h": "libc6-dev",
}


def main() -> int:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [
        package
        for what, package in PACKAGES.items()
        if not (glob(what) if "/" in what else shutil.which(what, path=path))
    ]
    if not missing:
        return 0
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(
            "Missing Debian packages: "
            + " ".join(missing)
            + ". Tests that need them skip. As root: apt-get install "
            + " ".join(missing)
        )
        return 0
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
    ):
        print("+", " ".join(command), flush=True)
        if subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False).returncode != 0:
            print("That failed; tests that need " + ", ".join(missing) + " skip.")
            return 0
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
