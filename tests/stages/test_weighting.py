"""Weighting in place of cutting: HES's classes and draws, and the mixture of the loss bd."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

torch = pytest.importorskip("torch")
from srprune.core import errors  # noqa: E402
from srprune.core.config import BalanceConfig, ExtractConfig, TrainConfig  # noqa: E402
from srprune.core.errors import InputError  # noqa: E402
from srprune.core.groups import GroupTable  # noqa: E402
from srprune.core.workspace import Workspace  # noqa: E402
from srprune.images.descriptors import gradient  # noqa: E402
from srprune.models.build import load_weights  # noqa: E402
from srprune.models.domain import Domain  # noqa: E402
from srprune.stages.extract import ImageSource, extract  # noqa: E402
from srprune.stages.features import lr_features_of  # noqa: E402
from srprune.stages.fit import fit, open_batches  # noqa: E402
from srprune.stages.job import Job  # noqa: E402
from srprune.stages.train import plan_training  # noqa: E402
from srprune.stages.weighting import MIXTURE, mixture_of  # noqa: E402
from srprune.training.distributed import ALONE  # noqa: E402
from srprune.training.mixture import Mixture  # noqa: E402

CPU = torch.device("cpu")
UNLIKELY = 1e-4
TINY = {"d": 6, "s": 4, "m": 1}

Plan = Callable[..., Job]


@pytest.fixture
def workspace(images: Path, tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "workspace")
    extract(ImageSource.find(str(images)), ExtractConfig(size=48, stride=24), made)
    return made


@pytest.fixture
def plan(workspace: Workspace) -> Plan:
    def job(name: str = "run", **changes: Any) -> Job:
        config = TrainConfig.model_validate(
            {
                "model": "fsrcnn",
                "model_args": TINY,
                "budget": {"steps": 12},
                "batch": 4,
                "lr_crop": 12,
                "checkpoints": {"every": 5},
                **changes,
            }
        )
        return plan_training(config, workspace, stem="tiny", name=name)

    return job


def classes_of(workspace: Workspace) -> GroupTable:
    (path,) = (workspace.root / "groups").glob("*.parquet")
    return GroupTable.read(path)


@pytest.mark.parametrize("of", ["lr", "hr"])
def test_classes_are_drawn_as_the_equation_says_from_the_second_phase_on(
    plan: Plan, workspace: Workspace, of: str
) -> None:
    sampling = {"start": 0.25, "classes": 5, "delta": 0.5, "of": of}
    job = plan(sampling=sampling, budget={"steps": 400}, batch=16)
    assert job.weighted_from == 100
    labels_N, sizes_K = classes_of(workspace).labels_N, classes_of(workspace).sizes
    assert len(sizes_K) == 5
    batches, _ = open_batches(job, CPU, ALONE)
    first = np.concatenate([batches.sampler.at(step).patch_B for step in range(100)])
    counts_N = np.bincount(first, minlength=len(labels_N))
    assert counts_N.max() - counts_N.min() <= 1  # in turn: each once an epoch
    second = np.concatenate([batches.sampler.at(step).patch_B for step in range(100, 400)])
    found_K = np.bincount(labels_N[second], minlength=5)
    shares_K = 0.5 ** np.arange(4, -1, -1) / sizes_K  # delta^(K-k) / N_k
    assert chisquare(found_K, len(second) * shares_K / shares_K.sum()).pvalue > UNLIKELY
    hardest = np.flatnonzero(labels_N == 4)
    inside = np.bincount(second, minlength=len(labels_N))[hardest]
    assert chisquare(inside).pvalue > UNLIKELY  # uniform inside a class


def test_the_first_phase_is_a_run_without_sampling(plan: Plan) -> None:
    weighted, plain = plan(sampling={"start": 0.5}), plan()
    one, other = (open_batches(job, CPU, ALONE)[0].sampler for job in (weighted, plain))
    same = [np.array_equal(one.at(k).patch_B, other.at(k).patch_B) for k in range(12)]
    assert all(same[:6]) and not all(same[6:])


def test_gradients_of_lr_are_those_of_the_lr_patches(plan: Plan, workspace: Workspace) -> None:
    pool = plan().pool
    table = lr_features_of(workspace, "gradient", pool)
    for patch in (0, 7, len(pool) - 1):
        alone = gradient.compute(
            pool.lr_patches(np.array([patch]))[0], np.array([0]), np.array([0]), 24
        )
        assert np.allclose(table.features_ND[patch], alone[0], rtol=1e-6)


def test_only_patches_of_the_core_set_have_a_class(plan: Plan, workspace: Workspace) -> None:
    job = plan(sampling={"classes": 3}, pruning={"rule": "random", "ratio": 0.5})
    assert np.array_equal(np.flatnonzero(classes_of(workspace).labels_N >= 0), job.patch_ids)


def test_classes_that_are_there_are_not_written_again(plan: Plan, workspace: Workspace) -> None:
    """By the other processes of torchrun, which plan when the first one has."""
    plan(sampling={"classes": 3})
    (path,) = (workspace.root / "groups").glob("*.parquet")
    before = path.stat().st_mtime_ns, path.stat().st_ino
    plan(sampling={"classes": 3})
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_an_interrupted_run_draws_as_if_nothing_had_happened(plan: Plan) -> None:
    def killed(label: str, done: int, total: int, note: str = "") -> None:
        if done == 8:
            raise KeyboardInterrupt

    options = {"sampling": {"start": 0.5, "classes": 4}, "loss": "bd"}
    options["balance"] = {"values": 5000, "components": 2, "penalty": 1e-5}
    whole, broken = plan("whole", **options), plan("broken", **options)
    fit(whole, device=CPU)
    with pytest.raises(KeyboardInterrupt):
        fit(broken, device=CPU, progress=killed)
    fit(broken, device=CPU, resume=True)
    one, other = (load_weights(job.weights) for job in (whole, broken))
    pairs = zip(*(each[0].parameters() for each in (one, other)), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    sigma = one[2].info["sigma"]
    assert sigma == other[2].info["sigma"] != 0.03
    assert (whole.folder / MIXTURE).read_bytes() == (broken.folder / MIXTURE).read_bytes()


def test_the_mixture_is_of_pixels_of_the_run_alone(plan: Plan) -> None:
    pool = plan().pool
    means = pool.hr_patches(np.arange(len(pool))).mean(axis=(1, 2, 3))
    ids = np.sort(np.argsort(means)[:3])  # the darkest
    balance = BalanceConfig(values=9000, components=3)
    rgb = Domain("rgb", False, 2)
    fitted = mixture_of(balance, pool, ids, rgb, seed=0)
    own = pool.hr_patches(ids) / 255
    assert float(fitted.weights_L @ fitted.means_LD[:, 0]) == pytest.approx(own.mean(), abs=0.01)
    assert isinstance(fitted, Mixture) and fitted.dimension == 1
    assert mixture_of(balance, pool, ids, rgb, seed=0).fingerprint == fitted.fingerprint
    colour = mixture_of(balance.model_copy(update={"of": "colour"}), pool, ids, rgb, seed=0)
    assert colour.dimension == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sampling": {"classes": 30_000}}, "sampling.classes is 30000, but the core-set has "),
        ({"sampling": {"classes": 40, "cuts": "width"}}, "has no patches"),
        ({"sampling": {"delta": 1e-40}}, "sampling.delta is 1e-40; to the power of 9"),
        (
            {"sampling": {}, "pruning": {"rule": "adaptive", "ratio": 0.5}},
            "the rule adaptive says itself how often",
        ),
        ({"sampling": {}, "pruning": {"rule": "hes", "ratio": 0.5}}, "the rule hes says itself"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    plan: Plan, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        plan(**changes)
    assert "\n" not in str(caught.value)


def test_what_an_attempt_without_a_checkpoint_left_is_not_taken_for_ones_own(plan: Plan) -> None:
    def killed(label: str, done: int, total: int, note: str = "") -> None:
        raise KeyboardInterrupt

    balance = {"values": 5000, "components": 2}
    with pytest.raises(KeyboardInterrupt):
        fit(plan(loss="bd", balance=balance), device=CPU, progress=killed)
    job = plan(loss="bd", balance={**balance, "components": 3})
    fit(job, device=CPU)
    assert len(Mixture.read(job.mixture).weights_L) == 3


def test_colours_need_a_network_on_rgb(plan: Plan) -> None:
    job = plan(loss="bd", balance={"of": "colour", "values": 1000})
    with pytest.raises(InputError, match="the network works on Y"):
        fit(job, device=CPU)


def test_a_collapsing_sigma_ends_the_run_in_one_line(plan: Plan) -> None:
    job = plan(loss="bd", balance={"values": 5000, "components": 2, "sigma": 1, "sigma_lr": 50})
    with pytest.raises(errors.Diverged, match="sigma of the loss bd has collapsed") as caught:
        fit(job, device=CPU)
    assert "\n" not in str(caught.value)
