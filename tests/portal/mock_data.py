"""What the mock server shows: one attack across mail, identity, endpoint and cloud, and the smaller incidents around it.

Everything is made here from nothing: names, hosts and addresses are invented (documentation ranges, the `.example` domain). Incidents are
real `Incident` objects, so title, priority, story and graph are what the product would make of these alerts.
"""

from __future__ import annotations

import base64
import os
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin.detect.alert import Alert, Evidence, iso
from tocsin.incidents.model import Incident, LinkedAlert, Reason, Status
from tocsin.tables.entities import Entity

NOW = datetime.fromisoformat(os.environ.get("TOCSIN_MOCK_NOW", datetime.now(UTC).replace(microsecond=0).isoformat()))
"""The world's present. Tests fix it, here and in the browser, so that a screenshot changes only when the page does."""

START = NOW - timedelta(hours=5)

DOMAIN = "aldersea.example"
_MAIL_ID = "5c1f7e52-33f0-4f27-9a35-c4f1f5a0b2e1"


def _account(name: str) -> Entity:
    made = Entity.account(f"{name}@{DOMAIN}")
    assert made is not None
    return made


def _host(name: str) -> Entity:
    return Entity.host(f"{name}.{DOMAIN}")


def _ip(address: str) -> Entity:
    return Entity("IP", {"Address": address})


def _process(image: str, command: str) -> Entity:
    return Entity("Process", {"CommandLine": command, "ImageFile": image})


def _file(directory: str, name: str) -> Entity:
    return Entity("File", {"Directory": directory, "Name": name})


MIRA, OSEI, BACKUP, TOVE = _account("mira.lind"), _account("kofi.osei"), _account("svc-backup"), _account("tove.ek")
WKS, WKS2, FILES, DC = _host("wks-0142"), _host("wks-0077"), _host("srv-files01"), _host("dc01")
EVIL, EVIL2 = _ip("203.0.113.66"), _ip("198.51.100.23")
SHAREPOINT = Entity("CloudApplication", {"Name": "SharePoint Online", "AppId": "20892"})
MAILBOX = Entity("Mailbox", {"MailboxPrimaryAddress": f"mira.lind@{DOMAIN}"})
MAIL = Entity(
    "MailMessage",
    {
        "NetworkMessageId": _MAIL_ID,
        "Recipient": f"mira.lind@{DOMAIN}",
        "Subject": "Invoice 48213 overdue – action needed today",
        "Sender": "billing@fakturaportal.example",
    },
)
URL = Entity("URL", {"Url": "https://fakturaportal.example/d/48213"})
LURE = _file("C:\\Users\\mira.lind\\Downloads", "Invoice_48213.iso")
PAYLOAD = _file("C:\\Users\\mira.lind\\AppData\\Local\\Temp", "msupd.dll")
HASH = Entity(
    "FileHash", {"Algorithm": "SHA256", "Value": "9f2c4be1a7d06c5b13e8a0f4d7722c31f09a6be8840c5d1e77a2f3c6b19e4d05"}
)

_counter = 0


def alert(
    minutes: float,
    rule: str,
    severity: str,
    tactics: tuple[str, ...],
    techniques: tuple[str, ...],
    entities: tuple[Entity, ...],
    rows: list[tuple[str, dict[str, Any]]],
    *,
    product: str = "Tocsin",
    description: str = "",
    count: int | None = None,
    lasts: float = 0,
    base: datetime = START,
) -> Alert:
    """One alert that many minutes after the base time."""
    global _counter
    _counter += 1
    time = base + timedelta(minutes=minutes)
    events = []
    for index, (table, row) in enumerate(rows):
        stamp = (time + timedelta(seconds=7 * index)).isoformat().replace("+00:00", "Z")
        events.append(Evidence(table, {"TimeGenerated": stamp, **row}))
    return Alert(
        id=f"alr-{_counter:04d}",
        rule_id=f"rule-{abs(hash_text(rule)) % 10_000:04d}",
        rule=rule,
        title=rule,
        time=time,
        end=time + timedelta(minutes=lasts, seconds=7 * max(0, len(rows) - 1)),
        created=time + timedelta(minutes=lasts, seconds=40),
        severity=severity,
        tactics=tactics,
        techniques=techniques,
        entities=entities,
        events=tuple(events),
        description=description,
        product=product,
        count=count if count is not None else max(1, len(rows)),
    )


def hash_text(text: str) -> int:
    """A small stable hash; Python's own differs by run."""
    value = 7
    for character in text:
        value = (value * 131 + ord(character)) % 1_000_003
    return value


def _device(host: str, **more: Any) -> dict[str, Any]:
    return {"DeviceName": f"{host}.{DOMAIN}", "DeviceId": f"{hash_text(host):040x}", **more}


def attack() -> Incident:
    """Phishing to mass download, over three hosts and a mailbox."""
    global _counter
    _counter = 0  # the same ids in every world
    download_rows: list[tuple[str, dict[str, Any]]] = [
        (
            "CloudAppEvents",
            {
                "ActionType": "FileDownloaded",
                "Application": "Microsoft SharePoint Online",
                "AccountDisplayName": "Mira Lind",
                "AccountId": f"mira.lind@{DOMAIN}",
                "IPAddress": "198.51.100.23",
                "CountryCode": "NL",
                "ObjectName": f"https://aldersea.sharepoint.example/finance/{name}",
                "RawEventData": {"UserAgent": "python-requests/2.32", "SiteUrl": "finance", "ItemType": "File"},
            },
        )
        for name in (
            "payroll-2026.xlsx",
            "board-pack-q3.pdf",
            "acquisition-plan.docx",
            "suppliers.csv",
            "salaries.xlsx",
            "ibans.csv",
        )
    ]
    linked = [
        (
            alert(
                0, "Email with a link to a newly seen domain", "Low", ("InitialAccess",), ("T1566.002",), (MAIL, MAILBOX, URL),
                [("EmailEvents", {
                    "NetworkMessageId": _MAIL_ID, "SenderFromAddress": "billing@fakturaportal.example", "SenderIPv4": "203.0.113.66",
                    "RecipientEmailAddress": f"mira.lind@{DOMAIN}", "Subject": "Invoice 48213 overdue – action needed today",
                    "DeliveryAction": "Delivered", "DeliveryLocation": "Inbox", "UrlCount": 1, "AuthenticationDetails": {"SPF": "pass", "DKIM": "none", "DMARC": "none"},
                }), ("EmailUrlInfo", {"NetworkMessageId": _MAIL_ID, "Url": "https://fakturaportal.example/d/48213", "UrlDomain": "fakturaportal.example", "UrlLocation": "Body"})],
                description="A delivered message carries a link to a domain that nobody here had seen in the last 30 days.",
            ),
            (),
        ),
        (
            alert(
                6, "Click on a link from a suspicious email", "Medium", ("InitialAccess",), ("T1566.002", "T1204.001"), (MIRA, URL, MAIL),
                [("UrlClickEvents", {"AccountUpn": f"mira.lind@{DOMAIN}", "Url": "https://fakturaportal.example/d/48213", "ActionType": "ClickAllowed", "NetworkMessageId": _MAIL_ID, "Workload": "Email", "IPAddress": "10.20.4.142", "IsClickedThrough": True})],
                description="The recipient opened the link within ten minutes of delivery.",
            ),
            (Reason("same email message as Email with a link to a newly seen domain", 40), Reason("same URL, seen by nobody else", 22.5), Reason("6 min apart", 9), Reason("Initial access follows Initial access", 4)),
        ),
        (
            alert(
                8, "Disk image opened from Downloads and a DLL run from it", "High", ("Execution", "DefenseEvasion"), ("T1204.002", "T1553.005", "T1218.011"),
                (WKS, MIRA, LURE, _process("rundll32.exe", '"C:\\Windows\\System32\\rundll32.exe" D:\\msupd.dll,Start'), HASH),
                [
                    ("DeviceFileEvents", _device("wks-0142", ActionType="FileCreated", FileName="Invoice_48213.iso", FolderPath="C:\\Users\\mira.lind\\Downloads\\Invoice_48213.iso", FileSize=1843200, SHA256=HASH.identifiers["Value"], InitiatingProcessFileName="msedge.exe", InitiatingProcessAccountUpn=f"mira.lind@{DOMAIN}", FileOriginUrl="https://fakturaportal.example/d/48213")),
                    ("DeviceProcessEvents", _device("wks-0142", ActionType="ProcessCreated", FileName="rundll32.exe", ProcessCommandLine='"C:\\Windows\\System32\\rundll32.exe" D:\\msupd.dll,Start', ProcessId=7120, InitiatingProcessFileName="explorer.exe", InitiatingProcessId=5212, AccountUpn=f"mira.lind@{DOMAIN}", ProcessIntegrityLevel="Medium")),
                ],
                description="A downloaded disk image was mounted and rundll32 ran a library from the mounted drive, which carries no mark of the web.",
            ),
            (Reason("same user mira.lind@aldersea.example, 2 min later", 30), Reason("file came from the clicked URL", 28), Reason("Execution follows Initial access", 12)),
        ),
        (
            alert(
                9, "Regular connections to one rare address", "Medium", ("CommandAndControl",), ("T1071.001", "T1573"), (WKS, EVIL, _process("rundll32.exe", '"C:\\Windows\\System32\\rundll32.exe" D:\\msupd.dll,Start')),
                [("DeviceNetworkEvents", _device("wks-0142", ActionType="ConnectionSuccess", RemoteIP="203.0.113.66", RemotePort=443, RemoteUrl="cdn-telemetry.example", InitiatingProcessFileName="rundll32.exe", InitiatingProcessId=7120, LocalIP="10.20.4.142")) for _ in range(3)],
                count=214, lasts=172, description="One process connects to an address that no other device talks to, every 45 seconds with little jitter.",
            ),
            (Reason("same process rundll32.exe (pid 7120) on wks-0142", 45), Reason("1 min apart", 10), Reason("address also sent the email", 18)),
        ),
        (
            alert(
                31, "Run key set to a library in Temp", "Medium", ("Persistence",), ("T1547.001",), (WKS, MIRA, PAYLOAD, Entity("RegistryKey", {"Hive": "HKEY_CURRENT_USER", "Key": "Software\\Microsoft\\Windows\\CurrentVersion\\Run"})),
                [("DeviceRegistryEvents", _device("wks-0142", ActionType="RegistryValueSet", RegistryKey="HKEY_CURRENT_USER\\Software\\Microsoft\\Windows\\CurrentVersion\\Run", RegistryValueName="MSUpdate", RegistryValueData='rundll32.exe "C:\\Users\\mira.lind\\AppData\\Local\\Temp\\msupd.dll",Start', InitiatingProcessFileName="rundll32.exe", InitiatingProcessId=7120))],
                description="A value under Run starts a library from a user's temporary folder at each sign-in.",
            ),
            (Reason("same process on the same device", 45), Reason("Persistence follows Execution", 12)),
        ),
        (
            alert(
                47, "Memory of LSASS read by an unusual process", "High", ("CredentialAccess",), ("T1003.001",), (WKS, MIRA, _process("rundll32.exe", "rundll32.exe C:\\Windows\\System32\\comsvcs.dll, MiniDump 704 C:\\Windows\\Temp\\d.bin full")),
                [("DeviceProcessEvents", _device("wks-0142", ActionType="ProcessCreated", FileName="rundll32.exe", ProcessCommandLine="rundll32.exe C:\\Windows\\System32\\comsvcs.dll, MiniDump 704 C:\\Windows\\Temp\\d.bin full", ProcessId=9044, InitiatingProcessFileName="rundll32.exe", InitiatingProcessId=7120, ProcessIntegrityLevel="High")),
                 ("DeviceEvents", _device("wks-0142", ActionType="OpenProcessApiCall", FileName="lsass.exe", ProcessId=704, InitiatingProcessId=9044, AdditionalFields={"DesiredAccess": 2097151}))],
                description="comsvcs.dll wrote a full dump of LSASS: every credential of this session must be taken as stolen.",
            ),
            (Reason("child of process 7120 on wks-0142", 50), Reason("Credential access follows Persistence", 12)),
        ),
        (
            alert(
                52, "Account and group discovery in a burst", "Low", ("Discovery",), ("T1087.002", "T1069.002", "T1482"), (WKS, MIRA),
                [("DeviceProcessEvents", _device("wks-0142", FileName=name, ProcessCommandLine=command, InitiatingProcessId=7120)) for name, command in (("net.exe", 'net group "Domain Admins" /domain'), ("nltest.exe", "nltest /domain_trusts"), ("whoami.exe", "whoami /all"))],
                count=11, lasts=2, description="Eleven discovery commands of one process within two minutes.",
            ),
            (Reason("same device and parent process", 42), Reason("5 min apart", 9)),
        ),
        (
            alert(
                95, "Service account used from a workstation", "High", ("LateralMovement", "PrivilegeEscalation"), ("T1021.002", "T1078.002"), (BACKUP, WKS, FILES, _ip("10.20.4.142")),
                [("DeviceLogonEvents", _device("srv-files01", ActionType="LogonSuccess", LogonType="Network", AccountName="svc-backup", AccountDomain="ALDERSEA", RemoteIP="10.20.4.142", RemoteDeviceName="wks-0142", IsLocalAdmin=True)),
                 ("SecurityEvent", {"EventID": 4648, "Computer": f"wks-0142.{DOMAIN}", "Account": "ALDERSEA\\mira.lind", "TargetAccount": "ALDERSEA\\svc-backup", "TargetServerName": "srv-files01", "Activity": "4648 - A logon was attempted using explicit credentials."})],
                description="A service account that only ever signs in from the backup server signed in from a workstation.",
            ),
            (Reason("device wks-0142, where credentials were dumped 48 min before", 38), Reason("Lateral movement follows Credential access", 14)),
        ),
        (
            alert(
                97, "Service installed remotely with a random name", "High", ("LateralMovement", "Execution"), ("T1569.002", "T1021.002"), (FILES, BACKUP, _process("services.exe", "%COMSPEC% /Q /c echo cd ^> \\\\127.0.0.1\\C$\\__out 2^>^&1 > %TEMP%\\x.bat")),
                [("SecurityEvent", {"EventID": 7045, "Computer": f"srv-files01.{DOMAIN}", "ServiceName": "kQzVbTwe", "ServiceFileName": "%COMSPEC% /Q /c echo cd ^> \\\\127.0.0.1\\C$\\__out 2^>^&1 > %TEMP%\\x.bat", "ServiceAccount": "LocalSystem", "Account": "ALDERSEA\\svc-backup"})],
                product="Sigma", description="A service with a random name and a shell command as its image, as remote-execution tools make it.",
            ),
            (Reason("same user svc-backup on srv-files01, 2 min later", 40), Reason("Lateral movement follows Lateral movement", 4)),
        ),
        (
            alert(
                121, "Sign-in from a country never seen for this user", "Medium", ("InitialAccess",), ("T1078.004",), (MIRA, EVIL2),
                [("SigninLogs", {"UserPrincipalName": f"mira.lind@{DOMAIN}", "IPAddress": "198.51.100.23", "Location": "NL", "AppDisplayName": "SharePoint Online", "ResultType": "0", "AuthenticationRequirement": "singleFactorAuthentication", "ConditionalAccessStatus": "notApplied", "DeviceDetail": {"operatingSystem": "Linux", "browser": "Python Requests 2.32"}})],
                description="First sign-in from NL for this user, with a client that is no browser.",
            ),
            (Reason("same user, 74 min after her credentials were dumped", 34), Reason("user of a compromised device", 12)),
        ),
        (
            alert(
                126, "Inbox rule that hides replies", "Medium", ("DefenseEvasion", "Persistence"), ("T1564.008",), (MIRA, MAILBOX, EVIL2),
                [("OfficeActivity", {"Operation": "New-InboxRule", "UserId": f"mira.lind@{DOMAIN}", "ClientIP": "198.51.100.23", "OfficeWorkload": "Exchange", "Parameters": [{"Name": "SubjectContainsWords", "Value": "invoice;payment"}, {"Name": "DeleteMessage", "Value": "True"}]})],
                description="A rule deletes incoming messages about invoices and payments.",
            ),
            (Reason("same user and address", 48), Reason("5 min apart", 9)),
        ),
        (
            alert(
                139, "Mass download from SharePoint", "High", ("Collection", "Exfiltration"), ("T1213.002", "T1567"), (MIRA, EVIL2, SHAREPOINT),
                download_rows, count=412, lasts=16, description="412 files in 16 minutes; this user's usual day has 9.",
            ),
            (Reason("same user and address", 48), Reason("Exfiltration follows Initial access", 14), Reason("13 min apart", 7)),
        ),
    ]  # fmt: skip
    incident = Incident(
        id="inc-7f3a9c21",
        number=1042,
        alerts=[LinkedAlert(a, tuple(reasons)) for a, reasons in linked],
        status=Status.IN_PROGRESS,
        owner="admin",
        tags=["phishing", "finance"],
        promoted=True,
        created=START + timedelta(minutes=1),
        updated=START + timedelta(minutes=160),
    )
    return incident


def others() -> list[Incident]:
    """Smaller incidents, so that the queue has something to sort."""
    day = timedelta(days=1)
    table: list[tuple[int, Alert | list[Alert], Status, str, list[str], str, str]] = [
        (1041, [
            alert(30, "Many failed SSH sign-ins, then one that worked", "High", ("CredentialAccess",), ("T1110.001",), (_host("bastion02"), _ip("192.0.2.77"), Entity("Account", {"Name": "deploy"})),
                  [("Syslog", {"Computer": "bastion02", "ProcessName": "sshd", "SyslogMessage": "Accepted password for deploy from 192.0.2.77 port 50112 ssh2", "Facility": "auth", "SeverityLevel": "info"})], count=318, base=START - timedelta(hours=3)),
            alert(34, "Cron job that downloads a script", "Medium", ("Persistence",), ("T1053.003",), (_host("bastion02"), Entity("Account", {"Name": "deploy"})),
                  [("Syslog", {"Computer": "bastion02", "ProcessName": "crontab", "SyslogMessage": "(deploy) REPLACE (deploy)"})], product="Sigma", base=START - timedelta(hours=3)),
            *(alert(35 + n, "Many failed SSH sign-ins, then one that worked", "High", ("CredentialAccess",), ("T1110.001",), (_host("bastion02"), _ip("192.0.2.77"), Entity("Account", {"Name": "deploy"})),
                    [("Syslog", {"Computer": "bastion02", "ProcessName": "sshd", "SyslogMessage": "Accepted password for deploy from 192.0.2.77 port 50112 ssh2"})], count=40, base=START - timedelta(hours=3))
              for n in range(0, 30, 10)),
        ], Status.NEW, "", ["internet-facing"], "", ""),
        (1040, alert(5, "Impossible travel between two sign-ins", "Medium", ("InitialAccess",), ("T1078.004",), (TOVE, _ip("198.51.100.140"), _ip("192.0.2.10")), [("SigninLogs", {"UserPrincipalName": f"tove.ek@{DOMAIN}", "Location": "BR", "IPAddress": "198.51.100.140"})], base=START - timedelta(hours=7)), Status.NEW, "", [], "", ""),
        (1039, alert(8, "PowerShell with an encoded command", "Medium", ("Execution",), ("T1059.001",), (WKS2, OSEI), [("DeviceProcessEvents", _device("wks-0077", FileName="powershell.exe", ProcessCommandLine="powershell -nop -w hidden -enc SQBFAFgA…"))], base=START - timedelta(hours=11)), Status.IN_PROGRESS, "r.haddad", ["false-positive?"], "", ""),
        (1038, alert(2, "DNS queries of random-looking names", "Low", ("CommandAndControl",), ("T1568.002",), (_ip("10.20.9.31"),), [("DnsEvents", {"ClientIP": "10.20.9.31", "Name": "q7w8x2pz.example"})], count=57, base=START - timedelta(hours=15)), Status.NEW, "", [], "", ""),
        (1037, alert(4, "New member of Domain Admins", "High", ("Persistence", "PrivilegeEscalation"), ("T1098",), (DC, OSEI), [("SecurityEvent", {"EventID": 4728, "Computer": f"dc01.{DOMAIN}", "TargetUserName": "Domain Admins", "MemberName": "CN=Kofi Osei"})], base=START - timedelta(hours=22)), Status.RESOLVED, "admin", ["change-4711"], "InformationalExpectedActivity", "ConfirmedActivity"),
        (1036, alert(1, "Audit log cleared", "High", ("DefenseEvasion",), ("T1070.001",), (_host("srv-build03"),), [("SecurityEvent", {"EventID": 1102, "Computer": f"srv-build03.{DOMAIN}"})], base=START - day), Status.NEW, "", [], "", ""),
        (1035, alert(1, "Consent to an app that reads mail", "Medium", ("Persistence",), ("T1528",), (TOVE, Entity("CloudApplication", {"Name": "Mail Merge Helper", "AppId": "b1d2"})), [("AuditLogs", {"OperationName": "Consent to application", "InitiatedBy": f"tove.ek@{DOMAIN}"})], base=START - day * 1.2), Status.IN_PROGRESS, "admin", ["oauth"], "", ""),
        (1034, alert(1, "Port scan from inside", "Low", ("Discovery",), ("T1046",), (_ip("10.20.7.5"), _host("scanner01")), [("DeviceNetworkEvents", _device("scanner01", RemotePort=445))], count=1203, base=START - day * 1.4), Status.RESOLVED, "r.haddad", ["scanner"], "FalsePositive", "Clean"),
        (1033, alert(1, "Rare parent of a shell", "Informational", ("Execution",), ("T1059",), (WKS2,), [("DeviceProcessEvents", _device("wks-0077", FileName="cmd.exe"))], base=START - day * 1.8), Status.NEW, "", [], "", ""),
        (1032, alert(1, "Webshell-like file written by the web server", "High", ("Persistence",), ("T1505.003",), (_host("web04"), _file("/var/www/html/uploads", "img.php")), [("Syslog", {"Computer": "web04", "ProcessName": "auditd", "SyslogMessage": "openat /var/www/html/uploads/img.php"})], product="Sigma", base=START - day * 2.1), Status.NEW, "", ["internet-facing", "pci"], "", ""),
        (1031, alert(1, "Sign-in to a disabled account", "Low", ("CredentialAccess",), ("T1110",), (_account("former.employee"),), [("SigninLogs", {"ResultType": "50057"})], count=9, base=START - day * 2.6), Status.NEW, "", [], "", ""),
    ]  # fmt: skip
    out = []
    for number, alerts, status, owner, tags, classification, determination in table:
        several = alerts if isinstance(alerts, list) else [alerts]
        reasons: tuple[Reason, ...] = (Reason("same device and user", 38), Reason("4 min apart", 9))
        out.append(
            Incident(
                id=f"inc-{hash_text(str(number)):08x}",
                number=number,
                alerts=[LinkedAlert(a, reasons if i else ()) for i, a in enumerate(several)],
                status=status,
                owner=owner,
                tags=tags,
                classification=classification,
                determination=determination,
                promoted=True,
                created=several[0].created,
                updated=several[-1].created,
            )
        )
    return out


PROCESSES = [
    ("svchost.exe", "C:\\Windows\\System32\\svchost.exe -k netsvcs -p"),
    ("msedge.exe", '"C:\\Program Files\\Microsoft\\Edge\\msedge.exe" --type=renderer'),
    ("powershell.exe", "powershell.exe -NoProfile -File C:\\Ops\\inventory.ps1"),
    ("conhost.exe", "\\??\\C:\\Windows\\system32\\conhost.exe 0x4"),
    ("rundll32.exe", "rundll32.exe shell32.dll,Control_RunDLL"),
    ("git.exe", "git.exe fetch --all --prune"),
    ("python.exe", "python.exe -m pip list --outdated"),
]


def process_rows(count: int) -> list[list[Any]]:
    """That many rows of process events, newest first; the same each time."""
    rng = random.Random(7)
    now = START + timedelta(hours=4)
    rows: list[list[Any]] = []
    for index in range(count):
        name, command = PROCESSES[rng.randrange(len(PROCESSES))]
        moment = now - timedelta(seconds=index * 0.73)
        rows.append(
            [
                moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond:06d}0Z",
                f"wks-{rng.randrange(1, 240):04d}.{DOMAIN}",
                rng.choice(["mira.lind", "kofi.osei", "tove.ek", "system", "svc-backup"]),
                name,
                command,
                rng.randrange(400, 30000),
                rng.random() < 0.12,
                round(rng.random() * 100, 3),
                {"ParentId": rng.randrange(400, 30000), "Signed": rng.random() < 0.9, "Tags": ["a", "b"]}
                if index % 3 == 0
                else None,
                f"00:00:{rng.randrange(0, 59):02d}.{rng.randrange(0, 9999999):07d}",
            ]
        )
    return rows


PROCESS_COLUMNS = [
    ("Timestamp", "datetime"),
    ("DeviceName", "string"),
    ("AccountName", "string"),
    ("FileName", "string"),
    ("ProcessCommandLine", "string"),
    ("ProcessId", "long"),
    ("IsElevated", "bool"),
    ("CpuPercent", "real"),
    ("AdditionalFields", "dynamic"),
    ("RunTime", "timespan"),
]

DEAD_LETTERS = [
    ("hec:fluent-bit", "ING0031", "The body is not JSON: expected ',' or '}' at byte 118", "body 20931, line 4", b'{"time": 1764140000, "host": "web04", "event": {"msg": "GET /index.php" "status": 200}}\n', True),
    ("syslog/udp", "ING0044", "The header has no priority value", "10.20.4.9:50211", b"\x00\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not syslog at all \xff\xfe", True),
    ("folder:/var/spool/tocsin", "ING0012", "The EVTX file ends inside chunk 3 of 5", "Security-2026-11.evtx:262144", b"ElfFile\x00" + bytes(range(64)), False),
]  # fmt: skip


def raw64(data: bytes) -> str:
    """Bytes as the API gives them."""
    return base64.b64encode(data).decode()


REACH = {
    "at": iso(NOW),
    "from": iso(NOW - timedelta(days=30)),
    "to": iso(NOW),
    "starts": [{"type": "Account", "label": f"mira.lind@{DOMAIN}"}],
    "starts_left_out": 0,
    "things": [
        {
            "type": "Host",
            "label": f"dc1.{DOMAIN}",
            "critical": "veryHigh",
            "why_critical": "Domain controllers",
            "hops": 1,
            "ways": [
                {
                    "from": {"type": "Account", "label": f"mira.lind@{DOMAIN}"},
                    "how": "signs in there as a local administrator (RemoteInteractive)",
                    "first": iso(NOW - timedelta(days=2)),
                    "last": iso(NOW - timedelta(days=1)),
                    "seen": 3,
                    "source": "Machines that an account signs in to",
                }
            ],
            "ways_left_out": 0,
        }
    ],
    "counts": {"Host": 1},
    "critical": 1,
    "left_out": 0,
    "unknown": [{"name": "Groups and roles of an account", "why": "no row of IdentityInfo in this time"}],
    "failed": [],
}
