"""Query: the one door to rows. It authorises, compiles, runs and limits; stored functions and watchlists are part of its catalog."""

from tocsin.lake.engine import Limits, QueryResult, Window
from tocsin.query.catalog import WorkspaceCatalog
from tocsin.query.service import QueryService, QueryStatistics, RunningQuery, check_scopes
from tocsin.query.settings import QuerySettings

__all__ = [
    "Limits",
    "QueryResult",
    "QueryService",
    "QuerySettings",
    "QueryStatistics",
    "RunningQuery",
    "Window",
    "WorkspaceCatalog",
    "check_scopes",
]
