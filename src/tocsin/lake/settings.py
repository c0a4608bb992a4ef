"""Settings of the lake and its engine, documented by the fields themselves.

The composition root reads them from `tocsin.toml` (``[lake]`` and ``[engine]``), the environment and flags.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["MIB", "EngineSettings", "LakeSettings", "RetentionSettings", "TableRetention"]

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
    connections: int = Field(
        default=16, ge=1, description="Queries that may run at the same time; others wait for their turn."
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


class RetentionSettings(BaseModel):
    """How long rows stay."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: int = Field(
        default=90,
        ge=0,
        description="Days that rows stay after they came in; 0 keeps them until the budget is used up.",
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
    background: bool = Field(
        default=True, description="Whether a background thread rolls, merges and sweeps; without it only `roll()` does."
    )
