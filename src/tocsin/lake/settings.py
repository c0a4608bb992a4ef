"""Settings of the lake and its engine, documented by the fields themselves.

The composition root reads them from `tocsin.toml` (``[lake]`` and ``[engine]``), the environment and flags.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["MIB", "ArchiveSettings", "EngineSettings", "LakeSettings", "RetentionSettings", "TableRetention"]

MIB = 1024 * 1024


class EngineSettings(BaseModel):
    """What queries may use of the machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory_bytes: int = Field(
        default=384 * MIB,
        ge=64 * MIB,
        description="Memory that all running queries share; above it they spill to disk.",
    )
    spill_bytes: int = Field(
        default=4096 * MIB, ge=0, description="Disk space that running queries may take for spilling."
    )
    threads: int = Field(
        default=0, ge=0, description="Worker threads of the query engine; 0 means one a core, at most four."
    )
    niceness: int = Field(
        default=10,
        ge=0,
        le=19,
        description="How much the engine's own threads leave the processors to intake when both want them, as nice(1) counts; 0 not at all. "
        "Linux only. Intake's parsers run apart from them.",
    )
    connections: int = Field(
        default=16, ge=1, description="Queries that may run at the same time; others wait for their turn."
    )


class ArchiveSettings(BaseModel):
    """Where rows go when they leave the disk: an S3-compatible bucket or a folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bucket: str = Field(default="", description="Bucket that takes archived rows; empty for none.")
    prefix: str = Field(default="", description="What the keys of its objects begin with.")
    region: str = Field(default="", description="Region; empty takes the environment's.")
    endpoint: str = Field(default="", description="URL of an S3-compatible store; empty for AWS.")
    access_key: str = Field(default="", description="Access key; empty takes the environment's or the machine's role.")
    secret_key: str = Field(default="", description="Secret of the access key.")
    folder: str = Field(default="", description="Folder that takes archived rows, in place of a bucket.")
    cache_bytes: int = Field(
        default=4096 * MIB, ge=0, description="Bytes of archived files that jobs may keep on the disk to read them."
    )


class TableRetention(BaseModel):
    """How long one table's rows stay, where it differs from the others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: int | None = Field(
        default=None, ge=0, description="Days; 0 keeps rows for ever, left out means as all tables."
    )
    bytes: int = Field(
        default=0, ge=0, description="Bytes that the table's files may take; 0 sets no limit of its own."
    )
    archive_days: int | None = Field(
        default=None, ge=0, description="Days until rows go to the archive; 0 never, left out means as all tables."
    )
    tier: Literal["analytics", "lake"] = Field(
        default="analytics",
        description="`lake` keeps rules off the table: its rows are for queries of people, search jobs and summary rules.",
    )


class RetentionSettings(BaseModel):
    """How long rows stay."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: int = Field(
        default=90,
        ge=0,
        description="Days that rows stay after they came in; 0 keeps them until the budget is used up.",
    )
    archive_days: int = Field(
        default=0,
        ge=0,
        description="Days after which rows leave the disk for the archive, until `days` are over; 0 keeps them on the disk.",
    )
    budget_percent: float = Field(
        default=80.0,
        gt=0,
        le=100,
        description="Share of the disk that all tables together may take; above it the rows that came in first go.",
    )
    budget_bytes: int = Field(
        default=0, ge=0, description="Bytes that all tables together may take, instead of a share of the disk."
    )
    floor_hours: float = Field(
        default=24.0,
        ge=0,
        description="Rows that came in this recently are never deleted for space; intake is refused instead.",
    )
    undo_days: float = Field(
        default=30.0,
        ge=0,
        description="Days for which a shortened time doesn't take effect, so that it can be put back.",
    )
    tables: dict[str, TableRetention] = Field(
        default={}, description="Tables with a time or size of their own, by name: `{SecurityAlert = {days = 365}}`."
    )

    def days_of(self, table: str) -> int:
        """Days that are set for a table: its own, else those of all; 0 is for ever."""
        own = self.tables.get(table)
        return self.days if own is None or own.days is None else own.days

    def archive_days_of(self, table: str) -> int:
        """Days until a table's rows go to the archive; 0 is never."""
        own = self.tables.get(table)
        return self.archive_days if own is None or own.archive_days is None else own.archive_days

    def tier_of(self, table: str) -> Literal["analytics", "lake"]:
        """The tier of a table's rows that aren't archived."""
        own = self.tables.get(table)
        return "analytics" if own is None else own.tier


class LakeSettings(BaseModel):
    """Where rows live and when they move from memory to files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    log_segment_bytes: int = Field(
        default=64 * MIB, ge=4096, description="Size at which a file of the log is closed and the next one begun."
    )
    log_group_bytes: int = Field(
        default=4 * MIB,
        ge=1,
        description="Raw bytes that one compressed record of the log takes at most, unless one body is larger.",
    )
    log_queue_bytes: int = Field(
        default=128 * MIB,
        ge=1,
        description="Bodies waiting for the log; above it intake is told to wait (503), so that memory stays bounded.",
    )
    zstd_level: int = Field(default=1, ge=1, le=19, description="Compression level of log and Parquet files.")
    roll_bytes: int = Field(
        default=64 * MIB, ge=1, description="Bytes of fresh rows in memory that start a roll to Parquet."
    )
    roll_seconds: float = Field(default=30.0, gt=0, description="Age of the oldest fresh row that starts a roll.")
    hot_bytes: int = Field(
        default=192 * MIB, ge=1, description="Bytes of fresh rows in memory at which `put` waits for the roll."
    )
    spill_bytes: int = Field(
        default=64 * MIB,
        ge=1,
        description="Bytes of one table's bulk-written rows in memory that become a Parquet file.",
    )
    bulk_bytes: int = Field(
        default=192 * MIB,
        ge=1,
        description="Bytes of all tables' bulk-written rows in memory; the largest table spills first.",
    )
    row_group_rows: int = Field(
        default=20_000, ge=1000, description="Rows in a Parquet row group: small ones make time filters and `top` fast."
    )
    target_file_bytes: int = Field(default=96 * MIB, ge=MIB, description="Size that compaction makes files of.")
    compact_files: int = Field(
        default=16,
        ge=0,
        description="Small files of one table that make the background thread merge them; 0 switches it off.",
    )
    term_filter_rows: int = Field(
        default=10_000,
        ge=0,
        description="Rows from which on a file gets a filter of its terms, so that searches for rare words skip it; 0 makes none.",
    )
    orphan_seconds: float = Field(
        default=900.0,
        gt=0,
        description="Age at which a file that no table lists is deleted; longer than any query may run.",
    )
    retention: RetentionSettings = RetentionSettings()
    archive: ArchiveSettings = ArchiveSettings()
    background: bool = Field(
        default=True, description="Whether a background thread rolls, merges and sweeps; without it only `roll()` does."
    )
