"""Process trees: links by id and start, ids that come back, rows that contradict each other."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.incidents.test_correlate import T0
from tocsin.incidents.processes import Node, build, prune, to_dict


def row(
    pid: int, minute: float, parent: int | None = None, parent_minute: float | None = None, **more: Any
) -> dict[str, Any]:
    return {
        "Host": "WS1", "Pid": pid, "Started": T0 + timedelta(minutes=minute), "File": f"p{pid}.exe", "ParentPid": parent,
        "ParentStarted": None if parent_minute is None else T0 + timedelta(minutes=parent_minute), **more,
    }  # fmt: skip


def find(nodes: list[Node], pid: int, minute: float) -> Node:
    return next(n for n in nodes if n.pid == pid and n.started == T0 + timedelta(minutes=minute))


def test_an_id_that_came_back_is_another_process() -> None:
    nodes = build(
        [
            row(4, 0),
            row(100, 1, 4, 0),
            row(7, 2, 100, 1),
            row(100, 10, 4, 0),
            row(8, 11, 100, 10),
            row(9, 5, 100, None),
            row(10, 12, 100, None),
        ]
    )
    assert find(nodes, 7, 2).parent is find(nodes, 100, 1)
    assert find(nodes, 8, 11).parent is find(nodes, 100, 10)
    assert find(nodes, 9, 5).parent is find(nodes, 100, 1), "without a start: who had the id then"
    assert find(nodes, 10, 12).parent is find(nodes, 100, 10)
    assert (find(nodes, 8, 11).certain, find(nodes, 9, 5).certain) == (True, False)


def test_a_parent_that_nobody_saw_is_a_node_that_says_so() -> None:
    nodes = build(
        [row(7, 2, 100, 1, ParentFile="word.exe"), row(8, 3, 100, 1), row(9, 4, 55, None, ParentFile="cmd.exe")]
    )
    parent = find(nodes, 7, 2).parent
    assert parent is not None
    assert (parent.file, parent.seen, parent.started) == ("word.exe", False, T0 + timedelta(minutes=1))
    other = find(nodes, 9, 4).parent
    assert other is not None
    assert (other.pid, other.started, other.file) == (55, None, "cmd.exe")


def test_another_program_with_the_id_is_no_parent() -> None:
    nodes = build([row(100, 1, File="notepad.exe"), row(9, 4, 100, None, ParentFile="C:\\Windows\\cmd.exe")])
    parent = find(nodes, 9, 4).parent
    assert parent is not None
    assert not parent.seen


def test_one_start_that_sources_tell_in_other_fractions_is_one_process() -> None:
    told = [row(100, 1, 4, 0), row(100, 1.00001, File="P100.EXE"), row(7, 2, 100, 1.000005, ParentFile="p100.exe")]
    nodes = build([*told, row(8, 0.995, 100, None)])
    parent = find(nodes, 100, 1)
    assert len([n for n in nodes if n.pid == 100]) == 1
    assert (find(nodes, 7, 2).parent, find(nodes, 7, 2).certain) == (parent, True)
    assert find(nodes, 8, 0.995).parent is parent, "it was written down a moment before its parent"
    other = build([row(100, 1), row(100, 1.005, File="other.exe"), row(100, 1.1)])
    assert len(other) == 3, "another program, or later, is another process"


def test_hosts_are_apart_and_the_same_process_twice_is_one() -> None:
    nodes = build([row(4, 0), row(7, 2, 4, 0), row(7, 2, 4, 0), row(7, 2, 4, 0, Host="ws2")])
    assert len([n for n in nodes if n.pid == 7]) == 2
    assert find([n for n in nodes if n.host == "ws1"], 7, 2).parent is find(nodes, 4, 0)


def test_what_is_near_the_alerts_stays() -> None:
    rows = [row(1, 0), row(2, 1, 1, 0), row(3, 2, 2, 1), row(4, 3, 3, 2), *(row(100 + n, 1, 1, 0) for n in range(50))]
    nodes = build(rows)
    find(nodes, 3, 2).alerts.append("al")
    roots, left_out = prune(nodes)
    (tree,) = [to_dict(r) for r in roots]
    assert (tree["pid"], left_out) == (1, 0)
    assert [c["pid"] for c in tree["children"]] == [2], "fifty brothers have nothing to do with it"
    assert tree["children"][0]["children"][0]["children"][0]["pid"] == 4
    _, more = prune(build([row(n, n, 1, 0) for n in range(2, 30)]), most=10)
    assert more > 0


_UIDS = st.sampled_from(["", "{A-1}", "{A-2}", "{A-3}", "77"])
_ROWS = st.lists(
    st.builds(
        row,
        st.integers(1, 4),
        st.integers(0, 4),
        st.none() | st.integers(1, 4),
        st.none() | st.integers(0, 4),
    )
    | st.builds(
        lambda uid, minute, parent, pid, parent_pid: sysmon(uid, minute, parent, Pid=pid, ParentPid=parent_pid),
        _UIDS,
        st.integers(0, 4),
        _UIDS,
        st.none() | st.integers(1, 4),
        st.none() | st.integers(1, 4),
    ),
    max_size=25,
)


@given(_ROWS)
def test_whatever_the_rows_say_it_is_a_forest(rows: list[dict[str, Any]]) -> None:
    nodes = build(rows)
    for node in nodes:
        seen, step = set(), node
        while step is not None:
            assert id(step) not in seen
            seen.add(id(step))
            step = step.parent  # type: ignore[assignment]
    roots, _ = prune(nodes)
    shown = sum(count(to_dict(r)) for r in roots)
    assert shown == len(nodes)


def count(tree: dict[str, Any]) -> int:
    return 1 + sum(count(c) for c in tree["children"])


def end(pid: int, minute: float, file: str = "", **more: Any) -> dict[str, Any]:
    return {"Host": "WS1", "Pid": pid, "Ended": T0 + timedelta(minutes=minute), "File": file, **more}


def test_a_process_that_ended_starts_nothing_any_more() -> None:
    nodes = build([row(100, 1), row(7, 3, 100, None), row(8, 9, 100, None, ParentFile="p100.exe")], [end(100, 5)])
    parent = find(nodes, 100, 1)
    assert parent.ended == T0 + timedelta(minutes=5)
    assert find(nodes, 7, 3).parent is parent
    later = find(nodes, 8, 9).parent
    assert later is not None
    assert (later is parent, later.seen, later.started) == (False, False, None), "the id was another's by then"


def test_an_end_is_of_the_process_that_had_the_id() -> None:
    nodes = build(
        [row(100, 1), row(100, 10), row(100, 20)],
        [end(100, 5, "C:\\x\\p100.exe"), end(100, 25), end(100, 4, "other.exe")],
    )
    ended = {n.started: n.ended for n in nodes}
    assert ended == {
        T0 + timedelta(minutes=1): T0 + timedelta(minutes=5),
        T0 + timedelta(minutes=10): None,
        T0 + timedelta(minutes=20): T0 + timedelta(minutes=25),
    }, "another program's end isn't its, and the second's wasn't told"


def test_an_end_that_tells_its_start_is_of_that_process() -> None:
    nodes = build([row(100, 1), row(100, 2)], [end(100, 9, Started=T0 + timedelta(minutes=1))])
    assert find(nodes, 100, 1).ended == T0 + timedelta(minutes=9)
    assert find(nodes, 100, 2).ended is None


def test_two_sources_tell_of_one_end_and_call_the_host_otherwise() -> None:
    rows = [{**row(100, 1), "Host": "ws1.contoso.com"}]
    ends = [{**end(100, 5), "Host": "ws1.contoso.com"}, end(100, 5.001), {**end(100, 3), "Host": "ws1.fabrikam.com"}]
    (node,) = build(rows, ends)
    assert node.ended == T0 + timedelta(minutes=5)
    two = build([*rows, {**row(100, 2), "Host": "ws1.fabrikam.com"}], [end(100, 6)])
    assert [n.ended for n in two] == [None, None], "whose WS1 it is nobody told"


def test_who_was_never_seen_start_may_be_seen_to_end() -> None:
    nodes = build(
        [row(7, 3, 55, None, ParentFile="cmd.exe")],
        [end(55, 2, "cmd.exe"), end(55, 6, "calc.exe"), end(55, 8, "cmd.exe")],
    )
    parent = find(nodes, 7, 3).parent
    assert parent is not None
    assert parent.ended == T0 + timedelta(minutes=8), "not before what it started, and not another program's"
    assert to_dict(parent)["ended"] == "2026-03-01T09:08:00Z"


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 20), st.integers(1, 4)), max_size=14),
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 25)), max_size=14),
)
def test_nobody_starts_anything_after_its_end(starts: list[tuple[int, int, int]], ends: list[tuple[int, int]]) -> None:
    nodes = build(
        [row(p, m, parent, None, File="x", ParentFile="x") for p, m, parent in starts],
        [end(p, m, "x") for p, m in ends],
    )
    for node in nodes:
        if node.ended is not None:
            assert node.started is None or node.started <= node.ended + timedelta(seconds=1)
            assert all(c.started is None or c.started <= node.ended + timedelta(seconds=1) for c in node.children)


def sysmon(uid: str, minute: float, parent: str = "", **more: Any) -> dict[str, Any]:
    """A row whose collector lost the process's own number: it has the unique ids, and its parent's number."""
    return {
        "Host": "WS1",
        "Uid": uid,
        "Started": T0 + timedelta(minutes=minute),
        "File": "cmd.exe",
        "ParentUid": parent,
        **more,
    }


def of(nodes: list[Node], uid: str) -> Node:
    (found,) = [n for n in nodes if n.uid == uid]
    return found


def test_unique_ids_link_with_certainty_where_numbers_are_lost() -> None:
    nodes = build(
        [
            sysmon("{A-1}", 1, "{A-0}", ParentPid=4),
            sysmon("{a-2}", 2, "{A-1}", ParentPid=100),
            sysmon("{A-3}", 3, "{A-2}"),
        ]
    )
    first, second, third = (of(nodes, f"a-{n}") for n in (1, 2, 3))
    assert (second.parent, third.parent, second.certain, third.certain) == (first, second, True, True)
    assert (first.pid, second.pid, third.pid) == (100, None, None), (
        "a child told its parent's number, nobody the others'"
    )
    assert first.parent is not None
    assert (first.parent.pid, first.parent.uid, first.parent.seen, first.certain) == (4, "a-0", False, True)


def test_a_number_that_came_back_doesn_t_mislead_who_has_unique_ids() -> None:
    rows = [
        sysmon("{A-1}", 1, Pid=100),
        sysmon("{A-2}", 10, Pid=100),
        sysmon("{A-3}", 11, "{A-1}", Pid=7, ParentPid=100),
        sysmon("{A-4}", 12, "{A-9}", Pid=8, ParentPid=100),
        sysmon("{A-5}", 13, "{00000000-0000-0000-0000-000000000000}", Pid=9, ParentPid=100),
    ]
    nodes = build(rows, [{"Host": "WS1", "Pid": 100, "Uid": "{A-1}", "Ended": T0 + timedelta(minutes=20)}])
    assert of(nodes, "a-3").parent is of(nodes, "a-1")
    stranger = of(nodes, "a-4").parent
    assert stranger is of(nodes, "a-9"), "it is neither of the two that had the number"
    assert not stranger.seen
    assert (of(nodes, "a-5").parent, of(nodes, "a-5").certain) == (of(nodes, "a-2"), False), (
        "zeros are no id: by number then"
    )
    assert (of(nodes, "a-1").ended, of(nodes, "a-2").ended) == (T0 + timedelta(minutes=20), None), "the end tells whose"


def test_another_source_tells_the_number_of_the_same_process() -> None:
    """4688 has the number and whole seconds, Sysmon the unique id and more of them: one process, and each knows what the other does."""
    event = {**row(100, 1, 4, File="cmd.exe", Command="cmd /c x"), "Account": "CORP\\ann"}
    both = [sysmon("{A-1}", 1.009, "{A-0}", ParentPid=4, Command="cmd /c x", Sha256="ab"), sysmon("{A-2}", 2, "{A-1}")]
    later = row(8, 3, 100)
    for rows in ([event, *both, later], [*both, later, event]):
        nodes = build(rows)
        first = of(nodes, "a-1")
        assert (first.pid, first.account, first.sha256) == (100, "CORP\\ann", "ab")
        assert first.started == T0 + timedelta(minutes=1.009), "the finer clock"
        assert [(c.uid, c.pid) for c in sorted(first.children, key=lambda c: c.uid)] == [("", 8), ("a-2", None)]


def test_two_that_could_be_meant_stay_apart() -> None:
    twins = [sysmon("{A-1}", 1, ParentPid=4), sysmon("{A-2}", 1.002, ParentPid=4)]
    nodes = build([*twins, row(100, 1, 4, File="cmd.exe")])
    assert (of(nodes, "a-1").pid, of(nodes, "a-2").pid) == (None, None)
    assert find(nodes, 100, 1).uid == ""
    others = [
        row(100, 1, 5, File="cmd.exe"),
        row(101, 1, 4, File="other.exe"),
        row(102, 1, 4, File="cmd.exe", Command="cmd /c y"),
        row(103, 1.1, 4, File="cmd.exe"),
    ]
    for other in others:
        assert of(build([sysmon("{A-1}", 1, ParentPid=4, Command="cmd /c x"), other]), "a-1").pid is None, other
