"""The lake: where rows live. A log makes bodies durable, Arrow batches make their rows visible, Parquet files under Delta logs keep them."""

from tocsin.lake.frames import Body
from tocsin.lake.fresh import TableBatch, Unmapped
from tocsin.lake.lake import Lake, TableStats
from tocsin.lake.log import Log
from tocsin.lake.settings import EngineSettings, LakeSettings
from tocsin.lake.snapshot import DataFile, Snapshot, TableSnapshot

__all__ = [
    "Body",
    "DataFile",
    "EngineSettings",
    "Lake",
    "LakeSettings",
    "Log",
    "Snapshot",
    "TableBatch",
    "TableSnapshot",
    "TableStats",
    "Unmapped",
]
