"""What the API needs of rows: dead letters, transforms, erasing, jobs, summaries, tables, the lake, intake."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from starlette.routing import BaseRoute

from tocsin.access import Principal

__all__ = [
    "DeadLettersPort",
    "ErasurePort",
    "IntakePort",
    "JobsPort",
    "LakePort",
    "SummariesPort",
    "TablesPort",
    "TransformsPort",
]

Json = Mapping[str, Any]


class DeadLettersPort(Protocol):
    """Dead letters, in the shapes of `tocsin.api.routes.data`."""

    def page(
        self,
        *,
        limit: int,
        offset: int = 0,
        wanted: Mapping[str, str] | None = None,
        principal: Principal | None = None,
    ) -> Json: ...

    def get(self, letter_id: str, *, principal: Principal | None = None) -> Json: ...

    def replay(
        self,
        *,
        by: Principal,
        ids: Sequence[str] = (),
        wanted: Mapping[str, str] | None = None,
        before: str = "",
        limit: int = 1000,
    ) -> Json: ...


class TransformsPort(Protocol):
    """Ingestion-time transforms, in the shapes of `tocsin.api.routes.transforms`."""

    def list(self) -> Sequence[Json]: ...

    def get(self, transform_id: str) -> Json: ...

    def streams(self) -> Sequence[Json]: ...

    def preview(self, given: Json) -> Json: ...

    def save(self, given: Json, *, by: Principal) -> Json: ...

    def set_enabled(self, transform_id: str, enabled: bool, *, by: Principal) -> Json: ...

    def undo(self, transform_id: str, *, by: Principal) -> Json: ...

    def remove(self, transform_id: str, *, by: Principal) -> None: ...


class ErasurePort(Protocol):
    """Deleting and purging rows (`tocsin.workspace.erasure.Erasure`)."""

    def preview(self, table: str, condition: str, *, by: Principal) -> Any: ...

    def delete(self, table: str, condition: str, *, expected: int, keep_evidence: bool, by: Principal) -> Any: ...

    def purge(self, table: str, condition: str, *, expected: int, keep_evidence: bool, by: Principal) -> int: ...

    def undo(self, deletion: str, *, by: Principal) -> Any: ...

    def deletions(self, *, by: Principal) -> Sequence[Any]: ...


class JobsPort(Protocol):
    """Search jobs and restores (`tocsin.workspace.jobs.Jobs`)."""

    def estimate(self, kind: str, text: str, start: datetime, end: datetime, *, by: Principal) -> Any: ...

    def search(self, name: str, query: str, start: datetime, end: datetime, *, by: Principal) -> Any: ...

    def restore(
        self, table: str, start: datetime, end: datetime, *, name: str = "", days: float = 7.0, by: Principal
    ) -> Any: ...

    def listed(self, *, by: Principal) -> Sequence[Any]: ...

    def get(self, job_id: str, *, by: Principal) -> Any: ...

    def cancel(self, job_id: str, *, by: Principal) -> Any: ...

    def remove(self, job_id: str, *, by: Principal) -> Any: ...


class SummariesPort(Protocol):
    """Summary rules (`tocsin.workspace.summaries.Summaries`), in the shapes of `tocsin.api.routes.summaries`."""

    def listed(self, *, by: Principal) -> Sequence[Json]: ...

    def get(self, rule_id: str, *, by: Principal) -> Json: ...

    def save(self, raw: Json, *, by: Principal, rule_id: str = "") -> Json: ...

    def attempt(self, raw: Json, *, by: Principal) -> Json: ...

    def set_enabled(self, rule_id: str, enabled: bool, *, by: Principal) -> Json: ...

    def remove(self, rule_id: str, *, by: Principal) -> None: ...

    def rerun(self, rule_id: str, moment: datetime, *, by: Principal) -> Json: ...


class TablesPort(Protocol):
    """Tables as people see and keep them (`tocsin.workspace.tabledesk.TableDesk`), in the shapes of `tocsin.api.routes.tables`."""

    def listed(self, *, by: Principal) -> Sequence[Json]: ...

    def get(self, table: str, *, by: Principal) -> Json: ...

    def preview(self, table: str, given: Json, *, by: Principal) -> Json: ...

    def keep(self, table: str, given: Json, *, expected: int, by: Principal) -> Json: ...

    def reset(self, table: str, *, by: Principal) -> Json: ...


class LakePort(Protocol):
    """The lake's figures."""

    @property
    def settings(self) -> Any:
        """A `tocsin.lake.LakeSettings`."""

    def stats(self) -> Iterable[Any]:
        """One `tocsin.lake.TableStats` a table."""


class IntakePort(Protocol):
    """Receivers: their figures and the raw routes by which rows come in over HTTP."""

    def sources(self) -> Iterable[Json]:
        """One mapping a receiver, in the shape of `tocsin.api.routes.data.Source`."""

    def state(self) -> Json:
        """How intake does, in the shape of `tocsin.api.routes.data.IntakeState`."""

    def routes(self) -> Sequence[BaseRoute]:
        """Starlette routes of the HTTP receivers; they check ingest tokens themselves."""
