"""Relational state: who may come in, incidents and what people decided, the rule ledger, actions, the audit log.

`State.open(path or URL)` gives transactions (`Unit`) with repositories. No other room knows SQLAlchemy.
"""

from tocsin.state.actions import ActionRow, Actions, HistoryRow
from tocsin.state.aliases import Aliases, AliasRow
from tocsin.state.audit import Audit, AuditRow, Verdict
from tocsin.state.automation import AutomationStore, RunRow
from tocsin.state.database import State, Unit
from tocsin.state.groups import GroupRow, Groups, OwnerType
from tocsin.state.incident_kept import KeptParts
from tocsin.state.incident_log import IncidentLog, LogRow
from tocsin.state.incident_tasks import IncidentTasks, TaskRow
from tocsin.state.incident_writes import IncidentWrites
from tocsin.state.incidents import ActivityRow, EventRow, IncidentChange, IncidentFilter, IncidentRow, Incidents
from tocsin.state.kv import KeyValues
from tocsin.state.repository import ConflictError, NotFoundError, RefusedError
from tocsin.state.rules import LedgerRow, OverrideRow, Rules
from tocsin.state.types import text_of
from tocsin.state.users import SessionRow, Sessions, TokenRow, Tokens, UserRow, Users

__all__ = [
    "ActionRow",
    "Actions",
    "ActivityRow",
    "AliasRow",
    "Aliases",
    "Audit",
    "AuditRow",
    "AutomationStore",
    "ConflictError",
    "EventRow",
    "GroupRow",
    "Groups",
    "HistoryRow",
    "IncidentChange",
    "IncidentFilter",
    "IncidentLog",
    "IncidentRow",
    "IncidentTasks",
    "IncidentWrites",
    "Incidents",
    "KeptParts",
    "KeyValues",
    "LedgerRow",
    "LogRow",
    "NotFoundError",
    "OverrideRow",
    "OwnerType",
    "RefusedError",
    "Rules",
    "RunRow",
    "SessionRow",
    "Sessions",
    "State",
    "TaskRow",
    "TokenRow",
    "Tokens",
    "Unit",
    "UserRow",
    "Users",
    "Verdict",
    "text_of",
]
