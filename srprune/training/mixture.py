"""The Gaussian mixture that stands for the distribution of training targets in the BDLoss.

Fitted with scikit-learn, as the code of the loss's parent does (jiawei-ren/BalancedMSE,
``preprocess_gmm.py``), once a run, and kept with it as JSON.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from srprune.core.artifact import FORMAT, canonical, digest, write_json
from srprune.core.errors import ArtifactError, InputError, MissingArtifact, MissingDependency
from srprune.core.provenance import version
from srprune.core.seeding import generator

KIND = "Mixture"
ITERATIONS = 100  # scikit-learn's own limit, which it warns of; the file tells if it was met

# Variance of what rounding to 8 bit hides in [0, 1] (Sheppard's correction). No component is
# narrower: a spike at white is one value of 256, not infinitely likely.
ROUNDING = 1 / (12 * 255**2)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of L Gaussians over values (D = 1) or colours (D = 3) in [0, 1].

    Attributes:
        weights_L: phi, adding up to 1.
        means_LD: mu, the darkest component first.
        covariances_LDD: Sigma, positive definite.
        fitted: what it was fitted on and with; empty for one that was made by hand.
    """

    weights_L: Floats
    means_LD: Floats
    covariances_LDD: Floats
    fitted: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dimension(self) -> int:
        """D: 1 for single values, 3 for colours."""
        return self.means_LD.shape[1]

    @property
    def fingerprint(self) -> str:
        """16 hex digits over the numbers and what they were fitted on."""
        return digest(KIND, str(FORMAT), canonical(self._content()))

    @classmethod
    def fit(
        cls, values_ND: Floats, components: int, seed: int, *, domain: Literal["y", "rgb"]
    ) -> Self:
        """Fit a mixture by expectation maximisation, begun with k-means.

        Args:
            values_ND: values of training targets in [0, 1]; D is 1 or 3.
            components: L, at least 1.
            seed: of the k-means++ start.
            domain: what the values are of, for the file: luma or RGB.

        Raises:
            InputError: fewer different values than components.
            MissingDependency: scikit-learn is not installed.
        """
        try:
            from sklearn.exceptions import ConvergenceWarning
            from sklearn.mixture import GaussianMixture
            from threadpoolctl import threadpool_limits  # comes with scikit-learn
        except ImportError:
            raise MissingDependency(
                "loss bd needs scikit-learn. Run: pip install 'srprune[select]'"
            ) from None
        values_ND = np.ascontiguousarray(values_ND, dtype=np.float64)
        assert values_ND.ndim == 2 and values_ND.shape[1] in (1, 3), values_ND.shape
        _check_enough(values_ND, components)
        found = GaussianMixture(
            components,
            covariance_type="full",
            reg_covar=ROUNDING,
            max_iter=ITERATIONS,
            random_state=int(generator(seed, "training.mixture").integers(2**31)),
        )
        # sums of several threads would depend on their number
        with threadpool_limits(limits=1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            found.fit(values_ND)
        order_L = np.lexsort((*found.means_.T, found.means_.sum(axis=1)))
        return cls(
            found.weights_[order_L],
            found.means_[order_L],
            found.covariances_[order_L],
            {
                "values": len(values_ND),
                "digest": digest(values_ND.astype("<f8").data.cast("B")),
                "domain": domain,
                "seed": seed,
                "converged": bool(found.converged_),
                "iterations": int(found.n_iter_),
                "log_likelihood": float(found.lower_bound_),
                "srprune": version(),
                "scikit-learn": version("scikit-learn"),
            },
        )

    def write(self, path: Path) -> None:
        """Write the mixture as JSON, atomically; the same mixture gives the same bytes.

        Raises:
            StorageError: the disk is full, or the folder may not be written.
        """
        head = {"kind": KIND, "format": FORMAT, "fingerprint": self.fingerprint}
        write_json(path, {**head, **self._content()})

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a mixture that :meth:`write` wrote.

        Raises:
            MissingArtifact: there is no such file.
            ArtifactError: it is damaged, was changed by hand, or is something else.
        """
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            if (raw["kind"], raw["format"]) != (KIND, FORMAT):
                raise ArtifactError(
                    f"{path} is a {raw['kind']} of format {raw['format']}; "
                    f"a {KIND} of format {FORMAT} was expected."
                )
            mixture = cls(
                np.array(raw["weights"], dtype=np.float64),
                np.array(raw["means"], dtype=np.float64),
                np.array(raw["covariances"], dtype=np.float64),
                raw["fitted"],
            )
            whole = mixture.fingerprint == raw["fingerprint"]
        except FileNotFoundError:
            raise MissingArtifact(f"there is no mixture {path}.") from None
        except (OSError, ValueError, LookupError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise ArtifactError(f"{path} is not a readable mixture ({reason}).") from error
        if not whole:
            raise ArtifactError(f"{path} was changed after it was made. Train anew to make it.")
        return mixture

    def _content(self) -> dict[str, Any]:
        return {
            "weights": self.weights_L.tolist(),
            "means": self.means_LD.tolist(),
            "covariances": self.covariances_LDD.tolist(),
            "fitted": dict(self.fitted),
        }


def _check_enough(values_ND: Floats, components: int) -> None:
    """Equal values cannot be parted, and scikit-learn says so in its own words."""
    distinct = len(np.unique(values_ND, axis=0))
    if distinct >= components:
        return
    what = "values" if values_ND.shape[1] == 1 else "colours"
    raise InputError(
        f"the training targets show {distinct} different {what} among {len(values_ND)}, fewer "
        f"than the {components} components of the mixture. Set fewer components, or train on "
        "images with more in them."
    )
