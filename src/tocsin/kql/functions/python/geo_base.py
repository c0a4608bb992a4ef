"""Shapes on the sphere: GeoJSON in and out, points as unit vectors, and what is valid.

Distances are in metres on the sphere that Kusto uses. An edge is a geodesic. What is not valid GeoJSON of the wanted kind raises
`ValueError`, which the callers' wrapper turns to null.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import spherely

__all__ = [
    "EARTH_RADIUS",
    "Point",
    "Vector",
    "angle",
    "cross",
    "dot",
    "geography",
    "lines_of",
    "polygons_of",
    "to_geojson",
    "to_point",
    "to_vector",
    "unit",
    "united",
]

EARTH_RADIUS = 6371010.0
"""Metres."""

Vector = tuple[float, float, float]
Point = tuple[float, float]
"""Longitude and latitude in degrees."""


def to_vector(point: Sequence[float]) -> Vector:
    """The unit vector of a longitude and latitude."""
    lng, lat = math.radians(point[0]), math.radians(point[1])
    return math.cos(lat) * math.cos(lng), math.cos(lat) * math.sin(lng), math.sin(lat)


def to_point(vector: Vector) -> list[float]:
    """Longitude and latitude of a vector."""
    return [
        math.degrees(math.atan2(vector[1], vector[0])),
        math.degrees(math.atan2(vector[2], math.hypot(vector[0], vector[1]))),
    ]


def cross(a: Vector, b: Vector) -> Vector:
    """The cross product."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def dot(a: Vector, b: Vector) -> float:
    """The dot product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def norm(a: Vector) -> float:
    """The length of a vector."""
    return math.sqrt(dot(a, a))


def unit(a: Vector) -> Vector:
    """The vector of length 1 in that direction."""
    size = norm(a)
    if size == 0:
        raise ValueError("no direction")
    return a[0] / size, a[1] / size, a[2] / size


def angle(a: Vector, b: Vector) -> float:
    """The angle between two vectors, exact for small and large ones."""
    return math.atan2(norm(cross(a, b)), dot(a, b))


def check_point(lng: Any, lat: Any) -> Point:
    """A point given by two numbers: -180 to 180 and -90 to 90."""
    if not (isinstance(lng, (int, float)) and isinstance(lat, (int, float))):
        raise TypeError("not a point")
    if not (-180 <= lng <= 180 and -90 <= lat <= 90):
        raise ValueError("out of range")
    return float(lng), float(lat)


def _coordinate(value: Any) -> Point:
    """A position inside a shape; a longitude beyond 180 degrees goes round."""
    lng, lat = float(value[0]), float(value[1])
    if not (math.isfinite(lng) and -90 <= lat <= 90):
        raise ValueError("out of range")
    return lng, lat


def _line(values: Any) -> list[Point]:
    points = [_coordinate(v) for v in values]
    if len(points) < 2:
        raise ValueError("a line needs two points")
    if any(angle(to_vector(a), to_vector(b)) < 1e-15 for a, b in itertools.pairwise(points)):
        raise ValueError("a line repeats a point")
    return points


def _ring(values: Any) -> list[Point]:
    points = _line(values)
    if len(points) < 4 or angle(to_vector(points[0]), to_vector(points[-1])) > 1e-15:
        raise ValueError("a ring needs three points and must be closed")
    return points


def lines_of(shape: Any) -> list[list[Point]]:
    """The lines of a LineString or MultiLineString."""
    kind, values = shape["type"], shape["coordinates"]
    if kind == "LineString":
        return [_line(values)]
    if kind == "MultiLineString" and values:
        return [_line(v) for v in values]
    raise ValueError(f"{kind} is no line")


def polygons_of(shape: Any) -> list[list[list[Point]]]:
    """The polygons of a Polygon or MultiPolygon, each as its rings."""
    kind, values = shape["type"], shape["coordinates"]
    if kind == "Polygon" and values:
        return [[_ring(r) for r in values]]
    if kind == "MultiPolygon" and values:
        return [[_ring(r) for r in polygon] for polygon in values]
    raise ValueError(f"{kind} is no polygon")


def polygon_geography(rings: list[list[Point]]) -> Any:
    """The library's form of a polygon, checked."""
    return spherely.create_polygon(shell=rings[0], holes=rings[1:] or None)


def united(geographies: list[Any]) -> Any:
    """The union of many shapes, two by two, so that each step joins things of like size."""
    while len(geographies) > 1:
        pairs = [geographies[i : i + 2] for i in range(0, len(geographies), 2)]
        geographies = [spherely.union(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return geographies[0]


def geography(shape: Any) -> Any:
    """The library's form of a GeoJSON shape."""
    kind = shape["type"]
    if kind in ("LineString", "MultiLineString"):
        lines = lines_of(shape)
        return spherely.create_linestring(lines[0]) if len(lines) == 1 else spherely.create_multilinestring(lines)
    if kind in ("Polygon", "MultiPolygon"):
        # Polygons that overlap count as their union.
        return united([polygon_geography(p) for p in polygons_of(shape)])
    if kind == "Point":
        return spherely.create_point(*_coordinate(shape["coordinates"]))
    if kind == "MultiPoint":
        return spherely.create_multipoint([_coordinate(v) for v in shape["coordinates"]])
    raise ValueError(f"{kind} can't be used here")


@lru_cache(maxsize=256)
def prepared(text: str) -> Any:
    """The library's form of a polygon's JSON text, kept for the next row."""
    import json

    shape = json.loads(text)
    polygons_of(shape)
    found = geography(shape)
    spherely.prepare(found)
    return found


def to_geojson(found: Any) -> dict[str, Any]:
    """A shape of the library as GeoJSON."""
    return from_wkt(spherely.to_wkt(found, precision=17))


_KINDS = {
    "POINT": "Point",
    "LINESTRING": "LineString",
    "POLYGON": "Polygon",
    "MULTIPOINT": "MultiPoint",
    "MULTILINESTRING": "MultiLineString",
    "MULTIPOLYGON": "MultiPolygon",
}


def from_wkt(text: str) -> dict[str, Any]:
    """A shape in well-known text as GeoJSON."""
    shape, at = _wkt(text, _blank(text, 0))
    if _blank(text, at) != len(text):
        raise ValueError("text after the shape")
    return shape


def _blank(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _wkt(text: str, at: int) -> tuple[dict[str, Any], int]:
    start = at
    while at < len(text) and text[at].isalpha():
        at += 1
    word = text[start:at].upper()
    at = _blank(text, at)
    empty = text[at : at + 5].upper() == "EMPTY"
    if word == "GEOMETRYCOLLECTION":
        shapes: list[Any] = []
        if empty:
            return {"type": "GeometryCollection", "geometries": shapes}, at + 5
        if text[at : at + 1] != "(":
            raise ValueError("expected (")
        while True:
            shape, at = _wkt(text, _blank(text, at + 1))
            shapes.append(shape)
            at = _blank(text, at)
            if text[at : at + 1] == ")":
                return {"type": "GeometryCollection", "geometries": shapes}, at + 1
            if text[at : at + 1] != ",":
                raise ValueError("expected , or )")
    kind = _KINDS.get(word)
    if kind is None:
        raise ValueError(f"{word} is no shape")
    if empty:
        return {"type": "GeometryCollection", "geometries": []}, at + 5
    values, at = _nested(text, at)
    if kind == "Point":
        values = values[0]
    elif kind == "MultiPoint":
        values = [v[0] if isinstance(v[0], list) else v for v in values]
    return {"type": kind, "coordinates": values}, at


def _nested(text: str, at: int) -> tuple[list[Any], int]:
    """Parentheses as lists; a run of numbers is a position."""
    if text[at : at + 1] != "(":
        raise ValueError("expected (")
    found: list[Any] = []
    at = _blank(text, at + 1)
    while True:
        if text[at : at + 1] == "(":
            inner, at = _nested(text, at)
            found.append(inner)
        else:
            end = at
            while end < len(text) and text[end] not in ",()":
                end += 1
            numbers = [float(n) for n in text[at:end].split()]
            if len(numbers) < 2:
                raise ValueError("a position needs two numbers")
            found.append(numbers[:2])
            at = end
        at = _blank(text, at)
        mark = text[at : at + 1]
        at = _blank(text, at + 1)
        if mark == ")":
            return found, at
        if mark != ",":
            raise ValueError("expected , or )")
