"""Receivers: one protocol a file. Each hands bodies to `Intake` and answers its sender when they are durable."""

from tocsin.ingest.receivers.http import Port, TokenCheck

__all__ = ["Port", "TokenCheck"]
