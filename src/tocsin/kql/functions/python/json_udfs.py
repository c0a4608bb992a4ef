"""Bags: changes deep inside one, merges of many, schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from tocsin.kql.functions.model import Udf
from tocsin.kql.functions.python.define import each

__all__ = ["UDFS", "dumps"]

_STEP = re.compile(r"\.([^.\[\]]+)|\['((?:[^'\\]|\\.)*)'\]|\[\"((?:[^\"\\]|\\.)*)\"\]|\[(\d+)\]")


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def dumps(value: object) -> str:
    """Compact JSON, as every dynamic is written."""
    return _encode(value)


def steps(path: str) -> list[str | int]:
    """The steps of ``$.a['b'][0]``."""
    found: list[str | int] = []
    at = 1
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            raise ValueError(path)
        name, single, double, index = match.groups()
        found.append(int(index) if index is not None else next(x for x in (name, single, double) if x is not None))
        at = match.end()
    return found


def _child(value: Any, step: str | int) -> Any:
    """One step down, or None."""
    if isinstance(value, list) and isinstance(step, int):
        return value[step] if 0 <= step < len(value) else None
    if isinstance(value, dict) and isinstance(step, str):
        return value.get(step)
    return None


def _inside(value: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        value = _child(value, step)
    return value


def remove_paths(bag: str, keys: str) -> str:
    """bag_remove_keys where some keys are paths."""
    value, listed = json.loads(bag), json.loads(keys)
    for key in listed if isinstance(listed, list) else [listed]:
        if not isinstance(key, str):
            continue
        path = steps(key) if key.startswith("$") else [key]
        holder = _inside(value, path[:-1]) if path else None
        if isinstance(holder, dict) and isinstance(path[-1], str):
            holder.pop(path[-1], None)
    return dumps(value)


def set_path(bag: str, key: str, new: str) -> str | None:
    """bag_set_key with a path; bags on the way are made."""
    value = json.loads(bag)
    path = steps(key)
    holder: Any = value
    for step in path[:-1]:
        if isinstance(step, str) and isinstance(holder, dict):
            holder.setdefault(step, {})
        holder = _child(holder, step)
    last = path[-1]
    if isinstance(last, int):
        if not (isinstance(holder, list) and last < len(holder)):
            return None
    elif not isinstance(holder, dict):
        return None
    holder[last] = json.loads(new)
    return dumps(value)


def treepath(bag: str) -> str | None:
    """All paths of a bag, depth first."""
    value = json.loads(bag)
    if not isinstance(value, (dict, list)):
        return None
    found: list[str] = []

    def walk(inside: Any, prefix: str) -> None:
        if isinstance(inside, dict):
            for key, item in inside.items():
                here = f"{prefix}['{key}']"
                found.append(here)
                walk(item, here)
        elif isinstance(inside, list):
            for here in dict.fromkeys([f"{prefix}[0]"] if inside else []):
                found.append(here)
                walk(inside[0], here)

    walk(value, "")
    return dumps(found)


def merge_bags(bags: list[str]) -> str:
    """make_bag: of equal keys the first counts."""
    merged: dict[str, Any] = {}
    for bag in bags:
        value = json.loads(bag) if bag else None
        if isinstance(value, dict):
            for key, item in value.items():
                merged.setdefault(key, item)
    return dumps(merged)


def _schema(value: Any) -> Any:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "long"
    if isinstance(value, float):
        return "double"
    if isinstance(value, str):
        return "string"
    if isinstance(value, dict):
        return {key: _schema(item) for key, item in value.items()}
    if isinstance(value, list):
        inner: Any = None
        for item in value:
            inner = _either(inner, _schema(item))
        return {"`indexer`": inner if inner is not None else "null"}
    return None


def _either(a: Any, b: Any) -> Any:
    """The schema that admits both."""
    if a is None or a == b:
        return b
    if b is None:
        return a
    if isinstance(a, dict) and isinstance(b, dict):
        return {key: _either(a.get(key), b.get(key)) for key in dict.fromkeys([*a, *b])}
    if {str(a), str(b)} == {"long", "double"}:
        return "double"
    options: list[Any] = []
    for option in (*(a if isinstance(a, list) else [a]), *(b if isinstance(b, list) else [b])):
        if isinstance(option, dict):
            bags = [o for o in options if isinstance(o, dict)]
            if bags:
                options[options.index(bags[0])] = _either(bags[0], option)
                continue
        if option not in options:
            options.append(option)
    return options


def build_schema(values: list[str | None]) -> str:
    """buildschema."""
    schema: Any = None
    for value in values:
        if value is not None:
            schema = _either(schema, _schema(json.loads(value)))
    return dumps(schema if schema is not None else {})


UDFS: tuple[Udf, ...] = (
    each("k_bag_remove_text", "VARCHAR VARCHAR", "VARCHAR", remove_paths),
    each("k_bag_set_text", "VARCHAR VARCHAR VARCHAR", "VARCHAR", set_path),
    each("k_treepath_text", "VARCHAR", "VARCHAR", treepath),
    each("k_merge_bags", "VARCHAR[]", "VARCHAR", merge_bags),
    each("k_buildschema", "VARCHAR[]", "VARCHAR", build_schema),
)
