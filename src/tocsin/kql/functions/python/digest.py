"""The states of tdigest: the values in order, each with its weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["DIGESTS"]


def _state(pairs: dict[float, float]) -> dict[str, Any] | None:
    if not pairs:
        return None
    ordered = sorted(pairs)
    return {"values": ordered, "weights": [pairs[v] for v in ordered]}


def _tdigest(values: Any, weights: Any) -> dict[str, Any] | None:
    pairs: dict[float, float] = {}
    for value, weight in zip(values or [], weights or [], strict=True):
        if isinstance(value, (int, float)) and isinstance(weight, (int, float)) and weight > 0:
            pairs[value] = pairs.get(value, 0.0) + weight
    return _state(pairs)


def _merge(*states: Any) -> dict[str, Any] | None:
    pairs: dict[float, float] = {}
    for state in states:
        if isinstance(state, dict):
            for value, weight in zip(state["values"], state["weights"], strict=True):
                pairs[value] = pairs.get(value, 0.0) + weight
    return _state(pairs)


def _percentile(state: Any, percentile: Any) -> Any:
    if not isinstance(state, dict) or percentile is None:
        return None
    wanted = percentile / 100 * sum(state["weights"])
    seen, found = 0.0, None
    for value, weight in zip(state["values"], state["weights"], strict=True):
        seen += weight
        found = value
        if seen >= wanted - 1e-9 * wanted:
            break
    return found


def _percentiles(state: Any, *percentiles: Any) -> list[Any] | None:
    if not isinstance(state, dict):
        return None
    wanted: list[Any] = []
    for p in percentiles:
        wanted.extend(p if isinstance(p, list) else [p])
    return [_percentile(state, p) for p in wanted]


def _rank(state: Any, value: Any) -> float | None:
    if not isinstance(state, dict) or not isinstance(value, (int, float)):
        return None
    return float(sum(w for v, w in zip(state["values"], state["weights"], strict=True) if v <= value))


def _percentrank(state: Any, value: Any) -> float | None:
    rank = _rank(state, value)
    return None if rank is None else rank / sum(state["weights"]) * 100


DIGESTS: dict[str, Callable[..., Any]] = {
    "tdigest": _tdigest,
    "merge_tdigest": _merge,
    "percentile_tdigest": _percentile,
    "percentiles_array_tdigest": _percentiles,
    "rank_tdigest": _rank,
    "percentrank_tdigest": _percentrank,
}
