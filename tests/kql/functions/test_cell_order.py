"""The order of cells: against the H3 library itself, and against what GNU libstdc++ answered."""

from __future__ import annotations

import math
import random

import h3
import pytest

from tocsin.kql.functions.python.cell_order import filled, hash_set_order, room, table_of
from tocsin.kql.functions.python.geo_cells import CELLS
from tocsin.kql.functions.python.geo_shapes import SHAPES

Ring = list[tuple[float, float]]


def _star(rng: random.Random, lat: float, lng: float, size: float) -> Ring:
    turns = sorted(rng.uniform(0, 2 * math.pi) for _ in range(rng.randint(3, 9)))
    reach = [size * rng.uniform(0.5, 1) for _ in turns]
    ring = [
        (lat + r * math.sin(t), lng + r * math.cos(t) / math.cos(math.radians(lat)))
        for t, r in zip(turns, reach, strict=True)
    ]
    return [(y, (x + 180) % 360 - 180) for y, x in ring]


def _shuffled(table: dict[int, int], size: int) -> list[int]:
    """What h3-py makes of the C function's table: each hole at the front takes the last cell."""
    places = [table.get(k, 0) for k in range(size)]
    front, back = 0, size
    while front < back:
        if not places[back - 1]:
            back -= 1
        elif places[front]:
            front += 1
        else:
            places[front] = places[back - 1]
            back -= 1
    return places[:front]


@pytest.mark.parametrize("seed", range(60))
def test_the_table_is_that_of_the_h3_library(seed: int) -> None:
    rng = random.Random(seed)
    resolution = rng.randint(2, 9)
    size = h3.average_hexagon_edge_length(resolution, "km") * rng.uniform(2, 12) / 111
    lat, lng = rng.uniform(-60, 60), rng.choice([180.0, rng.uniform(-170, 170)])
    rings = [_star(rng, lat, lng, size)]
    if seed % 3 == 0:
        rings.append(_star(rng, lat, lng, size / 4))
    given = h3.h3shape_to_cells(h3.LatLngPoly(*rings), resolution)
    table = table_of(rings, resolution, given)
    assert [h3.int_to_str(c) for c in _shuffled(table, room(rings, resolution))] == given
    assert sorted(filled(rings, resolution, given)) == sorted(given)


# What a program compiled with g++ printed: std::unordered_set<std::string> s; s.reserve(n); each inserted in turn; then the set from begin().
@pytest.mark.parametrize(
    ("given", "listed"),
    [
        ("93cf422 c917b 53860886", "c917b 53860886 93cf422"),
        (
            "99b2ac7 7f82909 96dd9de5798121e8 fa462d6e85bda6a3 7873a 9e01b29",
            "7873a fa462d6e85bda6a3 96dd9de5798121e8 7f82909 9e01b29 99b2ac7",
        ),
        (
            "0a9a4d296 948c5a0b1e5bb93e d6311154 f7a 39d f67edf17 e7d6f61188767d84 1a3c1fc2d 5a9fad68",
            "1a3c1fc2d e7d6f61188767d84 5a9fad68 39d f67edf17 f7a d6311154 948c5a0b1e5bb93e 0a9a4d296",
        ),
        (
            "cf286 c48 5ef c6065083 c7165afe 213 841b209b 2ec 9c7f 323bdde2 9fd3 b554 fa805 933",
            "9fd3 323bdde2 b554 9c7f 841b209b fa805 213 c7165afe 933 c6065083 5ef c48 2ec cf286",
        ),
        (
            "f27d9b75 1ae eec48 a4d24 9b6b 2c5 ba590 2b3 5f23 f79c f79b aecc 9ed08 ebcc 42e 928f7 24729415 8075361a 381 54d42",
            "381 8075361a 54d42 24729415 928f7 ebcc 9ed08 f79b aecc f79c 2b3 9b6b 2c5 a4d24 eec48 42e 5f23 1ae ba590 f27d9b75",
        ),
    ],
)
def test_a_set_lists_as_libstdcxx_does(given: str, listed: str) -> None:
    assert hash_set_order(given.split()) == listed.split()


def test_a_text_counts_once() -> None:
    assert hash_set_order(["a", "b", "a"]) == hash_set_order(["a", "b"])
    assert hash_set_order([]) == []


def test_a_sliver_round_the_earth_is_refused_fast() -> None:
    sliver = [[0.0, 0.0], [60.0, 0.0], [120.0, 0.00001], [60.0, 0.00001], [0.0, 0.0]]
    assert CELLS["geo_polygon_to_h3cells"]({"type": "Polygon", "coordinates": [sliver]}, 15) is None


def _square(west: float, south: float, size: float, *more: list[float]) -> dict[str, object]:
    ring = [
        [west, south],
        [west + size, south],
        [west + size, south + size],
        *more,
        [west, south + size],
        [west, south],
    ]
    return {"type": "Polygon", "coordinates": [ring]}


def test_polygons_apart_come_by_their_corners() -> None:
    """The one with fewer corners is joined, and therefore listed, first, whichever was given first."""
    four, five = _square(0, 0, 1), _square(10, 10, 1, [10.5, 11.5])
    for given in ([four, five], [five, four]):
        found = SHAPES["geo_union_polygons_array"](given)
        assert [len(p[0]) - 1 for p in found["coordinates"]] == [4, 5]
