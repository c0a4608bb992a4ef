"""Intersections, unions and buffers of shapes, by the S2 geometry that Kusto uses too."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Sequence
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
    geography,
    lines_of,
    polygon_geography,
    polygons_of,
    to_geojson,
    to_point,
    to_vector,
    unit,
    united,
)
from tocsin.kql.functions.python.geo_measure import MEASURES, simplified

__all__ = ["SHAPES", "polygon_buffer"]

_EMPTY: dict[str, Any] = {"type": "GeometryCollection", "geometries": []}


def _checked_polygon(shape: Any) -> Any:
    for rings in polygons_of(shape):
        polygon_geography(rings)
    return geography(shape)


def _checked_line(shape: Any) -> Any:
    lines_of(shape)
    return geography(shape)


# ---------------------------------------------------------------------------------------------- intersections


def _intersects_polygons(a: Any, b: Any) -> bool:
    x, y = _checked_polygon(a), _checked_polygon(b)
    return bool(spherely.intersects(x, y)) or bool(_shared_corners(a, b))


def _intersects_lines(a: Any, b: Any) -> bool:
    return bool(spherely.intersects(_checked_line(a), _checked_line(b)))


def _intersects_line_polygon(line: Any, polygon: Any) -> bool:
    return bool(spherely.intersects(_checked_line(line), _checked_polygon(polygon)))


def _shared_corners(a: Any, b: Any) -> list[Point]:
    """Corners of one polygon that are corners of the other."""
    mine = dict.fromkeys(p for rings in polygons_of(a) for ring in rings for p in ring)
    others = {p for rings in polygons_of(b) for ring in rings for p in ring}
    return [p for p in mine if p in others]


def _intersection_polygons(a: Any, b: Any) -> dict[str, Any]:
    found = to_geojson(spherely.intersection(_checked_polygon(a), _checked_polygon(b)))
    if found == _EMPTY:
        # Polygons that only touch have a corner or more in common.
        corners = [list(p) for p in _shared_corners(a, b)]
        if len(corners) == 1:
            return {"type": "Point", "coordinates": corners[0]}
        if corners:
            return {"type": "MultiPoint", "coordinates": corners}
    return found


def _intersection_lines(a: Any, b: Any) -> dict[str, Any]:
    return to_geojson(spherely.intersection(_checked_line(a), _checked_line(b)))


def _intersection_line_polygon(line: Any, polygon: Any) -> dict[str, Any]:
    return to_geojson(spherely.intersection(_checked_line(line), _checked_polygon(polygon)))


# ---------------------------------------------------------------------------------------------- unions


def _listed(shapes: Any) -> list[Any]:
    if not isinstance(shapes, list) or not shapes:
        raise ValueError("an array of shapes is needed")
    return shapes


def _union_polygons(shapes: Any) -> dict[str, Any]:
    """The polygons as one, joined in the order of the S2 library's ``S2Polygon::DestructiveUnion``: that decides where its rings begin.

    The two with the fewest corners are joined first. The union counts as many corners as the two had, and comes after those of as many.
    """
    queue = []
    for place, shape in enumerate(_listed(shapes)):
        corners = sum(len(ring) - 1 for rings in polygons_of(shape) for ring in rings)
        queue.append((corners, place, _checked_polygon(shape)))
    heapq.heapify(queue)
    place = len(queue)
    while len(queue) > 1:
        size, _, one = heapq.heappop(queue)
        more, _, other = heapq.heappop(queue)
        heapq.heappush(queue, (size + more, place, spherely.union(one, other)))
        place += 1
    return to_geojson(queue[0][2])


def _starting(found: dict[str, Any], order: Order) -> dict[str, Any]:
    """The polygons of a result, each ring from the corner that was given first, in the engine's order."""
    if found["type"] not in ("Polygon", "MultiPolygon"):
        return found
    polygons = [found["coordinates"]] if found["type"] == "Polygon" else found["coordinates"][::-1]
    turned = [[_turned(ring, order) for ring in rings] for rings in polygons]
    return {"type": found["type"], "coordinates": turned[0] if found["type"] == "Polygon" else turned}


Order = dict[tuple[float, ...], int]
"""When a corner was given."""


def _key(point: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(x, 9) for x in point)


def _note(ring: Sequence[Sequence[float]], order: Order) -> None:
    """Note the corners of a ring in the order in which they come."""
    for corner in ring:
        order.setdefault(_key(corner), len(order))


def _turned(ring: list[list[float]], order: Order) -> list[list[float]]:
    """The ring from the corner that was given first."""
    corners = ring[:-1]
    last = len(order)
    first = min(range(len(corners)), key=lambda i: order.get(_key(corners[i]), last))
    return [*corners[first:], *corners[:first], corners[first]]


def _union_lines(shapes: Any) -> dict[str, Any]:
    """Lines as one: an edge that several share counts once, and edges are joined where exactly two meet."""
    edges: dict[tuple[Point, Point], None] = {}
    for shape in _listed(shapes):
        for line in lines_of(shape):
            for a, b in itertools.pairwise(line):
                if (b, a) not in edges:
                    edges.setdefault((a, b))
    around: dict[Point, list[Point]] = {}
    for a, b in edges:
        around.setdefault(a, []).append(b)
        around.setdefault(b, []).append(a)
    left = dict.fromkeys(frozenset(e) for e in edges)
    lines: list[list[Point]] = []
    starts = [p for p, others in around.items() if len(others) != 2] + list(around)
    for start in starts:
        for following in around[start]:
            if frozenset((start, following)) not in left:
                continue
            line = [start, following]
            del left[frozenset((start, following))]
            while len(around[line[-1]]) == 2:
                nexts = [q for q in around[line[-1]] if frozenset((line[-1], q)) in left]
                if not nexts:
                    break
                del left[frozenset((line[-1], nexts[0]))]
                line.append(nexts[0])
            lines.append(line)
    coordinates = [[to_point(to_vector(p)) for p in line] for line in lines]
    return (
        {"type": "LineString", "coordinates": coordinates[0]}
        if len(lines) == 1
        else {"type": "MultiLineString", "coordinates": coordinates}
    )


# ---------------------------------------------------------------------------------------------- buffers


def _ray(origin: Vector, direction: Vector, size: float) -> Vector:
    """The point at that angle from `origin` towards `direction`, which is at a right angle to it."""
    c, s = math.cos(size), math.sin(size)
    return unit((origin[0] * c + direction[0] * s, origin[1] * c + direction[1] * s, origin[2] * c + direction[2] * s))


def _ortho(a: Vector) -> Vector:
    """S2's choice of a direction at a right angle: where its circles begin."""
    place = (max(range(3), key=lambda i: abs(a[i])) + 2) % 3
    other = [0.012, 0.0053, 0.00457]
    other[place] = 1.0
    return unit(cross(a, (other[0], other[1], other[2])))


def _step(radius: float, tolerance: float) -> float:
    """The angle between corners of a circle so that its edges stay within the tolerance (both are angles)."""
    inner = max(radius - tolerance, radius * 0.01)
    return math.acos(max(-1.0, min(1.0, math.tan(inner) / math.tan(radius)))) * 2


def _circle(center: Vector, radius: float, tolerance: float) -> list[list[float]]:
    count = max(3, math.ceil(2 * math.pi / _step(radius, tolerance)))
    x = _ortho(center)
    y = cross(center, x)
    ring = []
    for i in range(count):
        turn = 2 * math.pi * i / count
        direction = unit(
            (
                x[0] * math.cos(turn) + y[0] * math.sin(turn),
                x[1] * math.cos(turn) + y[1] * math.sin(turn),
                x[2] * math.cos(turn) + y[2] * math.sin(turn),
            )
        )
        ring.append(to_point(_ray(center, direction, radius)))
    return [*ring, ring[0]]


def _sizes(radius: Any, tolerance: Any) -> tuple[float, float]:
    if radius is None or not 0.1 <= radius <= 1e7 or tolerance is None or tolerance < 0.1:
        raise ValueError("radius or tolerance out of range")
    return float(radius) / EARTH_RADIUS, float(tolerance) / EARTH_RADIUS


def _point_buffer(lng: Any, lat: Any, radius: Any, tolerance: Any = 10) -> dict[str, Any]:
    size, slack = _sizes(radius, tolerance)
    return {"type": "Polygon", "coordinates": [_circle(to_vector(check_point(lng, lat)), size, min(slack, size))]}


def _arc(center: Vector, start: Vector, end: Vector, radius: float, step: float) -> list[Vector]:
    """Corners of the arc around `center` from the direction `start` anticlockwise to `end`; both are included."""
    span = math.atan2(dot(cross(start, end), center), dot(start, end)) % (2 * math.pi)
    side = cross(center, start)
    corners = []
    turn = 0.0
    while turn < span - 1e-9:
        c, s = math.cos(turn), math.sin(turn)
        corners.append(
            _ray(
                center,
                unit((start[0] * c + side[0] * s, start[1] * c + side[1] * s, start[2] * c + side[2] * s)),
                radius,
            )
        )
        turn += step
    return [*corners, _ray(center, end, radius)]


def _around(vectors: list[Vector], radius: float, step: float) -> list[list[Vector]]:
    """The buffer to the right of a closed chain of corners: one ring where it only turns left, else pieces whose union it is."""
    count = len(vectors)
    axes = [unit(cross(vectors[i], vectors[(i + 1) % count])) for i in range(count)]
    # The right side of an edge from a to b is away from its axis.
    outward = [(-a[0], -a[1], -a[2]) for a in axes]
    ring: list[Vector] = []
    pieces: list[list[Vector]] = []
    first: list[Vector] = []
    convex = True
    for i, corner in enumerate(vectors):
        before, after = outward[i - 1], outward[i]
        turn = dot(cross(before, after), corner)
        if turn >= -1e-15:
            arc = _arc(corner, before, after, radius, step)
            if not i:
                first = arc[:-1]  # the ring starts where the first edge does
                ring.append(arc[-1])
            else:
                ring.extend(arc)
            pieces.append([corner, *arc])
        else:
            convex = False
        following = vectors[(i + 1) % count]
        pieces.append([corner, _ray(corner, after, radius), _ray(following, after, radius), following])
    return [ring + first] if convex else pieces


def _polygon(vectors: list[Vector]) -> Any:
    corners = [v for i, v in enumerate(vectors) if angle(v, vectors[i - 1]) > 1e-15]
    return spherely.create_polygon([tuple(to_point(v)) for v in corners])


def _left_turning(ring: list[Point]) -> list[Vector]:
    """The corners of a ring so that its inside is on the left."""
    vectors = [to_vector(p) for p in ring[:-1]]
    normal = (0.0, 0.0, 0.0)
    for a, b in zip(vectors, [*vectors[1:], vectors[0]], strict=True):
        c = cross(a, b)
        normal = (normal[0] + c[0], normal[1] + c[1], normal[2] + c[2])
    middle = tuple(sum(v[i] for v in vectors) for i in range(3))
    return vectors if sum(n * m for n, m in zip(normal, middle, strict=True)) >= 0 else vectors[::-1]


def polygon_buffer(shape: Any, radius: Any, tolerance: Any = 10) -> dict[str, Any]:
    """geo_polygon_buffer: everything within the radius of the polygon."""
    size, slack = _sizes(radius, tolerance)
    step = _step(size, min(slack, size))
    parts: list[Any] = []
    order: Order = {}
    for rings in polygons_of(shape):
        parts.append(polygon_geography(rings))
        for number, ring in enumerate(rings):
            vectors = _left_turning(ring)
            if number:  # a hole shrinks: its inside is the outside of the polygon
                vectors = vectors[::-1]
            pieces = _around(vectors, size, step)
            if len(pieces) == 1 and len(rings) == 1:
                parts[-1] = _polygon(pieces[0])
            else:
                parts.extend(_polygon(p) for p in pieces)
            for piece in pieces:
                points = [to_point(v) for v in piece]
                _note([*points, points[0]], order)
    return _starting(to_geojson(united(parts)), order)


def _line_buffer(shape: Any, radius: Any, tolerance: Any = 10) -> dict[str, Any]:
    size, slack = _sizes(radius, tolerance)
    step = _step(size, min(slack, size))
    parts: list[Any] = []
    for line in lines_of(shape):
        vectors = [to_vector(p) for p in line]
        # There and back again: the ends turn by half a circle.
        chain = [*vectors, *vectors[-2:0:-1]]
        parts.extend(_polygon(p) for p in _around(chain, size, step))
    return to_geojson(united(parts))


# ---------------------------------------------------------------------------------------------- many polygons


def _simplify_array(shapes: Any, tolerance: Any = 10) -> list[Any] | None:
    """Polygons made simpler together: borders that two share stay shared, because each chain between junctions is simplified once."""
    if tolerance is None or tolerance <= 0:
        return None
    limit = float(tolerance) / EARTH_RADIUS
    given = [polygons_of(s) for s in _listed(shapes)]
    for polygons in given:
        for rings in polygons:
            polygon_geography(rings)
    neighbours: dict[Point, set[Point]] = {}
    for polygons in given:
        for rings in polygons:
            for ring in rings:
                for a, b in itertools.pairwise(ring):
                    neighbours.setdefault(a, set()).add(b)
                    neighbours.setdefault(b, set()).add(a)
    junctions = {p for p, others in neighbours.items() if len(others) != 2}
    known: dict[tuple[Point, ...], list[Point]] = {}

    def chain(points: list[Point]) -> list[Point]:
        key = tuple(points)
        if key not in known:
            kept = [points[i] for i in simplified([to_vector(p) for p in points], limit)]
            known[key], known[key[::-1]] = kept, kept[::-1]
        return known[key]

    def simpler(ring: list[Point]) -> list[Point]:
        corners = ring[:-1]
        places = [i for i, p in enumerate(corners) if p in junctions]
        if len(places) < 2:
            start = places[0] if places else corners.index(min(corners))
            turned = corners[start:] + corners[:start]
            far = max(range(len(turned)), key=lambda i: angle(to_vector(turned[0]), to_vector(turned[i])))
            return [*chain(turned[: far + 1]), *chain([*turned[far:], turned[0]])[1:]]
        found: list[Point] = []
        for first, last in zip(places, [*places[1:], places[0] + len(corners)], strict=True):
            piece = [corners[i % len(corners)] for i in range(first, last + 1)]
            found.extend(chain(piece)[:-1])
        return [*found, found[0]]

    result = []
    for polygons in given:
        parts = [[[list(p) for p in simpler(ring)] for ring in rings] for rings in polygons]
        shape = (
            {"type": "Polygon", "coordinates": parts[0]}
            if len(parts) == 1
            else {"type": "MultiPolygon", "coordinates": parts}
        )
        geography(shape)
        result.append(shape)
    return result


SHAPES: dict[str, Callable[..., Any]] = {
    **MEASURES,
    "geo_intersects_2polygons": _intersects_polygons,
    "geo_intersects_2lines": _intersects_lines,
    "geo_intersects_line_with_polygon": _intersects_line_polygon,
    "geo_intersection_2polygons": _intersection_polygons,
    "geo_intersection_2lines": _intersection_lines,
    "geo_intersection_line_with_polygon": _intersection_line_polygon,
    "geo_union_polygons_array": _union_polygons,
    "geo_union_lines_array": _union_lines,
    "geo_point_buffer": _point_buffer,
    "geo_polygon_buffer": polygon_buffer,
    "geo_line_buffer": _line_buffer,
    "geo_simplify_polygons_array": _simplify_array,
}
