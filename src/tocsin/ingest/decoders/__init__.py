"""Decoders: from bytes of any kind to batches of rows, fields named as the source names them.

Source kinds and their columns (all nullable):

`windows.event`: Channel, Provider, EventID:int, Computer, TimeCreated:datetime, EventRecordID:long, Level:int, Task:int, Opcode:int, Version:int,
Keywords (`0x…`), UserSid, ProcessID:int, ThreadID:int, ProviderGuid, ActivityID, Message, EventData (JSON object of name → text; unnamed values are
Data, Data_1, …). From EVTX, event XML, winlogbeat, nxlog and Logstash JSON, pyevtx-rs JSON, Log Analytics' Event, SecurityEvent and
WindowsEvent tables.
`linux.sysmon`: the same columns, from Sysmon for Linux wherever it travels (syslog lines, the Syslog table).
`linux.auditd`: TimeCreated, Computer, Serial:long, Types (JSON array), Fields (JSON object), see `auditd`. From audit.log and AUOMS.
`syslog`: TimeCreated, HostName, Facility, SeverityLevel, ProcessName, ProcessID, SyslogMessage, HostIP, MsgID, StructuredData (JSON object).
`zeek.<path>`: Zeek's columns as text, `ts` as datetime.
`table.<Table>`: columns of that catalogue table as text, cast when they are mapped. From exports of Sentinel and Defender, JSON or CSV.
`json`, `csv`: rows of unknown shape: TimeCreated, Computer, RawData (JSON object).
"""

from tocsin.ingest.decoders.body import decode_bodies, decode_body
from tocsin.ingest.decoders.paths import decode_path, decode_paths

__all__ = ["decode_bodies", "decode_body", "decode_path", "decode_paths"]
