"""Incidents: alerts that belong together become one incident with a priority, a story and a life."""

from tocsin.incidents.changes import IncidentChange
from tocsin.incidents.correlate import Correlator
from tocsin.incidents.model import Incident, LinkedAlert, Reason, Status, spaced
from tocsin.incidents.priority import priority
from tocsin.incidents.story import Step, graph, story
from tocsin.incidents.view import incident_summary, incident_view
from tocsin.incidents.weights import CorrelationSettings

__all__ = [
    "CorrelationSettings",
    "Correlator",
    "Incident",
    "IncidentChange",
    "LinkedAlert",
    "Reason",
    "Status",
    "Step",
    "graph",
    "incident_summary",
    "incident_view",
    "priority",
    "spaced",
    "story",
]
