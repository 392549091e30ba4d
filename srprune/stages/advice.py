"""The runs of a search, and what follows from them."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from srprune.core.estimate import Estimate, estimate
from srprune.core.findings import Verdict
from srprune.selection import RULES
from srprune.selection.rule import portion
from srprune.studies.halving import (
    FULL,
    RANDOM,
    Candidate,
    Comparison,
    choose,
    compare,
    flips,
)

FEW = 5  # held-out images, below which a figure says little of other images

Facts = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """One run of a search.

    Attributes:
        candidate: what it trained on.
        steps: optimizer updates.
        seed: of the run.
        num_patches: that it trained on.
        num_bytes: of their uint8 pixels, HR and LR, overlaps counted once.
        images: PSNR-Y in dB by held-out image; empty where it diverged.
        diverged: why, else empty.
        seconds: of training and measuring.
    """

    candidate: Candidate
    steps: int
    seed: int
    num_patches: int
    num_bytes: int
    images: Mapping[str, float]
    diverged: str
    seconds: float

    @property
    def psnr_y(self) -> float | None:
        """Mean over the held-out images, dB; None where the run diverged."""
        return float(np.mean(list(self.images.values()))) if self.images else None

    def as_record(self, key: str) -> Facts:
        """What stays beside the weights."""
        return {"key": key, **asdict(self), "candidate": self.candidate.name}

    @classmethod
    def read(cls, path: Path, key: str, candidate: Candidate) -> Measured | None:
        """The record of this very run; None where there is none, or that of another."""
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if record.pop("key") != key:
                return None
            return cls(**{**record, "candidate": candidate})
        except (OSError, ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True)
class Rung:
    """Runs of equal steps.

    Attributes:
        steps: of each.
        runs: the full set first.
        kept: core-sets that went on; empty for the last rung.
    """

    steps: int
    runs: tuple[Measured, ...]
    kept: tuple[Candidate, ...]

    @property
    def psnr(self) -> dict[Candidate, float]:
        """dB, the mean over seeds, of all that did not diverge in any."""
        values: dict[Candidate, list[float | None]] = {}
        for run in self.runs:
            values.setdefault(run.candidate, []).append(run.psnr_y)
        return {
            candidate: float(np.mean([v for v in found if v is not None]))
            for candidate, found in values.items()
            if None not in found
        }


@dataclass(frozen=True)
class Call:
    """How the search was called, for the commands that it ends with.

    Attributes:
        config: as it was named.
        overrides: of its keys, as ``--set`` takes them.
        workspace: the folder.
    """

    config: str
    overrides: tuple[str, ...]
    workspace: Path


def advice_of(
    rungs: Sequence[Rung],
    *,
    bicubic: float,
    margin_db: float,
    methods: Mapping[str, str],
    num_patches: int,
    call: Call,
    notes: Sequence[str],
) -> Facts:
    """Draw the conclusion.

    Args:
        rungs: all of them; the last one is at the real budget.
        bicubic: dB on the held-out images.
        margin_db: how much worse than the full set counts as equally good.
        methods: score table to its method.
        num_patches: of the whole pool.
        call: for the commands.
        notes: what the plan says.

    Returns:
        Plain values, free of NaN and infinity.
    """
    last = rungs[-1]
    by_seed: dict[Candidate, dict[int, float | None]] = {}
    for run in last.runs:
        by_seed.setdefault(run.candidate, {})[run.seed] = run.psnr_y
    full = by_seed.pop(FULL)
    compared = {each: compare(psnr, full, margin_db) for each, psnr in by_seed.items()}
    chosen = choose(compared)
    best = next(iter(compared))  # the finalist; its control comes after it
    rule_gain = _difference(by_seed[best], by_seed.get(Candidate(RANDOM, best.ratio), {}))
    runs = [run for rung in rungs for run in rung.runs]
    size = {run.candidate: (run.num_patches, run.num_bytes) for run in last.runs}
    pruning = _pruning(chosen, methods)
    kept = portion(chosen.ratio, num_patches)
    return {
        "train_on": chosen.name,
        "sentence": _sentence(chosen, best, compared, last.steps, margin_db),
        "pruning": pruning,
        "commands": _commands(chosen, pruning, last.steps, call),
        "saves": {
            "num_patches": kept,
            "of_patches": num_patches,
            "patch_share": size[chosen][0] / size[FULL][0],
            "byte_share": size[chosen][1] / size[FULL][1],
        },
        "steps": last.steps,
        "margin_db": margin_db,
        "bicubic": bicubic,
        "compared": [
            {
                "core_set": each.name,
                "gain": _plain(comparison.gain),
                "verdict": str(comparison.verdict),
                "diverged_seeds": list(comparison.diverged),
                "images_ahead": _images_ahead(last, each),
            }
            for each, comparison in compared.items()
        ],
        "over_control": _plain(rule_gain) if rule_gain else None,
        "rungs": [
            _rung_facts(rung, before)
            for rung, before in zip(rungs, [None, *rungs[:-1]], strict=True)
        ],
        "cost": {
            "runs": len(runs),
            "steps": sum(run.steps for run in runs),
            "times": sum(run.steps for run in runs) / last.steps,
        },
        "notes": [*notes, *_caveats(rungs, best, compared, rule_gain, bicubic)],
    }


def _rung_facts(rung: Rung, before: Rung | None) -> Facts:
    psnr = rung.psnr
    return {
        "steps": rung.steps,
        "seeds": sorted({run.seed for run in rung.runs}),
        "core_sets": [
            {
                "core_set": candidate.name,
                "num_patches": next(r.num_patches for r in rung.runs if r.candidate == candidate),
                "psnr_y": psnr.get(candidate),
                "to_full": psnr[candidate] - psnr[FULL] if {candidate, FULL} <= {*psnr} else None,
                "goes_on": candidate in rung.kept,
            }
            for candidate in dict.fromkeys(run.candidate for run in rung.runs)
        ],
        "runs": [
            {
                "core_set": run.candidate.name,
                "seed": run.seed,
                "psnr_y": run.psnr_y,
                "images": dict(run.images),
                "diverged": run.diverged,
            }
            for run in rung.runs
        ],
        "flips": [[a.name, b.name] for a, b in flips(before.psnr, psnr)] if before else [],
    }


def _difference(a: Mapping[int, float | None], b: Mapping[int, float | None]) -> Estimate | None:
    """Mean of a - b over their common seeds; None without any, or for the same core-set."""
    if a is b:
        return None
    pairs = [(a[seed], b[seed]) for seed in a if seed in b]
    differences = [x - y for x, y in pairs if x is not None and y is not None]
    return estimate(differences) if differences else None


def _images_ahead(last: Rung, candidate: Candidate) -> list[int]:
    """On how many held-out images the mean over seeds is above the full set's, and of how many."""
    gains: dict[str, list[float]] = {}
    full = {run.seed: run.images for run in last.runs if run.candidate == FULL}
    for run in last.runs:
        if run.candidate == candidate and full[run.seed]:
            for image, value in run.images.items():
                gains.setdefault(image, []).append(value - full[run.seed][image])
    return [sum(float(np.mean(values)) > 0 for values in gains.values()), len(gains)]


def _sentence(
    chosen: Candidate,
    best: Candidate,
    compared: Mapping[Candidate, Comparison],
    steps: int,
    margin_db: float,
) -> str:
    """The answer in words."""
    about = compared[best if chosen == FULL else chosen]
    figure = _figure(about.gain)
    if chosen == FULL:
        why = "it is worse" if about.verdict is Verdict.WORSE else "more --seeds may decide"
        told = f"differs from the full set by {figure}; {why}"
        if about.diverged:
            told = f"diverged in {len(about.diverged)} of its runs"
        return (
            f"Train on all of it: no core-set was shown to be as good at {steps:,} steps. The best "
            f"of the search, {best.name}, {told}."
        )
    if about.verdict is Verdict.BETTER:
        return f"Train on {chosen.name}: better than the full set at {steps:,} steps, by {figure}."
    return (
        f"Train on {chosen.name} to store less: at {steps:,} steps it was not shown to be better "
        f"than the full set, and is at most {margin_db:g} dB worse ({figure})."
    )


def _figure(gain: Estimate) -> str:
    if gain.interval is None:
        return f"{gain.mean:+.3f} dB (one seed, no interval)"
    low, high = gain.interval
    return f"{gain.mean:+.3f} dB, 95% interval {low:+.3f} to {high:+.3f} over {gain.n} seeds"


def _caveats(
    rungs: Sequence[Rung],
    best: Candidate,
    compared: Mapping[Candidate, Comparison],
    rule_gain: Estimate | None,
    bicubic: float,
) -> list[str]:
    """What a reader must know to read the figures rightly."""
    notes, last = [], rungs[-1]
    full = last.psnr.get(FULL)
    if full is not None and full < bicubic:
        notes.append(
            f"the full set ends {bicubic - full:.2f} dB below bicubic: {last.steps:,} steps tell "
            "how fast a network starts, not how good it gets."
        )
    trend = [rung.psnr[best] - rung.psnr[FULL] for rung in rungs if {best, FULL} <= {*rung.psnr}]
    if len(trend) == len(rungs) and trend[-1] < trend[-2] and trend[-2] > 0:
        told = ", ".join(f"{gain:+.3f}" for gain in trend)
        notes.append(
            f"the lead of {best.name} over the full set falls from rung to rung ({told} dB): with "
            "more steps than these the full set may well be ahead."
            if trend == sorted(trend, reverse=True)
            else f"the lead of {best.name} over the full set fell in the last rung ({told} dB)."
        )
    for rung, before in zip(rungs[1:], rungs, strict=False):
        turned = len(flips(before.psnr, rung.psnr))
        common = len({*before.psnr} & {*rung.psnr})
        if turned:
            notes.append(
                f"{turned} of {math.comb(common, 2)} pairs changed places between {before.steps:,} "
                f"and {rung.steps:,} steps."
            )
    if rule_gain is not None and (rule_gain.interval is None or rule_gain.interval[0] <= 0):
        notes.append(
            f"{best.name} is not shown to be better than a random core-set of its size "
            f"({_figure(rule_gain)})."
        )
    lost = [run for rung in rungs for run in rung.runs if run.diverged]
    notes += [
        f"{run.candidate.name}, {run.steps:,} steps, seed {run.seed} diverged; it is in no mean "
        f"({run.diverged})"
        for run in lost
    ]
    images = len(next(run.images for run in last.runs if run.images))
    few = "; so few say little of other images" if images < FEW else ""
    notes.append(
        f"intervals are over seeds, on {images} held-out images{few}. Benchmarks were not touched."
    )
    return notes


def _pruning(chosen: Candidate, methods: Mapping[str, str]) -> Facts:
    """The part of a training config, the keys that matter."""
    if chosen == FULL:
        return {"ratio": 1.0, "offset": 0.0}
    pruning: Facts = {"rule": chosen.rule, "ratio": chosen.ratio, "offset": chosen.offset}
    return {**pruning, "score": methods[chosen.scores]} if chosen.scores else pruning


def _commands(chosen: Candidate, pruning: Facts, steps: int, call: Call) -> list[str]:
    """What to type next; the pruning is given whole, so that nothing of the user's own stays."""
    where = ["--workspace", str(call.workspace)]
    others = [each for each in call.overrides if each.split("=")[0].split(".")[0] != "pruning"]
    whole = ", ".join(f"{key}: {value}" for key, value in pruning.items())
    sets = [*others, f"budget={{steps: {steps}}}", f"pruning={{{whole}}}"]
    given = [word for text in sets for word in ("--set", text)]
    train = ["srprune", "train", "--config", call.config, *given, *where]
    if chosen == FULL:
        return [shlex.join(train)]
    select = ["srprune", "select", "--rule", chosen.rule, "--ratio", f"{chosen.ratio!r}"]
    if chosen.offset:
        select += ["--offset", f"{chosen.offset!r}"]
    if RULES.load(chosen.rule).scores:
        select += ["--scores", chosen.scores]
    return [shlex.join([*select, *where]), shlex.join(train)]


def _plain(value: Estimate) -> Facts:
    mean = value.mean if math.isfinite(value.mean) else None
    interval = list(value.interval) if value.interval else None
    return {"mean": mean, "n": value.n, "sd": value.sd, "interval": interval}
