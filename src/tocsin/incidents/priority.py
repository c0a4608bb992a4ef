"""Priority: one number from 0 to 100 that orders the queue, with the reasons that made it.

Severity says how bad one alert may be; priority says which incident to open first: how far along the kill chain it is, how many
independent rules and products agree, how much it touches. Points are ours (written here, shown on the page), not a learned score.
"""

from __future__ import annotations

from tocsin.incidents.model import Incident, Reason, spaced

__all__ = ["priority"]

_SEVERITY = {"High": 40.0, "Medium": 25.0, "Low": 12.0, "Informational": 4.0}
_LATE = {
    "CredentialAccess": 8.0,
    "LateralMovement": 10.0,
    "Collection": 5.0,
    "CommandAndControl": 6.0,
    "Exfiltration": 14.0,
    "Impact": 16.0,
}
_CRITICAL_TAGS = {"critical asset": 15.0, "critical": 6.0, "ransomware": 12.0}


def priority(incident: Incident) -> tuple[int, tuple[Reason, ...]]:
    """The incident's priority, 0 to 100, and the reasons in falling weight; their weights add up to it before the cap at 100."""
    reasons = [Reason(f"{incident.severity} severity", _SEVERITY[incident.severity])]
    tactics = incident.tactics
    if len(tactics) > 1:
        reasons.append(
            Reason(
                f"{len(tactics)} stages of an attack: {', '.join(spaced(t) for t in tactics)}",
                min(24.0, 6.0 * (len(tactics) - 1)),
            )
        )
    late = max((t for t in tactics if t in _LATE), key=lambda t: _LATE[t], default=None)
    if late:
        reasons.append(Reason(f"has reached {spaced(late)}", _LATE[late]))
    rules = {a.alert.rule_id for a in incident.alerts}
    if len(rules) > 1:
        reasons.append(Reason(f"{len(rules)} different rules agree", min(10.0, 2.0 * (len(rules) - 1))))
    products = {a.alert.product for a in incident.alerts}
    if len(products) > 1:
        reasons.append(Reason(f"seen by {len(products)} products: {', '.join(sorted(products))}", 6.0))
    high = sum(a.alert.severity == "High" for a in incident.alerts)
    if high > 1:
        reasons.append(Reason(f"{high} alerts of High severity", min(8.0, 2.0 * (high - 1))))
    hosts = incident.hosts()
    if len(hosts) > 1:
        reasons.append(Reason(f"{len(hosts)} hosts involved", min(8.0, 3.0 * (len(hosts) - 1))))
    accounts = [e for e in incident.entities() if e.type == "Account"]
    if len(accounts) > 2:
        reasons.append(Reason(f"{len(accounts)} accounts involved", min(6.0, 2.0 * (len(accounts) - 2))))
    tags = {t.lower() for t in incident.tags} | {t.lower() for a in incident.alerts for t in a.alert.tags}
    reasons.extend(Reason(f"tagged {t}", w) for t, w in _CRITICAL_TAGS.items() if t in tags)
    reasons.sort(key=lambda r: -r.weight)
    return min(100, round(sum(r.weight for r in reasons))), tuple(reasons)
