"""Times in words, and progress that ends the work."""

from __future__ import annotations

import pytest

from srprune.core.errors import Stopped
from srprune.core.progress import duration, heeding


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (42, "42 s"),
        (100, "2 min"),
        (99 * 60, "99 min"),
        (100 * 60, "1 h 40 min"),
        (19_200, "5 h 20 min"),
        (7199, "2 h 0 min"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_work_that_is_told_to_stop_ends_at_its_next_report_unless_it_is_done() -> None:
    seen: list[tuple[str, int, int, str]] = []
    heed = heeding(lambda: len(seen) > 1, lambda *report: seen.append(report))
    heed("score", 1, 3)
    heed("score", 2, 3, "slow")
    assert seen == [("score", 1, 3, ""), ("score", 2, 3, "slow")]
    heed("score", 3, 3)
    with pytest.raises(Stopped, match=r"^stopped at 'score', 1,001 of 2,000\. The same command"):
        heed("score", 1001, 2000)
    assert len(seen) == 3
