"""The Gaussian mixture of the BDLoss: the fit, degenerate values, the file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal

pytest.importorskip("torch")
from srprune.core.errors import ArtifactError, InputError, MissingArtifact, MissingDependency
from srprune.training.mixture import ROUNDING, Mixture

RNG = np.random.default_rng(0)


def two_blobs(dimension: int) -> np.ndarray:
    """A quarter of the values around 0.2, three quarters around 0.8."""
    values = np.concatenate([
        RNG.normal(0.2, 0.02, (500, dimension)), RNG.normal(0.8, 0.05, (1500, dimension)),
    ])  # fmt: skip
    return RNG.permutation(values)


def by_hand() -> Mixture:
    return Mixture(np.array([0.25, 0.75]), np.array([[0.1], [0.9]]), np.full((2, 1, 1), 0.01))


@pytest.fixture
def with_scikit_learn() -> None:
    pytest.importorskip("sklearn")


@pytest.mark.usefixtures("with_scikit_learn")
@pytest.mark.parametrize("dimension", [1, 3])
def test_two_blobs_are_found_the_darker_one_first(dimension: int) -> None:
    mixture = Mixture.fit(two_blobs(dimension), 2, seed=0, domain="rgb")
    assert mixture.dimension == dimension
    np.testing.assert_allclose(mixture.weights_L, [0.25, 0.75], atol=0.01)
    np.testing.assert_allclose(mixture.means_LD[:, 0], [0.2, 0.8], atol=0.01)
    for covariance_DD, width in zip(mixture.covariances_LDD, (0.02, 0.05), strict=True):
        np.testing.assert_allclose(covariance_DD, width**2 * np.eye(dimension), atol=3e-4)
    assert mixture.fitted["converged"] is True
    assert mixture.fitted["values"] == 2000 and mixture.fitted["domain"] == "rgb"


@pytest.mark.usefixtures("with_scikit_learn")
def test_it_says_how_likely_the_values_are() -> None:
    values_ND = two_blobs(1)
    mixture = Mixture.fit(values_ND, 2, seed=0, domain="y")
    densities_NL = [
        weight * multivariate_normal(mean, covariance).pdf(values_ND)
        for weight, mean, covariance in zip(
            mixture.weights_L, mixture.means_LD, mixture.covariances_LDD, strict=True
        )
    ]
    mean = np.log(np.sum(densities_NL, axis=0)).mean()
    assert mixture.fitted["log_likelihood"] == pytest.approx(mean, rel=1e-3)


@pytest.mark.usefixtures("with_scikit_learn")
def test_same_values_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    values_ND = RNG.random((3000, 3))
    paths = [tmp_path / name for name in ("a.json", "b.json", "c.json", "d.json")]
    Mixture.fit(values_ND, 4, seed=1, domain="rgb").write(paths[0])
    Mixture.fit(np.asfortranarray(values_ND), 4, seed=1, domain="rgb").write(paths[1])
    Mixture.fit(values_ND, 4, seed=2, domain="rgb").write(paths[2])
    Mixture.fit(values_ND[:-1], 4, seed=1, domain="rgb").write(paths[3])
    first, again, other_seed, other_values = (path.read_bytes() for path in paths)
    assert first == again
    assert len({first, other_seed, other_values}) == 3


@pytest.mark.usefixtures("with_scikit_learn")
def test_a_spike_is_as_wide_as_8_bit_rounding() -> None:
    values_ND = np.concatenate([np.ones((500, 1)), RNG.random((500, 1)) / 2])
    mixture = Mixture.fit(values_ND, 2, seed=0, domain="y")
    assert mixture.means_LD[1, 0] == pytest.approx(1)
    assert mixture.covariances_LDD[1, 0, 0] == pytest.approx(ROUNDING, rel=1e-6)


@pytest.mark.usefixtures("with_scikit_learn")
def test_as_many_values_as_components_do_and_no_warning_escapes() -> None:
    values_ND = np.repeat(np.linspace(0, 1, 4), 50)[:, None]  # four spikes, four components
    mixture = Mixture.fit(values_ND, 4, seed=0, domain="y")
    np.testing.assert_allclose(mixture.means_LD[:, 0], np.linspace(0, 1, 4), atol=1e-9)


@pytest.mark.usefixtures("with_scikit_learn")
def test_a_fit_that_is_cut_short_says_so_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srprune.training.mixture.ITERATIONS", 1)
    mixture = Mixture.fit(RNG.random((1000, 1)), 8, seed=0, domain="y")
    assert mixture.fitted["converged"] is False and mixture.fitted["iterations"] == 1


@pytest.mark.usefixtures("with_scikit_learn")
@pytest.mark.parametrize(
    ("values_ND", "said"),
    [
        (np.full((1000, 1), 0.5), "1 different values among 1000, fewer than the 8 components"),
        (np.full((1000, 3), 0.5), "1 different colours among 1000"),
        (np.linspace(0, 1, 7)[:, None], "7 different values among 7"),
        (np.zeros((0, 1)), "0 different values among 0"),
    ],
)
def test_too_few_different_values_are_one_clear_line(values_ND: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        Mixture.fit(values_ND, 8, seed=0, domain="rgb")
    assert "\n" not in str(caught.value)


def test_without_scikit_learn_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.mixture", None)  # as if it were not installed
    with pytest.raises(MissingDependency, match=r"pip install 'srprune\[select\]'"):
        Mixture.fit(np.random.default_rng(0).random((100, 1)), 2, seed=0, domain="y")


def test_the_file_gives_back_every_bit(tmp_path: Path) -> None:
    covariances_LDD = np.stack([np.eye(3) * RNG.random() / 3 + 0.001 for _ in range(2)])
    mixture = Mixture(np.array([1 / 3, 2 / 3]), RNG.random((2, 3)), covariances_LDD, {"seed": 3})
    mixture.write(tmp_path / "mixture.json")
    read = Mixture.read(tmp_path / "mixture.json")
    for name in ("weights_L", "means_LD", "covariances_LDD"):
        assert (getattr(read, name) == getattr(mixture, name)).all()
        assert getattr(read, name).dtype == np.float64
    assert read.fitted == {"seed": 3}
    assert read.fingerprint == mixture.fingerprint


def damaged(raw: dict) -> dict[str, str]:
    """Contents that no mixture has, by what the message must say."""
    return {
        "not a readable mixture": json.dumps(raw)[:-20],
        "not a readable mixture .*fitted": json.dumps({k: raw[k] for k in raw if k != "fitted"}),
        "changed after it was made": json.dumps({**raw, "weights": [0.5, 0.5]}),
        "not a readable mixture .*list": "[]",
        "is a Mixture of format 99; a Mixture of format 1": json.dumps({**raw, "format": 99}),
        "is a Router": json.dumps({**raw, "kind": "Router"}),
        "not a readable mixture .*shape": json.dumps({**raw, "means": [[0.1], [0.9, 0.8]]}),
        "not a readable mixture .*compliant": json.dumps({**raw, "weights": [float("nan"), 1.0]}),
    }


@pytest.mark.parametrize("said", list(damaged({})))
def test_a_damaged_file_is_one_clear_line(tmp_path: Path, said: str) -> None:
    path = tmp_path / "mixture.json"
    by_hand().write(path)
    path.write_text(damaged(json.loads(path.read_text()))[said])
    with pytest.raises(ArtifactError, match=said) as caught:
        Mixture.read(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_bytes_that_are_no_text_are_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "mixture.json"
    path.write_bytes(b"\xff\xfe\x00PAR1")
    with pytest.raises(ArtifactError, match="not a readable mixture"):
        Mixture.read(path)


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match=r"there is no mixture .*mixture\.json"):
        Mixture.read(tmp_path / "mixture.json")
