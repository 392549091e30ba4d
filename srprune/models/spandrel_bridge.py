"""Any SR model that spandrel loads, as a network of srprune's restorer.

spandrel (chaiNNer-org/spandrel) tells some forty architectures by their tensors. The file itself
is read by :mod:`srprune.models.weight_files`, so no pickle runs code here either.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from srprune.core.artifact import fingerprint
from srprune.core.errors import ArtifactError, InputError, MissingDependency
from srprune.core.out_of_memory import is_out_of_memory
from srprune.core.weights import KIND
from srprune.models.domain import Domain
from srprune.models.weight_files import read_tensors

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor

PREFIX = "spandrel:"
SCALES = (2, 3, 4)


class SpandrelNetwork(nn.Module):
    """A model of spandrel as a module: (B, 3, h, w) in [0, 1] to (B, 3, s*h, s*w), clipped."""

    def __init__(self, descriptor: ImageModelDescriptor) -> None:
        """Wrap what spandrel loaded."""
        super().__init__()
        self.model = descriptor.model
        self.architecture = descriptor.architecture.name
        self._run = descriptor

    def forward(self, x_BChw: Tensor) -> Tensor:
        """Pads as the architecture wants it; a copy goes in, since some work in place."""
        return self._run(x_BChw.clone())


def load_spandrel(path: Path) -> tuple[SpandrelNetwork, Domain, str]:
    """Read an SR model of any architecture that spandrel knows.

    Returns:
        The network, its domain (RGB), and a fingerprint of architecture and tensors.

    Raises:
        MissingDependency: spandrel is not installed.
        MissingArtifact: there is no such file.
        ArtifactError: it is damaged, or spandrel does not know it.
        InputError: it is no SR model of RGB images at x2, x3 or x4.
    """
    try:
        from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError
    except ImportError:
        raise MissingDependency(
            "spandrel is not installed. Run: pip install 'srprune[interop]'"
        ) from None
    tensors = read_tensors(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the architectures' own code
            found = ModelLoader(device="cpu").load_from_state_dict(dict(tensors))
    except UnsupportedModelError as error:
        raise ArtifactError(f"spandrel does not know the architecture of {path}.") from error
    except Exception as error:  # a likeness that spandrel took for the real thing
        if is_out_of_memory(error):
            raise
        why = str(error).splitlines()[0]
        raise ArtifactError(f"spandrel cannot load {path} ({why}).") from error
    kind = found.architecture.name
    if not isinstance(found, ImageModelDescriptor) or found.scale not in SCALES:
        raise InputError(
            f"{path} is a {kind} of x{found.scale}; srprune measures SR models of x2, x3 and x4."
        )
    if (found.input_channels, found.output_channels) != (3, 3):
        raise InputError(
            f"{path} is a {kind} with {found.input_channels} channels in and "
            f"{found.output_channels} out; srprune takes RGB models."
        )
    columns = {name: tensor.numpy() for name, tensor in sorted(tensors.items())}
    mark = fingerprint(KIND, {}, {"architecture": kind}, columns)
    return SpandrelNetwork(found), Domain("rgb", False, found.scale), mark
