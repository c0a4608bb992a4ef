"""One UDF for all functions over JSON values: ``k_call(name, arguments)`` with the arguments as a JSON array.

Series and shapes are few and large, so that a call by name costs nothing beside the work.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache
from typing import Any

from tocsin.kql.functions.model import Udf
from tocsin.kql.functions.python.define import each
from tocsin.kql.functions.python.digest import DIGESTS
from tocsin.kql.functions.python.json_udfs import dumps
from tocsin.kql.functions.python.series import SERIES
from tocsin.kql.functions.python.series_values import json_real

__all__ = ["UDFS", "find"]

_CALLS: dict[str, Callable[..., Any]] = {**SERIES, **DIGESTS}


@cache
def _geo() -> dict[str, Callable[..., Any]]:
    # The libraries of shapes and cells are loaded when they are first needed.
    from tocsin.kql.functions.python.geo_cells import CELLS
    from tocsin.kql.functions.python.geo_shapes import SHAPES

    return {**SHAPES, **CELLS}


def find(name: str) -> Callable[..., Any]:
    """The Python function of that name; KeyError when there is none."""
    return _geo()[name] if name.startswith("geo_") else _CALLS[name]


def _clean(value: Any) -> Any:
    """Reals as a dynamic holds them: NaN and the infinities are texts."""
    if isinstance(value, float):
        return value if math.isfinite(value) else json_real(value)
    if isinstance(value, list):
        return [_clean(v) for v in value]
    if isinstance(value, dict):
        return {k: _clean(v) for k, v in value.items()}
    return value


def call(name: str, arguments: str) -> str | None:
    """Run the function of that name; None is null, and so is any failure."""
    found = find(name)(*json.loads(arguments))
    return None if found is None else dumps(_clean(found))


def inside(lng: float, lat: float, polygon: str) -> bool:
    """geo_point_in_polygon: the polygon is kept for the next row."""
    import spherely

    from tocsin.kql.functions.python.geo_base import check_point, prepared

    return bool(spherely.intersects(prepared(polygon), spherely.create_point(*check_point(lng, lat))))


UDFS: tuple[Udf, ...] = (
    each("k_call", "VARCHAR VARCHAR", "VARCHAR", call),
    each("k_geo_inside", "DOUBLE DOUBLE VARCHAR", "BOOLEAN", inside),
)
