"""Names in sentences: short, and still saying what it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.incidents.test_correlate import WS1, alert
from tocsin.content import load_packs, packs_dir
from tocsin.incidents.brief import brief, cut
from tocsin.incidents.model import Incident, LinkedAlert
from tocsin.incidents.narrative import narrative
from tocsin.tables import Entity


@pytest.mark.parametrize(
    ("kind", "label", "said"),
    [
        ("Host", "ws1.contoso.com", "ws1"),
        ("Account", "CONTOSO\\ann", "ann"),
        ("Mailbox", "ann@contoso.com", "ann"),
        ("Process", '"C:\\Program Files\\x y\\a.exe" -enc SQBGACgA', "a.exe"),
        ("Process", "C:\\Program Files\\x y\\a.exe -enc SQBGACgA", "a.exe"),
        ("Process", "C:\\Windows\\System32\\WindowsPowershell\\v1.0\\powershell -noP -sta", "powershell"),
        ("Process", "C:\\Windows\\powershell -File C:\\x\\y.cmd z.exe", "powershell"),
        ("Process", "\\??\\C:\\Windows\\system32\\conhost.exe 0xffffffff", "conhost.exe"),
        ("Process", "rundll32.exe C:\\x\\y.dll,a /p:y", "rundll32.exe"),
        ("Process", "bash -c {echo,YmFzaA==}|{base64,-d}", "bash"),
        ("Process", "/usr/bin/python3 /tmp/x.py", "python3"),
        ("Process", "%COMSPEC% /Q /c echo cd", "%COMSPEC%"),
        ("Process", "pid 44", "pid 44"),
        ("File", "C:\\short\\x.exe", "C:\\short\\x.exe"),
        ("File", "C:\\" + "a" * 70 + "\\x.exe", "…\\x.exe"),
        ("IP", "192.0.2.1", "192.0.2.1"),
        ("URL", "https://x.example/" + "a" * 90, "https://x.example/" + "a" * 41 + "…"),
    ],
)
def test_a_name_is_short_by_its_kind(kind: str, label: str, said: str) -> None:
    assert brief(kind, label) == said


@given(st.sampled_from(["Host", "Account", "Process", "File", "RegistryKey", "URL", "IP"]), st.text(max_size=300))
def test_whatever_it_is_called_something_short_is_said(kind: str, label: str) -> None:
    said = brief(kind, label)
    assert len(said) <= 60
    assert "\n" not in said
    assert bool(said) == bool(label.split())


def test_a_sentence_stays_one_and_the_evidence_has_the_whole() -> None:
    command = "C:\\Windows\\System32\\WindowsPowershell\\v1.0\\powershell -noP -sta -w 1 -enc " + "SQBmACgA" * 400
    ran = alert(
        "ran",
        0,
        WS1,
        Entity("Process", {"CommandLine": command, "ProcessId": "7"}),
        tactics=("Execution",),
        title="Ran " + command,
    )
    incident = Incident(
        "inc", alerts=[LinkedAlert(ran), LinkedAlert(alert("hop", 5, WS1, tactics=("LateralMovement",)))]
    )
    told = narrative(incident, load_packs([packs_dir()], only=("incidents",)))
    assert told["summary"].endswith(" by powershell on ws1.")
    assert len(told["summary"]) < 300
    assert all(len(f["text"]) < 200 for f in told["facts"])
    assert told["root_cause"]["actor"] == command
    assert cut(command, 80) == command[:79] + "…"


def test_a_mail_that_began_it_is_called_a_mail() -> None:
    mail = Entity("MailMessage", {"NetworkMessageId": "m-1", "Subject": "Invoice overdue, act today"})
    came = alert(
        "mail",
        0,
        mail,
        Entity("Mailbox", {"MailboxPrimaryAddress": "ann@contoso.com"}),
        tactics=("InitialAccess",),
        title="Link to a new domain",
    )
    incident = Incident(
        "inc", alerts=[LinkedAlert(came), LinkedAlert(alert("hop", 5, WS1, tactics=("LateralMovement",)))]
    )
    told = narrative(incident, load_packs([packs_dir()], only=("incidents",)))
    assert told["summary"].endswith(
        'It probably began with "Link to a new domain" by the mail "Invoice overdue, act today" on ann.'
    )
