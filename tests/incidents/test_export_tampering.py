"""A proof's file that readers could take for another one is refused, though each hash in it is right."""

from __future__ import annotations

import pytest

from tocsin.incidents.export import FORMAT, ExportError, _sha, to_json, verify


def _file() -> bytes:
    sections = {"incident": {"number": 7, "title": "a?b"}, "log": []}
    head = {"format": FORMAT, "created": "c", "product": "p", "hashes": {n: _sha(v) for n, v in sections.items()}}
    return to_json({**head, "hash": _sha(head), "sections": sections})


def test_an_added_part_is_named() -> None:
    assert verify(_file()).intact
    proof = verify(_file().replace(b',"sections"', b',"verdict":"benign","sections"', 1))
    assert not proof.intact
    assert proof.problems == ("The part 'verdict' was added.",)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'{"created"', b'{"sections":{"incident":{"number":666}},"created"', "'sections' stands twice"),
        (b'"number":7', b'"number":666,"number":7', "'number' stands twice"),
        (b"a?b", b"a\\ud800b", "surrogates"),
        (b'"log":[]', b'"log":' + b"[" * 200_000, "recursion"),
    ],
)
def test_what_readers_would_read_differently_is_refused(old: bytes, new: bytes, said: str) -> None:
    with pytest.raises(ExportError, match=said):
        verify(_file().replace(old, new, 1))
