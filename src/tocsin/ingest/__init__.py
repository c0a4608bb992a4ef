"""Intake: receivers, decoders, the mapping to catalogue tables, dead letters."""

from tocsin.ingest.decoders import decode_body, decode_path, decode_paths
from tocsin.ingest.model import DeadLetter, DecodedItem, FileReport, SourceBatch
from tocsin.ingest.settings import DecodeLimits

__all__ = [
    "DeadLetter",
    "DecodeLimits",
    "DecodedItem",
    "FileReport",
    "SourceBatch",
    "decode_body",
    "decode_path",
    "decode_paths",
]
