"""The order in which the engine lists cells.

The engine keeps cells in a hash set of their texts and lists the set as it lies. The recorded answers (of ``geo_polygon_to_h3cells``,
``geo_h3cell_neighbors`` and ``geo_s2cell_neighbors``) are those of GNU libstdc++'s ``std::unordered_set<std::string>``, filled in the order
in which the H3 and S2 libraries give their cells. Both are rebuilt here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import h3
import h3.api.basic_int as cells

__all__ = ["filled", "hash_set_order", "room", "table_of", "trace_length"]

Ring = Sequence[tuple[float, float]]

_MASK = 2**64 - 1
_MULTIPLIER = 0xC6A4A7935BD1E995
_SEED = 0xC70F6907
# The sizes that the library's sets take: its table of primes, up to more cells than a function gives.
_PRIMES = (
    "2 3 5 7 11 13 17 19 23 29 31 37 41 43 47 53 59 61 67 71 73 79 83 89 97 103 109 113 127 137 139 149 157 167 179 193 199 211 227 241 "
    "257 277 293 313 337 359 383 409 439 467 503 541 577 619 661 709 761 823 887 953 1031 1109 1193 1289 1381 1493 1613 1741 1879 2029 "
    "2179 2357 2549 2753 2971 3209 3469 3739 4027 4349 4703 5087 5503 5953 6427 6949 7517 8123 8783 9497 10273 11113 12011 12983 14033 "
    "15173 16411 17749 19183 20753 22447 24281 26267 28411 30727 33223 35933 38873 42043 45481 49201 53201 57557 62233 67307 72817"
)
_SIZES = tuple(int(size) for size in _PRIMES.split())


def _hash(text: str) -> int:
    """libstdc++'s hash of a string: MurmurHash64A with a seed of its own."""
    data = text.encode()
    whole = len(data) & ~7
    value = _SEED ^ (len(data) * _MULTIPLIER & _MASK)
    for at in range(0, whole, 8):
        word = int.from_bytes(data[at : at + 8], "little") * _MULTIPLIER & _MASK
        value = (value ^ (word ^ word >> 47) * _MULTIPLIER & _MASK) * _MULTIPLIER & _MASK
    if whole < len(data):
        value = (value ^ int.from_bytes(data[whole:], "little")) * _MULTIPLIER & _MASK
    value = (value ^ value >> 47) * _MULTIPLIER & _MASK
    return value ^ value >> 47


def hash_set_order(texts: Sequence[str]) -> list[str]:
    """The texts, each once, as an ``unordered_set`` with room for them all lists them after they were put in in this order.

    The set is one list. A text whose bucket is empty goes to the list's front, another to the front of its bucket.
    """
    texts = list(dict.fromkeys(texts))
    size = next((s for s in _SIZES if s >= len(texts)), _SIZES[-1])
    buckets: dict[int, list[str]] = {}
    for text in texts:
        buckets.setdefault(_hash(text) % size, []).append(text)
    return [text for bucket in reversed(buckets.values()) for text in reversed(bucket)]


def _radius(resolution: int) -> float:
    """Kilometres from the middle of the resolution's first pentagon to its first corner: the H3 library's measure of a cell."""
    pentagon = min(cells.get_pentagons(resolution))
    return float(h3.great_circle_distance(cells.cell_to_latlng(pentagon), cells.cell_to_boundary(pentagon)[0]))


def _steps(ring: Ring, resolution: int) -> list[int]:
    """In how many steps the H3 library walks along each edge of the ring."""
    width = 2 * _radius(resolution)
    ends = [*ring[1:], ring[0]]
    return [max(1, math.ceil(h3.great_circle_distance(a, b) / width)) for a, b in zip(ring, ends, strict=True)]


def trace_length(rings: Sequence[Ring], resolution: int) -> int:
    """How many points the H3 library looks up along the rings (of latitudes and longitudes) to fill them: what that costs."""
    return sum(sum(_steps(ring, resolution)) for ring in rings)


def room(rings: Sequence[Ring], resolution: int) -> int:
    """The places of the table in which the H3 library collects a polygon's cells (its ``maxPolygonToCellsSize``)."""
    lats, lngs = [lat for lat, _ in rings[0]], [lng for _, lng in rings[0]]
    south, north, west, east = min(lats), max(lats), min(lngs), max(lngs)
    if any(abs(a - b) > 180 for a, b in zip(lngs, [*lngs[1:], lngs[0]], strict=True)):
        east = max((x for x in lngs if x < 0), default=-math.inf)
        west = min((x for x in lngs if x > 0), default=math.inf)
    wide, high = abs(east - west), abs(north - south)
    if not (wide and high and math.isfinite(wide)):
        return 0
    diagonal = h3.great_circle_distance((north, east), (south, west))
    area = diagonal**2 / min(3.0, max(wide, high) / min(wide, high))
    estimate = max(1, math.ceil(area / (0.8 * (2.59807621135 * _radius(resolution) ** 2))))
    return int(max(estimate, sum(len(ring) for ring in rings)) + 12)


def filled(rings: Sequence[Ring], resolution: int, members: Sequence[str]) -> list[str]:
    """A polygon's cells in the order in which the H3 library's C function gives them.

    That function walks along the rings, then from each cell found to its neighbours, and puts the cells into a table by their remainder, or
    the next free place; its Python binding shuffles that table.

    Args:
        rings: The outer ring and the holes, of latitudes and longitudes, not closed.
        members: The polygon's cells, in any order.
    """
    table = table_of(rings, resolution, members)
    placed = [h3.int_to_str(table[place]) for place in sorted(table)]
    return placed + sorted(set(members).difference(placed))


def table_of(rings: Sequence[Ring], resolution: int, members: Sequence[str]) -> dict[int, int]:
    """The H3 library's table of a polygon's cells: the cell at each place that is taken."""
    size = room(rings, resolution)
    left = {h3.str_to_int(cell) for cell in members}
    if size < len(left):
        return {}
    search: list[int] = []
    for ring in rings:
        ends = [*ring[1:], ring[0]]
        for start, end, steps in zip(ring, ends, _steps(ring, resolution), strict=True):
            for k in range(steps):
                lat = start[0] * (steps - k) / steps + end[0] * k / steps
                lng = start[1] * (steps - k) / steps + end[1] * k / steps
                search.append(cells.latlng_to_cell(lat, lng, resolution))
    search = list(dict.fromkeys(search))
    table: dict[int, int] = {}
    while search and left:
        found = []
        for near in search:
            for cell in cells.grid_disk(near, 1):
                if cell in left:
                    left.discard(cell)
                    place = cell % size
                    while place in table:
                        place = (place + 1) % size
                    table[place] = cell
                    found.append(cell)
        search = found
    return table
