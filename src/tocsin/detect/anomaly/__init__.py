"""Anomalies: robust baselines per entity and peer group over KQL features."""

from tocsin.detect.anomaly.baseline import Spread, rarity, score_of, spread_of
from tocsin.detect.anomaly.evaluate import Evaluation, Readiness, evaluate
from tocsin.detect.anomaly.model import Anomaly, Ready, Term, Volume, anomalies_of
from tocsin.detect.anomaly.past import Past, run_past
from tocsin.detect.anomaly.readiness import readiness_of

__all__ = [
    "Anomaly",
    "Evaluation",
    "Past",
    "Readiness",
    "Ready",
    "Spread",
    "Term",
    "Volume",
    "anomalies_of",
    "evaluate",
    "rarity",
    "readiness_of",
    "run_past",
    "score_of",
    "spread_of",
]
