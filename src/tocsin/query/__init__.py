"""Query: the one door to rows. It authorises, compiles, runs and limits; stored functions and watchlists are part of its catalog."""

from tocsin.lake.engine import Limits, QueryResult, Window
from tocsin.query.catalog import WorkspaceCatalog
from tocsin.query.options import RequestOptions, read_options, read_parameters
from tocsin.query.service import QueryService, QueryStatistics, RunningQuery, check_scopes
from tocsin.query.settings import QuerySettings, RoleLimits, RolesLimits

__all__ = [
    "Limits",
    "QueryResult",
    "QueryService",
    "QuerySettings",
    "QueryStatistics",
    "RequestOptions",
    "RoleLimits",
    "RolesLimits",
    "RunningQuery",
    "Window",
    "WorkspaceCatalog",
    "check_scopes",
    "read_options",
    "read_parameters",
]
