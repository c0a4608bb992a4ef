"""What SQL can't say, in Python: functions over Arrow arrays, by topic. Standard library and NumPy only."""

from __future__ import annotations

from tocsin.kql.functions.model import Udf
from tocsin.kql.functions.python import (
    calls,
    geoip,
    hash_udfs,
    json_udfs,
    math_udfs,
    net_udfs,
    parse_udfs,
    patterns,
    text_udfs,
)

__all__ = ["UDFS"]

UDFS: tuple[Udf, ...] = (
    *text_udfs.UDFS,
    *json_udfs.UDFS,
    *net_udfs.UDFS,
    *math_udfs.UDFS,
    *hash_udfs.UDFS,
    *parse_udfs.UDFS,
    *calls.UDFS,
    *geoip.UDFS,
    *patterns.UDFS,
)
