"""The kill test's real shippers, each a process of its own that is handed lines: rsyslog, syslog-ng, and the Fluent Bit inside `tenzir`.

Those that aren't installed are left out. `TOCSIN_TENZIR` and `TOCSIN_SYSLOG_NG` name programs outside the path; Debian's syslog-ng
replaces rsyslog when it is installed, unpacked beside it (`dpkg -x`) both can run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.e2e.soak_model import Promise, Sender
from tests.ingest.shipper_support import Certificates

__all__ = ["Shippers"]

_PATH = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:/usr/sbin"
RSYSLOGD = shutil.which("rsyslogd", path=_PATH)
SYSLOG_NG = os.environ.get("TOCSIN_SYSLOG_NG") or shutil.which("syslog-ng", path=_PATH)
TENZIR = os.environ.get("TOCSIN_TENZIR") or shutil.which("tenzir", path=_PATH)

TOLD = Promise()
UNNAMED = Promise(once=False)
UNTOLD = Promise(told=False, once=False)

Offer = tuple[str, str, Promise, Callable[[Sender], None]]


def _module(name: str) -> bool:
    return any(Path("/usr/lib").glob(f"*/rsyslog/{name}.so")) or Path(f"/usr/lib/rsyslog/{name}.so").exists()


class Shippers:
    """Shippers to one server's ports."""

    def __init__(self, folder: Path, certificates: Certificates, ports: dict[str, int], token: str) -> None:
        self.folder = folder
        self.certificates = certificates
        self.ports = ports
        self.token = token
        folder.mkdir(exist_ok=True)
        self.processes: list[subprocess.Popen[bytes]] = []

    def offers(self) -> list[Offer]:
        """What is installed: name, description, promise, work."""
        found: list[Offer] = []
        if RSYSLOGD is not None:
            if _module("omrelp"):
                found.append(("relp", "rsyslog, omrelp", TOLD, self._relp))
            found.append(("tcp", "rsyslog, omfwd over TCP, octet-counted", UNTOLD, self._tcp))
            if _module("lmnsd_gtls"):
                found.append(("tls", "rsyslog, omfwd over TLS", UNTOLD, self._tls))
        if SYSLOG_NG is not None:
            found.append(("ng-tcp", "syslog-ng, `syslog()` over TCP", UNTOLD, self._ng_tcp))
            found.append(("ng-hec", "syslog-ng, `http()` to HEC", UNNAMED, self._ng_hec))
        if TENZIR is not None:
            for name, (how, promise, plugin, options) in self._outputs().items():
                found.append((name, f"Fluent Bit, {how}", promise, self._bit(plugin, options)))
        return found

    def close(self) -> None:
        """Ends them."""
        for process in self.processes:
            process.kill()
            process.wait()

    def _start(self, sender: Sender, command: list[str], **more: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{sender.name}.out").open("wb") as out:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=out, stderr=out, env={**os.environ, **more}
            )
        self.processes.append(process)
        return process

    def _feed(self, sender: Sender, source: Path, line: Callable[[int], str]) -> None:
        """Appends to the file that the shipper follows."""
        for batch in sender.batches(100):
            with source.open("a") as file:
                file.writelines(line(e["n"]) + "\n" for e in batch)
            sender.acknowledged += len(batch)

    # ------------------------------------------------------------------------------------------------ rsyslog

    def _rsyslog(self, sender: Sender, action: str, modules: str = "") -> None:
        folder = self.folder / sender.name
        folder.mkdir()
        source, config = folder / "input.log", folder / "rsyslog.conf"
        source.touch()
        config.write_text(
            f'global(workDirectory="{folder}" DefaultNetstreamDriverCAFile="{self.certificates.ca}")\n{modules}'
            f'module(load="imfile" PollingInterval="1")\ninput(type="imfile" File="{source}" Tag="{sender.name}:")\n'
            f'action({action} action.resumeRetryCount="-1" action.resumeInterval="1" action.resumeIntervalMax="2" '
            'queue.type="LinkedList" queue.size="2000000" template="RSYSLOG_SyslogProtocol23Format")\n'
        )
        self._start(sender, [str(RSYSLOGD), "-n", "-f", str(config), "-i", str(folder / "pid")])
        self._feed(sender, source, lambda n: f"soak {n}")

    def _relp(self, sender: Sender) -> None:
        action = f'type="omrelp" target="127.0.0.1" port="{self.ports["relp"]}"'
        self._rsyslog(sender, action, 'module(load="omrelp")\n')

    def _tcp(self, sender: Sender) -> None:
        self._rsyslog(
            sender,
            f'type="omfwd" target="127.0.0.1" port="{self.ports["tcp"]}" protocol="tcp" TCP_Framing="octet-counted"',
        )

    def _tls(self, sender: Sender) -> None:
        self._rsyslog(
            sender,
            f'type="omfwd" target="localhost" port="{self.ports["tls"]}" protocol="tcp" StreamDriver="gtls" StreamDriverMode="1" '
            'StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="localhost"',
        )

    # ------------------------------------------------------------------------------------------------ syslog-ng

    def _syslog_ng(self, sender: Sender, destination: str, line: Callable[[int], str]) -> None:
        folder = self.folder / sender.name
        folder.mkdir()
        source, config = folder / "input.log", folder / "syslog-ng.conf"
        source.touch()
        config.write_text(
            "@version: 3.35\noptions { time-reopen(1); stats-freq(0); };\n"
            f'source s {{ file("{source}" flags(no-parse) follow-freq(0.2) program-override("{sender.name}")); }};\n'
            f"destination d {{ {destination} }};\nlog {{ source(s); destination(d); flags(flow-control); }};\n"
        )
        command = [str(SYSLOG_NG), "-F", "-f", str(config), "--no-caps"]
        command += [f"--{what}={folder / what}" for what in ("persist-file", "pidfile", "control")]
        # One that was unpacked somewhere finds its libraries and modules beside itself.
        beside = Path(str(SYSLOG_NG)).resolve().parents[1] / "lib" / "syslog-ng"
        modules = sorted(beside.glob("[0-9]*"))
        command += [f"--module-path={modules[-1]}"] if modules else []
        self._start(sender, command, LD_LIBRARY_PATH=str(beside))
        self._feed(sender, source, line)

    def _ng_tcp(self, sender: Sender) -> None:
        destination = f'syslog("127.0.0.1" transport("tcp") port({self.ports["tcp"]}));'
        self._syslog_ng(sender, destination, lambda n: f"soak {n}")

    def _ng_hec(self, sender: Sender) -> None:
        body = f'{{"time": ${{S_UNIXTIME}}, "event": {{"p": "{sender.name}", "n": ${{MSG}}}}}}'
        url = f"http://127.0.0.1:{self.ports['http']}/services/collector/event"
        destination = (
            f'http(url("{url}") method("POST") headers("Authorization: Splunk {self.token}") body(\'{body}\') delimiter("") '
            "batch-lines(50) batch-timeout(200) workers(1) retries(1000000) timeout(20));"
        )
        self._syslog_ng(sender, destination, str)

    # ------------------------------------------------------------------------------------------------ Fluent Bit

    def _outputs(self) -> dict[str, tuple[str, Promise, str, dict[str, object]]]:
        http = {"Host": "127.0.0.1", "Port": self.ports["http"]}
        signed = {**http, "HTTP_User": "x", "HTTP_Passwd": self.token}
        return {
            "fb-hec": ("splunk", TOLD, "splunk", {**http, "Splunk_Token": self.token, "TLS": "Off"}),
            "fb-es": (
                "es with `Generate_ID`",
                TOLD,
                "es",
                {**signed, "Suppress_Type_Name": "On", "Generate_ID": "On", "Index": "soak"},
            ),
            "fb-otlp": (
                "opentelemetry",
                TOLD,
                "opentelemetry",
                {**http, "Logs_uri": "/v1/logs", "Header": f"Authorization Bearer {self.token}"},
            ),
            "fb-loki": ("loki", TOLD, "loki", {**signed, "Labels": "job=fb"}),
            "fb-fwd": (
                "forward with acknowledgement",
                TOLD,
                "forward",
                {"Host": "127.0.0.1", "Port": self.ports["fluent"], "Require_ack_response": "true"},
            ),
            "fb-gelf": (
                "gelf over TCP",
                UNTOLD,
                "gelf",
                {
                    "Host": "127.0.0.1",
                    "Port": self.ports["gelf"],
                    "Mode": "tcp",
                    "Gelf_Short_Message_Key": "message",
                },
            ),
        }

    def _bit(self, plugin: str, options: dict[str, object]) -> Callable[[Sender], None]:
        def work(sender: Sender) -> None:
            given = ", ".join(f'"{k}": "{v}"' for k, v in {**options, "Retry_Limit": "no_limits"}.items())
            engine = '"flush": "0.5", "scheduler.base": "1", "scheduler.cap": "2"'
            pipeline = f'from_stdin {{ read_ndjson }}\nto_fluent_bit "{plugin}", options={{{given}}}, fluent_bit_options={{{engine}}}'
            process = self._start(sender, [str(TENZIR), pipeline])
            assert process.stdin is not None
            for batch in sender.batches(100):
                for event in batch:
                    line = {**event, "message": f"{sender.name} {event['n']}"}
                    process.stdin.write(json.dumps(line).encode() + b"\n")
                process.stdin.flush()
                sender.acknowledged += len(batch)
            # It stays open: at the end of its input Fluent Bit gives up what it still wanted to try again.

        return work
