"""Cells: geohash, H3 and S2."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import h3
import numpy as np
import spherely

from tocsin.kql.functions.python.cell_order import filled, hash_set_order, trace_length
from tocsin.kql.functions.python.geo_base import (
    EARTH_RADIUS,
    Vector,
    check_point,
    geography,
    lines_of,
    polygon_geography,
    polygons_of,
    to_point,
    to_vector,
    unit,
)

__all__ = ["CELLS"]

# ---------------------------------------------------------------------------------------------- geohash

_ALPHABET = "0123456789bcdefghjkmnpqrstuvwxyz"


def _geohash(lng: Any, lat: Any, accuracy: Any = 5) -> str | None:
    if accuracy is None or not 1 <= accuracy <= 18:
        return None
    lng, lat = check_point(lng, lat)
    west, east, south, north = -180.0, 180.0, -90.0, 90.0
    text, bits, even = "", 0, True
    for step in range(1, int(accuracy) * 5 + 1):
        if even:
            middle = (west + east) / 2
            high = lng >= middle
            west, east = (middle, east) if high else (west, middle)
        else:
            middle = (south + north) / 2
            high = lat >= middle
            south, north = (middle, north) if high else (south, middle)
        bits, even = bits << 1 | high, not even
        if step % 5 == 0:
            text, bits = text + _ALPHABET[bits], 0
    return text


def _geohash_box(text: str) -> tuple[float, float, float, float]:
    """West, south, east, north."""
    if not text or len(text) > 18:
        raise ValueError("not a geohash")
    west, east, south, north = -180.0, 180.0, -90.0, 90.0
    even = True
    for char in text.lower():
        value = _ALPHABET.index(char)
        for bit in (16, 8, 4, 2, 1):
            if even:
                middle = (west + east) / 2
                west, east = (middle, east) if value & bit else (west, middle)
            else:
                middle = (south + north) / 2
                south, north = (middle, north) if value & bit else (south, middle)
            even = not even
    return west, south, east, north


def _geohash_point(text: str) -> dict[str, Any]:
    west, south, east, north = _geohash_box(text)
    return {"type": "Point", "coordinates": [(west + east) / 2, (south + north) / 2]}


def _geohash_polygon(text: str) -> dict[str, Any]:
    west, south, east, north = _geohash_box(text)
    return {
        "type": "Polygon",
        "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]],
    }


def _geohash_neighbors(text: str) -> list[str]:
    west, south, east, north = _geohash_box(text)
    width, height = east - west, north - south
    lng, lat = (west + east) / 2, (south + north) / 2
    found = []
    for dx, dy in ((-1, 0), (-1, -1), (0, -1), (1, -1), (1, 1), (1, 0), (0, 1), (-1, 1)):
        y = lat + dy * height
        if -90 <= y <= 90:
            x = (lng + dx * width + 180) % 360 - 180
            found.append(str(_geohash(x, y, len(text))))
    return found


# ---------------------------------------------------------------------------------------------- H3


def _h3(lng: Any, lat: Any, resolution: Any = 6) -> str | None:
    if resolution is None or not 0 <= resolution <= 15:
        return None
    lng, lat = check_point(lng, lat)
    return str(h3.latlng_to_cell(lat, lng, int(resolution)))


def _h3_cell(text: Any) -> str:
    if not isinstance(text, str) or not h3.is_valid_cell(text):
        raise ValueError("not an H3 cell")
    return text


def _h3_point(text: str) -> dict[str, Any]:
    lat, lng = h3.cell_to_latlng(_h3_cell(text))
    return {"type": "Point", "coordinates": [lng, lat]}


def _h3_polygon(text: str) -> dict[str, Any]:
    ring = [[lng, lat] for lat, lng in h3.cell_to_boundary(_h3_cell(text))]
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def _h3_level(text: str) -> int:
    return int(h3.get_resolution(_h3_cell(text)))


def _h3_parent(text: str, resolution: Any = None) -> str | None:
    level = _h3_level(text)
    wanted = level - 1 if resolution is None else int(resolution)
    return str(h3.cell_to_parent(text, wanted)) if 0 <= wanted < level else None


def _h3_children(text: str, resolution: Any = None) -> list[str] | None:
    level = _h3_level(text)
    wanted = level + 1 if resolution is None else int(resolution)
    if not level < wanted <= min(15, level + 5):
        return None
    return list(h3.cell_to_children(text, wanted))


def _h3_neighbors(text: str) -> list[str]:
    return hash_set_order([cell for cell in h3.grid_disk(_h3_cell(text), 1) if cell != text])


def _h3_rings(text: str, distance: Any) -> list[list[str]] | None:
    if distance is None or not 0 <= distance <= 142:
        return None
    rings: list[list[str]] = [[] for _ in range(int(distance) + 1)]
    for cell in h3.grid_disk(_h3_cell(text), int(distance)):
        rings[h3.grid_distance(text, cell)].append(cell)
    return rings


_MOST_CELLS = 65536
# Of a polygon's border, in cells: a thin sliver around the earth has few cells but would be walked along for minutes.
_LONGEST = 1 << 20


def _polygon_h3(shape: Any, resolution: Any = 6, radius: Any = None) -> list[str] | None:
    if resolution is None or not 0 <= resolution <= 15:
        return None
    if radius:
        from tocsin.kql.functions.python.geo_shapes import polygon_buffer

        shape = polygon_buffer(shape, radius)
    found: dict[str, None] = {}
    for rings in polygons_of(shape):
        polygon_geography(rings)
        area = float(spherely.area(polygon_geography(rings), radius=EARTH_RADIUS))
        if area / float(h3.average_hexagon_area(int(resolution), "m^2")) > _MOST_CELLS * 2:
            return None
        loops = [[(lat, lng) for lng, lat in ring[:-1]] for ring in rings]
        if trace_length(loops, int(resolution)) > _LONGEST:
            return None
        members = h3.h3shape_to_cells(h3.LatLngPoly(*loops), int(resolution))
        found.update(dict.fromkeys(filled(loops, int(resolution), members)))
        if len(found) > _MOST_CELLS:
            return None
    return hash_set_order(list(found))


# ---------------------------------------------------------------------------------------------- S2

_LEVELS = 30
_SIZE = 1 << _LEVELS
_POSITION_TO_IJ = ((0, 1, 3, 2), (0, 2, 3, 1), (3, 2, 0, 1), (3, 1, 0, 2))
_POSITION_TO_ORIENTATION = (1, 0, 0, 3)
_IJ_TO_POSITION = tuple(tuple(row.index(ij) for ij in range(4)) for row in _POSITION_TO_IJ)


def _uv_to_st(u: float) -> float:
    return 0.5 * math.sqrt(1 + 3 * u) if u >= 0 else 1 - 0.5 * math.sqrt(1 - 3 * u)


def _st_to_uv(s: float) -> float:
    return (1 / 3) * (4 * s * s - 1) if s >= 0.5 else (1 / 3) * (1 - 4 * (1 - s) * (1 - s))


def _face_uv(v: Vector) -> tuple[int, float, float]:
    axis = max(range(3), key=lambda i: abs(v[i]))
    face = axis if v[axis] > 0 else axis + 3
    x, y, z = v
    u, w = (
        (y / x, z / x),
        (-x / y, z / y),
        (-x / z, -y / z),
        (z / x, y / x),
        (z / y, -x / y),
        (-y / z, -x / z),
    )[face]
    return face, u, w


def _face_vector(face: int, u: float, v: float) -> Vector:
    return unit(((1.0, u, v), (-u, 1.0, v), (-u, -v, 1.0), (-1.0, -v, -u), (v, -1.0, -u), (v, u, -1.0))[face])


def _from_face_ij(face: int, i: int, j: int) -> int:
    """The leaf cell at that place of the face, along the Hilbert curve."""
    position, orientation = 0, face & 1
    for level in range(_LEVELS - 1, -1, -1):
        ij = (i >> level & 1) << 1 | (j >> level & 1)
        place = _IJ_TO_POSITION[orientation][ij]
        position = position << 2 | place
        orientation ^= _POSITION_TO_ORIENTATION[place]
    return (face << 61) | (position << 1) | 1


def _to_face_ij(cell: int) -> tuple[int, int, int, int]:
    """Face, i and j of the cell's lower corner, and its level."""
    low = cell & -cell
    level = _LEVELS - (low.bit_length() - 1) // 2
    face, orientation = cell >> 61, cell >> 61 & 1
    i = j = 0
    for step in range(level):
        place = cell >> (2 * (_LEVELS - 1 - step) + 1) & 3
        ij = _POSITION_TO_IJ[orientation][place]
        i, j = i << 1 | ij >> 1, j << 1 | ij & 1
        orientation ^= _POSITION_TO_ORIENTATION[place]
    return face, i << (_LEVELS - level), j << (_LEVELS - level), level


def _ij(s: float) -> int:
    return max(0, min(_SIZE - 1, math.floor(s * _SIZE)))


def _leaf(v: Vector) -> int:
    face, u, w = _face_uv(v)
    return _from_face_ij(face, _ij(_uv_to_st(u)), _ij(_uv_to_st(w)))


def _parent(cell: int, level: int) -> int:
    low = 1 << 2 * (_LEVELS - level)
    return cell & -low | low


def _token(cell: int) -> str:
    return f"{cell:016x}".rstrip("0")


def _cell(token: Any) -> int:
    if not isinstance(token, str) or not 0 < len(token) <= 16:
        raise ValueError("not an S2 cell")
    cell = int(token.ljust(16, "0"), 16)
    low = cell & -cell
    if cell >> 61 > 5 or not low & 0x1555555555555555:
        raise ValueError("not an S2 cell")
    return cell


def _corners(cell: int) -> list[Vector]:
    face, i, j, level = _to_face_ij(cell)
    size = 1 << (_LEVELS - level)
    u0, u1 = _st_to_uv(i / _SIZE), _st_to_uv((i + size) / _SIZE)
    v0, v1 = _st_to_uv(j / _SIZE), _st_to_uv((j + size) / _SIZE)
    return [_face_vector(face, u, v) for u, v in ((u0, v0), (u1, v0), (u1, v1), (u0, v1))]


def _s2(lng: Any, lat: Any, level: Any = 11) -> str | None:
    if level is None or not 0 <= level <= _LEVELS:
        return None
    return _token(_parent(_leaf(to_vector(check_point(lng, lat))), int(level)))


def _s2_point(token: str) -> dict[str, Any]:
    face, i, j, level = _to_face_ij(_cell(token))
    half = 1 << (_LEVELS - level)
    s, t = (2 * i + half) / (2 * _SIZE), (2 * j + half) / (2 * _SIZE)
    return {"type": "Point", "coordinates": to_point(_face_vector(face, _st_to_uv(s), _st_to_uv(t)))}


def _s2_polygon(token: str) -> dict[str, Any]:
    ring = [to_point(v) for v in _corners(_cell(token))]
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def _at(face: int, i: int, j: int, level: int) -> int:
    """The cell at that place, which may lie beyond the face's edge."""
    if 0 <= i < _SIZE and 0 <= j < _SIZE:
        return _parent(_from_face_ij(face, i, j), level)
    i, j = max(-1, min(_SIZE, i)), max(-1, min(_SIZE, j))
    limit = 1 + 2.220446049250313e-16
    u = max(-limit, min(limit, (2 * (i - _SIZE // 2) + 1) / _SIZE))
    v = max(-limit, min(limit, (2 * (j - _SIZE // 2) + 1) / _SIZE))
    other, x, y = _face_uv(_face_vector(face, u, v))
    return _parent(_from_face_ij(other, _ij(0.5 * (x + 1)), _ij(0.5 * (y + 1))), level)


def _s2_neighbors(token: str) -> list[str]:
    face, i, j, level = _to_face_ij(_cell(token))
    if level == 0:
        return [_token(_parent((f << 61) | 1 << 60, 0)) for f in range(6) if f not in (face, (face + 3) % 6)]
    size = 1 << (_LEVELS - level)
    # In the order of the S2 library's AppendAllNeighbors().
    around = ((-1, -1), (1, -1), (0, -1), (0, 1), (-1, 0), (1, 0), (-1, 1), (1, 1))
    return hash_set_order([_token(_at(face, i + dx * size, j + dy * size, level)) for dx, dy in around])


def _covering(shape: Any, level: Any, radius: Any, what: Any) -> list[str] | None:
    """The cells of one level that touch the shape or come within `radius` metres of it."""
    if level is None or not 0 <= level <= _LEVELS or (radius is not None and radius < 0):
        return None
    what(shape)
    target = geography(shape)
    spherely.prepare(target)
    if _least_cells(target, int(level), float(radius or 0)) > _MOST_CELLS:
        return None
    cells = [(f << 61) | 1 << 60 for f in range(6)]
    for depth in range(int(level) + 1):
        shapes = np.array([spherely.create_polygon([tuple(to_point(v)) for v in _corners(c)]) for c in cells])
        # Cells that only touch belong to a covering; by distance, because shared borders are not seen as an intersection.
        near = np.asarray(spherely.intersects(shapes, target))
        near = near | (np.asarray(spherely.distance(shapes, target, radius=EARTH_RADIUS)) <= max(radius or 0, 1e-3))
        cells = [c for c, hit in zip(cells, near, strict=True) if hit]
        if len(cells) > _MOST_CELLS:
            return None
        if depth < level:
            quarter = 1 << 2 * (_LEVELS - depth - 1)
            cells = [c + (2 * k - 3) * quarter for c in cells for k in range(4)]
    return [_token(c) for c in sorted(cells)]


def _least_cells(target: Any, level: int, radius: float) -> float:
    """Cells that a covering has at least: refusing by it spares growing millions of them.

    No cell of a level is larger than 1.7 times the mean of its level, or wider than 2.44 radii of the earth at level 0, halved by each level
    (the constants kMaxArea and kMaxDiag of the S2 library's metrics).
    """
    widest = 2.439 * EARTH_RADIUS / (1 << level)
    largest = 2.636 * EARTH_RADIUS**2 / 4**level
    area = max(float(spherely.area(target, radius=EARTH_RADIUS)), min(3.0 * radius**2, EARTH_RADIUS**2))
    length = float(spherely.length(target, radius=EARTH_RADIUS))
    return float(max(area / largest, length / widest))


def _polygon_s2(shape: Any, level: Any = 11, radius: Any = None) -> list[str] | None:
    return _covering(shape, level, radius, lambda s: [polygon_geography(p) for p in polygons_of(s)])


def _line_s2(shape: Any, level: Any = 11, radius: Any = None) -> list[str] | None:
    return _covering(shape, level, radius, lines_of)


CELLS: dict[str, Callable[..., Any]] = {
    "geo_point_to_geohash": _geohash,
    "geo_geohash_to_central_point": _geohash_point,
    "geo_geohash_to_polygon": _geohash_polygon,
    "geo_geohash_neighbors": _geohash_neighbors,
    "geo_point_to_h3cell": _h3,
    "geo_h3cell_to_central_point": _h3_point,
    "geo_h3cell_to_polygon": _h3_polygon,
    "geo_h3cell_level": _h3_level,
    "geo_h3cell_parent": _h3_parent,
    "geo_h3cell_children": _h3_children,
    "geo_h3cell_neighbors": _h3_neighbors,
    "geo_h3cell_rings": _h3_rings,
    "geo_polygon_to_h3cells": _polygon_h3,
    "geo_point_to_s2cell": _s2,
    "geo_s2cell_to_central_point": _s2_point,
    "geo_s2cell_to_polygon": _s2_polygon,
    "geo_s2cell_neighbors": _s2_neighbors,
    "geo_polygon_to_s2cells": _polygon_s2,
    "geo_line_to_s2cells": _line_s2,
}
