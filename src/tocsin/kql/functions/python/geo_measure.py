"""Distances, angles, lengths, areas, nearest points, densification and simplification on the sphere."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import spherely

from tocsin.kql.functions.python.geo_base import (
    EARTH_RADIUS,
    Point,
    Vector,
    angle,
    check_point,
    cross,
    dot,
    from_wkt,
    geography,
    lines_of,
    norm,
    polygon_geography,
    polygons_of,
    to_geojson,
    to_point,
    to_vector,
    unit,
)

__all__ = ["MEASURES"]


def _point_json(vector: Vector) -> dict[str, Any]:
    return {"type": "Point", "coordinates": to_point(vector)}


def _distance(lng1: Any, lat1: Any, lng2: Any, lat2: Any) -> float:
    return angle(to_vector(check_point(lng1, lat1)), to_vector(check_point(lng2, lat2))) * EARTH_RADIUS


def _bearing(a: Point, b: Point) -> float:
    """The direction from a to b, clockwise from north."""
    lng1, lat1, lng2, lat2 = (math.radians(x) for x in (*a, *b))
    y = math.sin(lng2 - lng1) * math.cos(lat2)
    x = math.cos(lat1) * math.sin(lat2) - math.sin(lat1) * math.cos(lat2) * math.cos(lng2 - lng1)
    return math.atan2(y, x)


def _degenerate(a: Point, b: Point) -> bool:
    size = angle(to_vector(a), to_vector(b))
    return size < 1e-15 or size > math.pi - 1e-15


def _azimuth(lng1: Any, lat1: Any, lng2: Any, lat2: Any) -> float | None:
    a, b = check_point(lng1, lat1), check_point(lng2, lat2)
    return None if _degenerate(a, b) else _bearing(a, b) % (2 * math.pi)


def _angle(lng1: Any, lat1: Any, lng2: Any, lat2: Any, lng3: Any, lat3: Any) -> float | None:
    a, b, c = check_point(lng1, lat1), check_point(lng2, lat2), check_point(lng3, lat3)
    if _degenerate(a, b) or _degenerate(b, c):
        return None
    return (_bearing(b, c) - _bearing(b, a)) % (2 * math.pi)


def _nearest(p: Vector, a: Vector, b: Vector) -> Vector:
    """The point of the edge ab that is nearest to p."""
    axis = cross(a, b)
    if norm(axis) == 0:
        return a
    axis = unit(axis)
    foot = (p[0] - axis[0] * dot(p, axis), p[1] - axis[1] * dot(p, axis), p[2] - axis[2] * dot(p, axis))
    if norm(foot) > 0:
        foot = unit(foot)
        if dot(cross(a, foot), axis) >= 0 and dot(cross(foot, b), axis) >= 0:
            return foot
    return a if angle(p, a) <= angle(p, b) else b


def _edges(lines: Iterable[Sequence[Point]]) -> Iterable[tuple[Vector, Vector]]:
    for line in lines:
        vectors = [to_vector(p) for p in line]
        yield from itertools.pairwise(vectors)


def _closest(p: Vector, lines: Iterable[Sequence[Point]]) -> Vector:
    return min((_nearest(p, a, b) for a, b in _edges(lines)), key=lambda q: angle(p, q))


def _rings(shape: Any) -> list[list[Point]]:
    polygons = polygons_of(shape)
    for polygon in polygons:
        polygon_geography(polygon)
    return [ring for polygon in polygons for ring in polygon]


def _closest_on_line(lng: Any, lat: Any, shape: Any) -> dict[str, Any]:
    return _point_json(_closest(to_vector(check_point(lng, lat)), lines_of(shape)))


def _closest_on_polygon(lng: Any, lat: Any, shape: Any) -> dict[str, Any]:
    point = check_point(lng, lat)
    rings = _rings(shape)
    if spherely.intersects(geography(shape), spherely.create_point(*point)):
        return {"type": "Point", "coordinates": list(point)}
    return _point_json(_closest(to_vector(point), rings))


def _distance_to_line(lng: Any, lat: Any, shape: Any) -> float:
    p = to_vector(check_point(lng, lat))
    return angle(p, _closest(p, lines_of(shape))) * EARTH_RADIUS


def _distance_to_polygon(lng: Any, lat: Any, shape: Any) -> float:
    point = check_point(lng, lat)
    rings = _rings(shape)
    if spherely.intersects(geography(shape), spherely.create_point(*point)):
        return 0.0
    p = to_vector(point)
    return angle(p, _closest(p, rings)) * EARTH_RADIUS


def _in_circle(lng: Any, lat: Any, center_lng: Any, center_lat: Any, radius: Any) -> bool | None:
    if radius is None or radius < 0:
        return None
    return bool(_distance(lng, lat, center_lng, center_lat) <= radius)


# ---------------------------------------------------------------------------------------------- lines


def _length(shape: Any) -> float:
    return sum(angle(a, b) for a, b in _edges(lines_of(shape))) * EARTH_RADIUS


def _along(a: Vector, b: Vector, part: float) -> Vector:
    """The point at that part of the edge ab."""
    size = angle(a, b)
    if size == 0:
        return a
    x, y = math.sin((1 - part) * size) / math.sin(size), math.sin(part * size) / math.sin(size)
    return unit((a[0] * x + b[0] * y, a[1] * x + b[1] * y, a[2] * x + b[2] * y))


def _interpolate(shape: Any, fraction: Any) -> dict[str, Any] | None:
    lines = lines_of(shape)
    if fraction is None or not 0 <= fraction <= 1 or len(lines) != 1:
        return None
    edges = list(_edges(lines))
    left = fraction * sum(angle(a, b) for a, b in edges)
    for a, b in edges:
        size = angle(a, b)
        if left <= size:
            return _point_json(_along(a, b, left / size))
        left -= size
    return _point_json(edges[-1][1])


def _locate(shape: Any, lng: Any, lat: Any) -> float | None:
    lines = lines_of(shape)
    p = to_vector(check_point(lng, lat))
    if len(lines) != 1:
        return None
    best, place, passed = math.inf, 0.0, 0.0
    for a, b in _edges(lines):
        q = _nearest(p, a, b)
        size = angle(p, q)
        if size < best:
            best, place = size, passed + angle(a, q)
        passed += angle(a, b)
    return min(1.0, place / passed) if passed else None


def _centroid_line(shape: Any) -> dict[str, Any]:
    lines_of(shape)
    return to_geojson(spherely.centroid(geography(shape)))


# ---------------------------------------------------------------------------------------------- polygons


def _area(shape: Any) -> float:
    _rings(shape)
    return float(spherely.area(geography(shape), radius=EARTH_RADIUS))


def _perimeter(shape: Any) -> float:
    _rings(shape)
    return float(spherely.perimeter(geography(shape), radius=EARTH_RADIUS))


def _centroid_polygon(shape: Any) -> dict[str, Any]:
    _rings(shape)
    return to_geojson(spherely.centroid(geography(shape)))


# ---------------------------------------------------------------------------------------------- densify and simplify

_FRACTION = 0.31215691082248315
"""Where a straight line on the map is farthest from the geodesic, and …"""
_SCALE = 0.8382999256988851
"""… how much of the greatest distance that point shows (S2's edge tessellator)."""


def _planar(a: Point, b: Point, part: float) -> Point:
    return a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part


def _tessellate(a: Point, b: Point, tolerance: float, found: list[list[float]], depth: int = 0) -> None:
    """Points after `a` up to `b` so that geodesics between them follow the straight line on the map."""
    x, y = to_vector(a), to_vector(b)
    error = (
        math.inf
        if dot(x, y) < -1e-14
        else max(angle(_along(x, y, t), to_vector(_planar(a, b, t))) for t in (_FRACTION, 1 - _FRACTION))
    )
    if error <= tolerance or depth > 24:
        found.append(to_point(y))
        return
    middle = _planar(a, b, 0.5)
    _tessellate(a, middle, tolerance, found, depth + 1)
    _tessellate(middle, b, tolerance, found, depth + 1)


def _dense(points: Sequence[Point], tolerance: float) -> list[list[float]]:
    found = [to_point(to_vector(points[0]))]
    for a, b in itertools.pairwise(points):
        _tessellate(a, b, tolerance, found)
    return found


def _tolerance(value: Any, least: float = 0.1) -> float:
    if value is None or not isinstance(value, (int, float)) or value < least:
        raise ValueError("the tolerance is too small")
    return float(value) / EARTH_RADIUS * _SCALE


def _densify_line(shape: Any, tolerance: Any = 10, _crossing: Any = False) -> dict[str, Any]:
    size = _tolerance(tolerance)
    lines: list[Any] = []
    for line in lines_of(shape):
        lines.extend(_split_at_dateline(_dense(line, size)))
    return (
        {"type": "LineString", "coordinates": lines[0]}
        if len(lines) == 1
        else {"type": "MultiLineString", "coordinates": lines}
    )


_DATELINE = 179.999999999999


def _split_at_dateline(points: list[list[float]]) -> list[list[list[float]]]:
    """A line that crosses the 180th meridian as two."""
    parts: list[list[list[float]]] = [[points[0]]]
    for a, b in itertools.pairwise(points):
        if abs(b[0] - a[0]) > 180:
            side = math.copysign(_DATELINE, a[0])
            axis = cross(to_vector(a), to_vector(b))
            # Where the edge's great circle meets the 180th meridian.
            lat = math.degrees(math.atan2(axis[0], abs(axis[2]))) * math.copysign(1.0, axis[2])
            if abs(a[0]) < _DATELINE:
                parts[-1].append([side, lat])
            parts.append([[-side, lat]] if abs(b[0]) < _DATELINE else [])
        parts[-1].append(b)
    return [p for p in parts if len(p) > 1]


def _densify_polygon(shape: Any, tolerance: Any = 10, _crossing: Any = False) -> dict[str, Any]:
    size = _tolerance(tolerance)
    polygons = [[_dense(ring, size) for ring in rings] for rings in polygons_of(shape)]
    for rings in polygons_of(shape):
        polygon_geography(rings)
    return (
        {"type": "Polygon", "coordinates": polygons[0]}
        if len(polygons) == 1
        else {"type": "MultiPolygon", "coordinates": polygons}
    )


def simplified(vectors: list[Vector], limit: float) -> list[int]:
    """The places that Douglas-Peucker keeps."""
    keep = {0, len(vectors) - 1}
    stack = [(0, len(vectors) - 1)]
    while stack:
        first, last = stack.pop()
        worst, place = limit, -1
        for i in range(first + 1, last):
            away = angle(vectors[i], _nearest(vectors[i], vectors[first], vectors[last]))
            if away > worst:
                worst, place = away, i
        if place >= 0:
            keep.add(place)
            stack += [(first, place), (place, last)]
    return sorted(keep)


def _simplify_line(shape: Any, tolerance: Any = 10) -> dict[str, Any] | None:
    limit = _limit(tolerance)
    lines = []
    for line in lines_of(shape):
        vectors = [to_vector(p) for p in line]
        kept = simplified(vectors, limit)
        if max(angle(vectors[0], v) for v in vectors) <= limit:
            continue  # the whole line is within the tolerance of a point
        lines.append([list(line[i]) for i in kept])
    if not lines:
        return None
    return (
        {"type": "LineString", "coordinates": lines[0]}
        if len(lines) == 1
        else {"type": "MultiLineString", "coordinates": lines}
    )


def _limit(tolerance: Any) -> float:
    if tolerance is None or not isinstance(tolerance, (int, float)) or tolerance <= 0:
        raise ValueError("the tolerance must be positive")
    return float(tolerance) / EARTH_RADIUS


def _simplify_ring(ring: list[Point], limit: float) -> list[list[float]] | None:
    vectors = [to_vector(p) for p in ring[:-1]]
    # A ring is cut at two points that are far from one another, so that neither half is closed.
    far = max(range(len(vectors)), key=lambda i: angle(vectors[0], vectors[i]))
    first = simplified(vectors[: far + 1], limit)
    second = [far + i for i in simplified([*vectors[far:], vectors[0]], limit)]
    kept = [*first, *(i for i in second if far < i < len(vectors))]
    if len(kept) < 3:
        return None
    points = [list(ring[i]) for i in kept]
    return [*points, points[0]]


def _simplify_polygon(shape: Any, tolerance: Any = 10) -> dict[str, Any] | None:
    limit = _limit(tolerance)
    _rings(shape)
    polygons = []
    for rings in polygons_of(shape):
        kept = [r for r in (_simplify_ring(ring, limit) for ring in rings) if r is not None]
        outer = _simplify_ring(rings[0], limit)
        if outer is not None and max(angle(to_vector(outer[0]), to_vector(p)) for p in outer) > limit:
            polygons.append(kept)
    if not polygons:
        return None
    found = (
        {"type": "Polygon", "coordinates": polygons[0]}
        if len(polygons) == 1
        else {"type": "MultiPolygon", "coordinates": polygons}
    )
    geography(found)
    return found


MEASURES: dict[str, Callable[..., Any]] = {
    "geo_distance_2points": _distance,
    "geo_azimuth": _azimuth,
    "geo_angle": _angle,
    "geo_closest_point_on_line": _closest_on_line,
    "geo_closest_point_on_polygon": _closest_on_polygon,
    "geo_distance_point_to_line": _distance_to_line,
    "geo_distance_point_to_polygon": _distance_to_polygon,
    "geo_point_in_circle": _in_circle,
    "geo_line_length": _length,
    "geo_line_interpolate_point": _interpolate,
    "geo_line_locate_point": _locate,
    "geo_line_centroid": _centroid_line,
    "geo_line_densify": _densify_line,
    "geo_line_simplify": _simplify_line,
    "geo_polygon_area": _area,
    "geo_polygon_perimeter": _perimeter,
    "geo_polygon_centroid": _centroid_polygon,
    "geo_polygon_densify": _densify_polygon,
    "geo_polygon_simplify": _simplify_polygon,
    "geo_from_wkt": from_wkt,
}
