"""Turns: one at a time, whoever has waited longest first."""

from __future__ import annotations

import threading

from tocsin.base.turns import Turns


def test_each_in_turn_and_alone() -> None:
    turns, order, inside = Turns(), list[int](), list[int]()

    def takes(number: int) -> None:
        with turns:
            inside.append(number)
            assert len(inside) == 1
            order.append(number)
            inside.pop()

    threads = [threading.Thread(target=takes, args=(n,)) for n in range(20)]
    with turns:
        for n, thread in enumerate(threads):
            thread.start()
            while len(turns._waiting) <= n:
                pass
    for thread in threads:
        thread.join(60)
    assert order == list(range(20))
    with turns:
        pass


def test_who_asks_again_and_again_lets_others_go_first() -> None:
    turns, done = Turns(), threading.Event()
    rounds_meanwhile: list[int] = []
    rounds = 0

    def other() -> None:
        asked = rounds
        with turns:
            rounds_meanwhile.append(rounds - asked)
        done.set()

    thread = threading.Thread(target=other)
    with turns:
        thread.start()
        while not turns._waiting:
            pass
    while not done.wait(0):
        with turns:
            rounds += 1
    thread.join(60)
    assert rounds_meanwhile == [0]


def test_an_error_inside_gives_it_on() -> None:
    turns = Turns()
    for _ in range(2):
        try:
            with turns:
                raise ValueError
        except ValueError:
            pass
    assert not turns._taken
