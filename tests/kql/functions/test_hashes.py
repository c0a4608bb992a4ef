"""hash over whole columns is the library's hash of each value, nulls aside."""

from __future__ import annotations

import struct

import numpy as np
import pyarrow as pa
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from tocsin.kql.functions.python.hash_udfs import UDFS, hash_words

APPLY = {udf.name: udf.apply for udf in UDFS}


def signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20))
def test_words(numbers: list[int]) -> None:
    found = hash_words(np.array(numbers, np.int64)).tolist()
    assert found == [signed(xxhash.xxh64_intdigest(struct.pack("<q", n))) for n in numbers]


@given(st.lists(st.one_of(st.none(), st.text()), max_size=20))
def test_texts(texts: list[str | None]) -> None:
    found = APPLY["k_xxhash_text"](pa.array(texts, pa.string())).to_pylist()
    assert found == [None if t is None else signed(xxhash.xxh64_intdigest(t.encode())) for t in texts]


def test_reals_and_nulls() -> None:
    found = APPLY["k_xxhash_real"](pa.array([1.5, None], pa.float64())).to_pylist()
    assert found == [signed(xxhash.xxh64_intdigest(struct.pack("<d", 1.5))), None]
