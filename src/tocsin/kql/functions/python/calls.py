"""One UDF for all functions over JSON values: ``k_call(name, arguments)`` with the arguments as a JSON array.

Series and shapes are few and large, so that a call by name costs nothing beside the work.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from tocsin.kql.functions.model import Udf
from tocsin.kql.functions.python.define import each
from tocsin.kql.functions.python.digest import DIGESTS
from tocsin.kql.functions.python.json_udfs import dumps
from tocsin.kql.functions.python.series import SERIES, json_real

__all__ = ["CALLS", "UDFS"]

CALLS: dict[str, Callable[..., Any]] = {**SERIES, **DIGESTS}


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
    """Run one of `CALLS`; None is null, and so is any failure."""
    found = CALLS[name](*json.loads(arguments))
    return None if found is None else dumps(_clean(found))


UDFS: tuple[Udf, ...] = (each("k_call", "VARCHAR VARCHAR", "VARCHAR", call),)
