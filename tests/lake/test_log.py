"""The log: group commit, replay, rotation, trimming, torn tails, damage."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import wait
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.base.errors import LakeError
from tocsin.lake import Body, LakeSettings, Log

NOW = datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
SMALL = LakeSettings(log_segment_bytes=4096, log_group_bytes=1024)


def body(number: int, size: int = 20) -> Body:
    return Body("jsonl", f"{number}:".encode() + os.urandom(size), NOW, {"peer": f"10.0.0.{number % 250}"})


def numbers(log: Log, after: int = 0) -> list[int]:
    return [seq for seq, _ in log.replay(after)]


def test_a_resolved_append_survives_and_comes_back_as_it_was(tmp_path: Path) -> None:
    log = Log(tmp_path, LakeSettings())
    bodies = [body(i) for i in range(3)]
    assert log.append(bodies[:2]).result(60) == 2
    assert log.append(bodies[2:]).result(60) == 3
    assert log.append([]).result(60) == 3
    log.close()
    again = Log(tmp_path, LakeSettings())
    assert list(again.replay(0)) == [(1, bodies[0]), (2, bodies[1]), (3, bodies[2])]
    assert numbers(again, 2) == [3]
    assert again.append([body(4)]).result(60) == 4
    again.close()
    with pytest.raises(LakeError, match=r"LAK0014"):
        again.append([body(5)])


def test_many_threads_get_numbers_without_gaps(tmp_path: Path) -> None:
    log = Log(tmp_path, SMALL)
    got: list[tuple[int, int]] = []
    lock = threading.Lock()

    def send(sender: int) -> None:
        futures = [(log.append([body(sender), body(sender)]), 2) for _ in range(50)]
        wait([f for f, _ in futures])
        with lock:
            got.extend((f.result(), n) for f, n in futures)

    threads = [threading.Thread(target=send, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(last for last, _ in got) == list(range(2, 401, 2))
    assert numbers(log) == list(range(1, 401))
    assert log.problems == []
    log.close()


def test_trim_deletes_whole_segments_and_numbers_go_on(tmp_path: Path) -> None:
    log = Log(tmp_path, SMALL)
    for i in range(100):
        log.append([body(i, 200)]).result(60)
    before = len(list(tmp_path.glob("*.log")))
    log.trim(50)
    left = numbers(log)
    assert left[0] <= 51
    assert left[-1] == 100
    assert len(list(tmp_path.glob("*.log"))) < before
    log.trim(100)
    assert list(tmp_path.glob("*.log")) == []
    assert log.append([body(1)]).result(60) == 101
    log.trim(101)
    log.close()
    again = Log(tmp_path, SMALL, floor=101)
    assert again.append([body(1)]).result(60) == 102
    again.close()


def test_torn_tail_is_cut_off_without_a_problem(tmp_path: Path) -> None:
    log = Log(tmp_path, LakeSettings())
    log.append([body(1)]).result(60)
    log.append([body(2)]).result(60)
    log.close()
    (path,) = tmp_path.glob("*.log")
    whole = path.read_bytes()
    log = Log(tmp_path, LakeSettings())
    log.append([body(3, 500)]).result(60)
    log.close()
    *_, second = sorted(tmp_path.glob("*.log"))
    assert second != path
    data = second.read_bytes()
    for cut in (0, 1, 27, 28, 29, len(data) - 1):
        second.write_bytes(data[:cut])
        path.write_bytes(whole)
        again = Log(tmp_path, LakeSettings())
        assert numbers(again) == [1, 2], cut
        assert again.problems == []
        assert again.append([body(3)]).result(60) == 3
        again.close()
        for extra in sorted(tmp_path.glob("*.log"))[1:]:
            extra.unlink()
        second.write_bytes(data)


def test_damage_in_the_middle_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    log = Log(tmp_path, LakeSettings())
    ends = []
    for i in range(1, 6):
        log.append([body(i, 300)]).result(60)
        ends.append(log.size)
    log.close()
    (path,) = tmp_path.glob("*.log")
    data = bytearray(path.read_bytes())
    data[ends[1] + 100] ^= 0xFF
    path.write_bytes(data)
    again = Log(tmp_path, LakeSettings())
    assert numbers(again) == [1, 2, 4, 5]
    assert again.problems
    assert all(p.code == "LAK0015" and str(path) in str(p) for p in again.problems)
    assert f"byte {ends[1]}" in str(again.problems[0])
    assert again.last == 5
    again.close()


def test_truncated_closed_segment_is_named_and_the_next_is_read(tmp_path: Path) -> None:
    log = Log(tmp_path, SMALL)
    for i in range(60):
        log.append([body(i, 200)]).result(60)
    log.close()
    first, second, *_ = sorted(tmp_path.glob("*.log"))
    size = first.stat().st_size
    os.truncate(first, size - 50)
    again = Log(tmp_path, SMALL)
    got = numbers(again)
    start = int(second.stem)
    assert set(range(1, 61)) - set(got) == {start - 1}
    assert any(str(first) in str(p) for p in again.problems)
    again.close()


def test_full_queue_says_later(tmp_path: Path) -> None:
    log = Log(tmp_path, LakeSettings(log_queue_bytes=1000))
    log._files.acquire()  # the disk is slow
    try:
        first = log.append([body(1, 900)])
        while log._waiting:  # until the writer has taken it
            time.sleep(0.01)
        with pytest.raises(LakeError, match=r"LAK0011"):
            log.append([body(2, 900)])
        assert not first.cancel()
    finally:
        log._files.release()
    assert first.result(60) == 1
    log.close()


def test_failed_write_is_not_acknowledged_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(tmp_path, LakeSettings())
    log.append([body(1)]).result(60)

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("tocsin.lake.log.os.fdatasync", full)
        with pytest.raises(LakeError, match=r"LAK0014.*No space"):
            log.append([body(2)]).result(60)
    assert numbers(log) == [1]
    assert log.append([body(3)]).result(60) == 2
    log.close()
    again = Log(tmp_path, LakeSettings())
    assert [b.data[:2] for _, b in again.replay(0)] == [b"1:", b"3:"]
    assert again.problems == []
    again.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400), st.integers(0, 4000), st.integers(0, 5))
def test_any_damage_gives_a_prefix_or_a_problem_and_never_a_wrong_body(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int, pieces: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    log = Log(folder, LakeSettings())
    sent = {}
    for i in range(1, 6):
        one = body(i, 150)
        sent[log.append([one]).result(60)] = one
    log.close()
    (path,) = folder.glob("*.log")
    data = path.read_bytes()
    at = min(at, len(data))
    path.write_bytes(data[:at] + junk + data[at + pieces * 40 :])
    again = Log(folder, LakeSettings())
    got = dict(again.replay(0))
    assert all(sent[number] == one for number, one in got.items())
    next_number = again.append([body(9)]).result(60)
    assert next_number > max(got, default=0)
    again.close()
