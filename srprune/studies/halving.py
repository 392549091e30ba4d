"""Successive halving over core-sets: which are tried, for how long, which go on, what is advised.

Jamieson and Talwalkar 2016 (https://arxiv.org/abs/1502.07943): try many for a short time, keep the
best, give those more time. As in Hyperband (Li et al. 2018, https://arxiv.org/abs/1603.06560) a
third goes on.

One thing differs. Small, hard core-sets learn fast at first, and the full set catches up with more
steps, so a short run says little about the best *ratio*. Offsets, scores and rules therefore
compete with others of their own ratio; ratios compete with each other in the last short rung only,
and the full set is measured in every rung and never dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from srprune.core.errors import InputError
from srprune.core.estimate import Estimate, estimate
from srprune.core.findings import Verdict
from srprune.core.workspace import short
from srprune.selection.rule import Rule

SHARES = (0.125, 0.25, 0.5)  # of the steps, of the short rungs
KEEP = 3  # one in so many goes on
RANDOM = "random"


@dataclass(frozen=True)
class Candidate:
    """What a network may be trained on; the plain one is the full set.

    Attributes:
        rule: that chooses; empty for the full set.
        ratio: share of the patches that is kept.
        offset: share that is skipped.
        scores: name of the score table; empty where the rule needs none.
    """

    rule: str = ""
    ratio: float = 1.0
    offset: float = 0.0
    scores: str = ""

    @property
    def name(self) -> str:
        """``full``, ``random_r0.25`` or ``des_r0.25_o0.05__mse_x2``."""
        if not self.rule:
            return "full"
        window = f"{self.rule}_r{short(self.ratio)}"
        window += f"_o{short(self.offset)}" if self.offset else ""
        return f"{window}__{self.scores}" if self.scores else window


FULL = Candidate()


def candidates(
    rules: Sequence[Rule], ratios: Sequence[float], offsets: Sequence[float], scores: Sequence[str]
) -> tuple[list[Candidate], list[Candidate]]:
    """Every core-set that is tried: a random one of each ratio, and what the rules choose.

    Args:
        rules: beside ``random``.
        ratios: each above 0 and below 1.
        offsets: each at least 0 and below 1.
        scores: names of score tables.

    Returns:
        The candidates in the order of the ratios, and those left out because ratio and offset add
        up to more than 1.

    Raises:
        InputError: a ratio or an offset out of range.
    """
    for ratio in ratios:
        if not 0 < ratio < 1:
            raise InputError(
                f"--ratio is {ratio:g}; it must be above 0 and below 1. The full set is always "
                "tried."
            )
    for offset in offsets:
        if not 0 <= offset < 1:
            raise InputError(f"--offset is {offset:g}; it must be at least 0 and below 1.")
    found = [
        candidate
        for ratio in sorted(set(ratios))
        for candidate in [
            Candidate(RANDOM, ratio),
            *(
                Candidate(rule.name, ratio, offset, table)
                for rule in rules
                for table in (dict.fromkeys(scores) if rule.scores else ("",))
                for offset in (sorted(set(offsets)) if rule.offset else (0.0,))
            ),
        ]
    ]
    found = list(dict.fromkeys(found))
    too_much = [each for each in found if each.ratio + each.offset > 1 + 1e-12]
    return [each for each in found if each not in too_much], too_much


def rung_steps(steps: int, shares: Sequence[float]) -> tuple[int, ...]:
    """Steps of each short rung.

    Args:
        steps: of the real budget.
        shares: of it, rising, each above 0 and below 1.

    Raises:
        InputError: shares that do not rise or are out of range, or steps too few for them.
    """
    if not shares or list(shares) != sorted(set(shares)) or not 0 < shares[0] <= shares[-1] < 1:
        raise InputError(
            f"--rung is {', '.join(f'{share:g}' for share in shares) or 'not given'}; rungs are "
            "shares of the steps that rise, above 0 and below 1."
        )
    rungs = tuple(round(share * steps) for share in shares)
    if rungs[0] < 1 or len({*rungs, steps}) <= len(rungs):
        named = ", ".join(f"{share:g}" for share in shares)
        raise InputError(
            f"--steps is {steps}, too few for rungs of {named} of it, which would have "
            f"{', '.join(map(str, rungs))} steps. Give more steps, or fewer rungs."
        )
    return rungs


def survivors(psnr: Mapping[Candidate, float], *, last: bool) -> list[Candidate]:
    """Which core-sets go on from a short rung, in the order of ``psnr``.

    Args:
        psnr: dB of each core-set that finished, without the full set.
        last: whether it is the last short rung, where one of all goes on.
    """
    if last:
        return [max(psnr, key=lambda each: psnr[each])] if psnr else []
    kept: set[Candidate] = set()
    for ratio in {each.ratio for each in psnr}:
        rivals = [each for each in psnr if each.ratio == ratio]
        best_first = sorted(rivals, key=lambda each: -psnr[each])  # stable: ties keep their order
        kept |= set(best_first[: max(1, len(rivals) // KEEP)])
    return [each for each in psnr if each in kept]


def runs_ahead(
    among: Sequence[Candidate], rungs: Sequence[int], steps: int, num_seeds: int
) -> list[tuple[int, int]]:
    """Steps and number of runs of every rung, at most: the price, before anything is run.

    Args:
        among: the core-sets that are tried.
        rungs: steps of the short rungs.
        steps: of the real budget.
        num_seeds: of the last rung, in which full set, best core-set and its control run.
    """
    ahead, left = [], list(among)
    for number, short_steps in enumerate(rungs):
        ahead.append((short_steps, len(left) + 1))
        left = survivors(dict.fromkeys(left, 0.0), last=number == len(rungs) - 1)
    return [*ahead, (steps, num_seeds * 3)]


def flips(
    before: Mapping[Candidate, float], after: Mapping[Candidate, float]
) -> list[tuple[Candidate, Candidate]]:
    """Pairs that changed places between two rungs; the one that is ahead now comes first."""
    both = [each for each in before if each in after]
    turned = []
    for a, b in combinations(both, 2):
        if (before[a] - before[b]) * (after[a] - after[b]) < 0:
            turned.append((a, b) if after[a] > after[b] else (b, a))
    return turned


@dataclass(frozen=True)
class Comparison:
    """A core-set beside the full set at the real budget, paired by seed.

    Attributes:
        gain: dB over the full set, with its 95% t-interval.
        verdict: better (the interval is above 0), equivalent (it is above minus the margin),
            worse (it is below 0 and reaches below minus the margin), else undecided.
        diverged: seeds whose run lost its way; such a core-set is never advised.
    """

    gain: Estimate
    verdict: Verdict
    diverged: tuple[int, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether it may be advised: shown to be no worse than the full set, in every run."""
        return not self.diverged and self.verdict in (Verdict.BETTER, Verdict.EQUIVALENT)


def compare(
    psnr: Mapping[int, float | None], full: Mapping[int, float | None], margin_db: float
) -> Comparison:
    """Judge a core-set by the differences to the full set, seed by seed.

    Equivalent is one-sided here: a core-set that may be better, and is at most ``margin_db``
    worse, is as good for who wants to store less.

    Args:
        psnr: dB by seed; None where the run diverged.
        full: the same of the full set.
        margin_db: how much worse counts as equally good.
    """
    pairs = [
        (value, baseline)
        for seed, value in psnr.items()
        if value is not None and (baseline := full.get(seed)) is not None
    ]
    diverged = tuple(seed for seed, value in psnr.items() if value is None)
    if not pairs:
        return Comparison(Estimate(float("nan"), 0), Verdict.UNDECIDED, diverged)
    gain = estimate([value - baseline for value, baseline in pairs])
    if gain.interval is None:
        return Comparison(gain, Verdict.UNDECIDED, diverged)
    low, high = gain.interval
    if low > 0:
        verdict = Verdict.BETTER
    elif low > -margin_db:
        verdict = Verdict.EQUIVALENT
    elif high < 0:
        verdict = Verdict.WORSE
    else:
        verdict = Verdict.UNDECIDED
    return Comparison(gain, verdict, diverged)


def choose(compared: Mapping[Candidate, Comparison]) -> Candidate:
    """What to train on; all of it, unless a core-set was shown to be no worse.

    Args:
        compared: the core-sets of the last rung.

    Returns:
        Of those that hold a better one before an equivalent one, then the higher mean; where those
        are equal the random one, which needs no scores.
    """
    holding = [each for each, comparison in compared.items() if comparison.holds]
    if not holding:
        return FULL

    def rank(each: Candidate) -> tuple[bool, float, bool]:
        comparison = compared[each]
        return comparison.verdict is Verdict.BETTER, comparison.gain.mean, each.rule == RANDOM

    return max(holding, key=rank)
