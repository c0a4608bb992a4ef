"""Ingestion-time transforms of the user: filter, mask, route, enrich and split rows before they are stored."""

from tocsin.ingest.transforms.check import ALLOWED, compile_flow
from tocsin.ingest.transforms.model import TABLE_STREAM, Flow, Transform, TransformError, table_of
from tocsin.ingest.transforms.run import Previewed, Run, Transforms
from tocsin.ingest.transforms.samples import Samples

__all__ = [
    "ALLOWED",
    "TABLE_STREAM",
    "Flow",
    "Previewed",
    "Run",
    "Samples",
    "Transform",
    "TransformError",
    "Transforms",
    "compile_flow",
    "table_of",
]
