"""Work in threads: every item once, a few at a time, exceptions in their futures."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srprune.core.parallel import in_order, in_threads


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 30), st.integers(1, 5))
def test_every_item_comes_once_with_its_result(items: int, workers: int) -> None:
    done = [(i, future.result()) for i, future in in_threads(str, range(items), workers)]
    assert sorted(done) == [(i, str(i)) for i in range(items)]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 30), st.integers(1, 5))
def test_results_come_in_the_order_of_the_items(items: int, workers: int) -> None:
    def odd_take_long(i: int) -> str:
        time.sleep(0.001 * (i % 2))
        return str(i)

    done = in_order(odd_take_long, range(items), workers)
    assert [(i, future.result()) for i, future in done] == [(i, str(i)) for i in range(items)]


def test_others_go_on_while_the_first_takes_long() -> None:
    behind = threading.Event()

    def wait_for_the_third(i: int) -> bool:
        if i == 2:
            behind.set()
        return i != 0 or behind.wait(timeout=30)

    assert all(future.result() for _, future in in_order(wait_for_the_third, range(9), 2))


def test_exceptions_come_through_the_futures_and_stop_nothing() -> None:
    def odd_fails(i: int) -> int:
        if i % 2:
            raise ValueError(i)
        return i

    done = dict(in_threads(odd_fails, range(9), 2))
    assert [i for i in sorted(done) if done[i].exception() is None] == [0, 2, 4, 6, 8]
    with pytest.raises(ValueError, match=r"^3$"):
        done[3].result()


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("ordered", [False, True])
def test_items_are_taken_a_few_ahead_of_what_was_given_out(ordered: bool, workers: int) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for i in range(50):
            taken += 1
            yield i

    results = in_order if ordered else in_threads
    for given_out, _ in enumerate(results(abs, items(), workers)):
        assert taken <= given_out + 2 * workers
    assert taken == 50


def test_work_runs_in_that_many_threads() -> None:
    together = threading.Barrier(3)  # opens only when three stand before it

    def meet(_: int) -> str:
        together.wait(timeout=30)
        return threading.current_thread().name

    names = {future.result() for _, future in in_threads(meet, range(6), 3)}
    assert len(names) == 3


@pytest.mark.parametrize("ordered", [False, True])
def test_a_caller_that_stops_cancels_what_waits(ordered: bool) -> None:
    begun: list[int] = []
    release = threading.Event()

    def slow(i: int) -> None:
        begun.append(i)
        if i:
            release.wait(timeout=30)

    others = set(threading.enumerate())  # of libraries that earlier tests have used
    results = (in_order if ordered else in_threads)(slow, range(100), 1)
    next(results)
    assert set(threading.enumerate()) > others
    release.set()
    results.close()
    assert len(begun) <= 3
    assert set(threading.enumerate()) <= others


def test_an_error_of_the_items_comes_out() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("items")

    with pytest.raises(KeyError, match="items"):
        list(in_threads(abs, items(), 2))
