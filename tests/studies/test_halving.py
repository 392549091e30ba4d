"""Successive halving: who is tried, who goes on, what it costs, and what follows."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srprune.core.errors import InputError
from srprune.core.findings import Verdict
from srprune.selection import RULES
from srprune.studies.halving import (
    FULL,
    SHARES,
    Candidate,
    candidates,
    choose,
    compare,
    flips,
    rung_steps,
    runs_ahead,
    survivors,
)

DES, ASC, CCS = (RULES.load(name) for name in ("des", "asc", "ccs"))
RATIOS, OFFSETS, SCORES = (0.1, 0.25, 0.5, 0.75), (0.0, 0.05, 0.1), ("mse_x2", "laplacian")
RANDOM_HALF, DES_HALF = Candidate("random", 0.5), Candidate("des", 0.5, 0.0, "mse_x2")


def test_names_are_those_of_core_sets():
    assert FULL.name == "full"
    assert Candidate("random", 0.25).name == "random_r0.25"
    assert Candidate("des", 0.5, 0.05, "mse_x2").name == "des_r0.50_o0.05__mse_x2"


def test_every_combination_is_tried_once_beside_random():
    tried, left_out = candidates([DES], RATIOS, OFFSETS, SCORES)
    assert left_out == []
    assert len(tried) == len(set(tried)) == 4 * (1 + 3 * 2)
    assert [each.rule for each in tried].count("random") == 4
    assert [each.ratio for each in tried] == sorted(each.ratio for each in tried)
    again, _ = candidates([DES, DES], [*RATIOS, 0.5], [*OFFSETS, 0.05], [*SCORES, "mse_x2"])
    assert again == tried


def test_rules_multiply_and_the_random_rule_is_not_tried_twice():
    random = RULES.load("random")
    tried, _ = candidates([DES, ASC, random], [0.5], [0.0], ["mse_x2"])
    assert [each.name for each in tried] == [
        "random_r0.50",
        "des_r0.50__mse_x2",
        "asc_r0.50__mse_x2",
    ]


def test_a_window_that_does_not_fit_is_told():
    tried, left_out = candidates([DES], [0.5, 0.95], [0.0, 0.1], ["mse_x2"])
    assert [each.name for each in left_out] == ["des_r0.95_o0.10__mse_x2"]
    assert len(tried) == 2 + 3


@pytest.mark.parametrize("ratio", [0.0, 1.0, 1.5, -0.1, math.nan])
def test_ratios_out_of_range_are_refused(ratio):
    with pytest.raises(InputError, match=r"--ratio is .* above 0 and below 1"):
        candidates([DES], [0.5, ratio], [0.0], ["mse_x2"])


@pytest.mark.parametrize("offset", [-0.01, 1.0, math.nan])
def test_offsets_out_of_range_are_refused(offset):
    with pytest.raises(InputError, match=r"--offset is .* at least 0 and below 1"):
        candidates([DES], [0.5], [offset], ["mse_x2"])


def test_rungs_are_shares_of_the_steps():
    assert rung_steps(20_000, SHARES) == (2500, 5000, 10_000)
    assert rung_steps(10, [0.3]) == (3,)


@pytest.mark.parametrize("shares", [[], [0.5, 0.25], [0.5, 0.5], [0.0, 0.5], [0.5, 1.0]])
def test_rungs_must_rise_between_nothing_and_all(shares):
    with pytest.raises(InputError, match=r"--rung is .* rise, above 0 and below 1"):
        rung_steps(1000, shares)


@given(st.integers(1, 200), st.lists(st.integers(1, 63), min_size=1, max_size=5, unique=True))
def test_rungs_rise_or_the_steps_are_refused(steps, marks):
    shares = [mark / 64 for mark in sorted(marks)]
    try:
        rungs = rung_steps(steps, shares)
    except InputError as error:
        assert f"--steps is {steps}, too few" in str(error)
        return
    assert list(rungs) == sorted(set(rungs))
    assert 1 <= rungs[0] <= rungs[-1] < steps


def test_five_steps_are_too_few_for_an_eighth():
    with pytest.raises(InputError, match="would have 1, 1, 2 steps"):
        rung_steps(5, SHARES)


figures = st.dictionaries(
    st.builds(
        Candidate,
        st.sampled_from(["des", "asc", "random"]),
        st.sampled_from(RATIOS),
        st.sampled_from(OFFSETS),
        st.sampled_from(SCORES),
    ),
    st.floats(20, 40),
    min_size=1,
)


@given(figures)
def test_the_best_of_every_ratio_goes_on_and_a_third_of_it(psnr):
    kept = survivors(psnr, last=False)
    assert kept == [each for each in psnr if each in kept]  # the order stays
    for ratio in {each.ratio for each in psnr}:
        rivals = {each: value for each, value in psnr.items() if each.ratio == ratio}
        on = [each for each in kept if each.ratio == ratio]
        assert len(on) == max(1, len(rivals) // 3)
        dropped = [value for each, value in rivals.items() if each not in on]
        assert all(psnr[each] >= value for each in on for value in dropped)


@given(figures)
def test_one_of_all_is_left_after_the_last_short_rung(psnr):
    (best,) = survivors(psnr, last=True)
    assert psnr[best] == max(psnr.values())


def test_a_small_core_set_that_starts_fast_does_not_push_out_a_larger_one():
    psnr = {Candidate("des", 0.1, o): 31.0 + o for o in OFFSETS}
    psnr |= {Candidate("des", 0.75, o): 29.0 - o for o in OFFSETS}
    assert survivors(psnr, last=False) == [Candidate("des", 0.1, 0.1), Candidate("des", 0.75)]


def test_the_price_is_known_before():
    tried, _ = candidates([DES], RATIOS, OFFSETS, SCORES)
    rungs = rung_steps(20_000, SHARES)
    ahead = runs_ahead(tried, rungs, 20_000, 3)
    # 28 and full; 7 // 3 of each ratio and full; one of each and full; three runs of three seeds
    assert ahead == [(2500, 29), (5000, 9), (10_000, 5), (20_000, 9)]


@given(figures)
def test_no_search_runs_more_than_its_price(psnr):
    ahead = runs_ahead(list(psnr), (10, 20, 40), 80, 2)
    left = dict(psnr)
    for number, (_, runs) in enumerate(ahead[:-1]):
        assert len(left) + 1 <= runs
        kept = survivors(left, last=number == 2)
        left = {each: psnr[each] for each in kept}
    assert len(left) == 1
    assert ahead[-1] == (80, 6)


def test_pairs_that_change_places_are_found_with_the_leader_first():
    before = {FULL: 30.0, RANDOM_HALF: 30.1, DES_HALF: 30.5, Candidate("asc", 0.5): 29.0}
    after = {FULL: 31.0, RANDOM_HALF: 30.9, DES_HALF: 30.95}
    assert flips(before, after) == [(FULL, RANDOM_HALF), (FULL, DES_HALF)]
    assert flips(before, before) == []


# Half widths of 95% t-intervals over 3 seeds: 4.303 * sd / sqrt(3).
@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ((0.10, 0.11, 0.12), Verdict.BETTER),  # 0.11 +- 0.025
        ((0.00, 0.01, -0.01), Verdict.EQUIVALENT),  # 0 +- 0.025
        ((-0.02, -0.02, -0.021), Verdict.EQUIVALENT),  # surely worse, yet within the margin
        ((-0.10, -0.11, -0.12), Verdict.WORSE),
        ((0.30, 0.00, -0.30), Verdict.UNDECIDED),
        ((0.10, -0.02, 0.04), Verdict.UNDECIDED),  # 0.04 +- 0.15
    ],
)
def test_verdicts_follow_from_the_interval(gains, verdict):
    full: dict[int, float | None] = {1: 30.0, 2: 31.0, 3: 29.5}
    psnr = {seed: value + gain for (seed, value), gain in zip(full.items(), gains, strict=True)}
    compared = compare(psnr, full, 0.05)
    assert compared.verdict is verdict
    assert compared.gain.mean == pytest.approx(sum(gains) / 3)
    assert compared.gain.n == 3
    assert compared.holds == (verdict in (Verdict.BETTER, Verdict.EQUIVALENT))


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=6), st.floats(0.01, 0.5))
def test_a_verdict_never_goes_further_than_its_interval(gains, margin):
    full: dict[int, float | None] = dict.fromkeys(range(len(gains)), 30.0)
    compared = compare({seed: 30.0 + gain for seed, gain in enumerate(gains)}, full, margin)
    assert compared.gain.interval is not None
    low, high = compared.gain.interval
    assert (compared.verdict is Verdict.BETTER) == (low > 0)
    assert compared.holds == (low > -margin)
    assert compared.verdict is not Verdict.WORSE or high < 0


def test_a_run_that_diverged_is_in_no_mean_and_forbids_the_core_set():
    compared = compare({1: 31.0, 2: 31.01, 3: None}, {1: 30.0, 2: 30.0, 3: 30.0}, 0.05)
    assert compared.verdict is Verdict.BETTER
    assert compared.gain.n == 2
    assert compared.diverged == (3,)
    assert not compared.holds
    assert choose({DES_HALF: compared}) == FULL


def test_one_pair_or_none_decides_nothing():
    assert compare({1: 31.0}, {1: 30.0, 2: 30.0}, 0.05).verdict is Verdict.UNDECIDED
    assert compare({1: None}, {1: 30.0}, 0.05).gain.n == 0


def of(*gains: float) -> object:
    return compare(
        {seed: 30.0 + gain for seed, gain in enumerate(gains)},
        dict.fromkeys(range(len(gains)), 30.0),
        0.05,
    )


def test_all_of_it_unless_a_core_set_is_shown_to_be_as_good():
    assert choose({DES_HALF: of(0.3, 0.0, -0.3), RANDOM_HALF: of(-0.1, -0.11, -0.1)}) == FULL
    assert choose({DES_HALF: of(0.1, 0.11, 0.12), RANDOM_HALF: of(0.0, 0.01, 0.0)}) == DES_HALF
    assert choose({DES_HALF: of(-0.1, -0.11, -0.1), RANDOM_HALF: of(0.0, 0.01, 0.0)}) == RANDOM_HALF


def test_better_goes_before_a_higher_mean_that_is_only_equivalent():
    better, vague = of(0.02, 0.021, 0.02), of(0.0, 0.04, 0.05)
    assert (better.verdict, vague.verdict) == (Verdict.BETTER, Verdict.EQUIVALENT)
    assert vague.gain.mean > better.gain.mean
    assert choose({RANDOM_HALF: vague, DES_HALF: better}) == DES_HALF


def test_a_tie_goes_to_random_which_needs_no_scores():
    same = of(0.0, 0.01, 0.0)
    assert choose({DES_HALF: same, RANDOM_HALF: same}) == RANDOM_HALF
