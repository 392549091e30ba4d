"""Doing one thing to many items in a few threads, a few at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[tuple[Item, Future[Result]]]:
    """Yield ``(item, finished future)`` in the order of completion.

    At most ``2 * workers`` items are in flight, so an interrupt or an error of the caller stops
    the work at once and memory stays bounded. Decoders and numpy release the interpreter lock.
    """
    with ThreadPoolExecutor(workers) as pool:
        flying: dict[Future[Result], Item] = {}
        try:
            for item in items:
                flying[pool.submit(work, item)] = item
                if len(flying) >= 2 * workers:
                    for future in wait(flying, return_when=FIRST_COMPLETED).done:
                        yield flying.pop(future), future
            while flying:
                for future in wait(flying, return_when=FIRST_COMPLETED).done:
                    yield flying.pop(future), future
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[tuple[Item, Future[Result]]]:
    """:func:`in_threads`, in the order of the items.

    While one item takes long, threads go on with those behind it, as far as may be in flight.
    """
    with ThreadPoolExecutor(workers) as pool:
        flying: deque[tuple[Item, Future[Result]]] = deque()
        try:
            for item in items:
                flying.append((item, pool.submit(work, item)))
                if len(flying) >= 2 * workers:
                    wait([flying[0][1]])
                    yield flying.popleft()
            while flying:
                wait([flying[0][1]])
                yield flying.popleft()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
