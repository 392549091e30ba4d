"""Supernets: the weights of one large network that hold those of smaller ones of its kind.

A subnet of width w and depth d is the published network with w maps and d blocks. Each of its
tensors is the leading slice of the supernet's tensor of the same place: the first w channels of
each convolution (Yu et al., "Slimmable Neural Networks", ICLR 2019) and the first d blocks; of
RCAN, the first d blocks of each group. A pixel shuffle makes map c from the channels ``c * r * r``
to ``c * r * r + r * r - 1``, so the first w maps are made from leading channels there, too.

Widths and depths are those of Yu et al., "Rethinking Imbalance in Image Super-Resolution for
Efficient Inference" (WBSR), NeurIPS 2024. RCAN's depths are read as blocks of a group, which the
paper does not say: its 15.59 M parameters are those of 10 groups of 20.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from srprune.core.errors import InputError
from srprune.models import MODELS
from srprune.models.build import default_of
from srprune.models.msrresnet import MSRResNet
from srprune.models.network import PLANES, Channels, Network
from srprune.models.rcan import RCAN

PAPER = (
    "Yu et al., Rethinking Imbalance in Image Super-Resolution for Efficient Inference, "
    "NeurIPS 2024"
)
WIDTHS = (36, 52, 64)
SIZES = ("features", "blocks")  # what the plain networks call width and depth
PATCH = 32  # side of the LR patch that the papers count FLOPs for; the order is at this size


@dataclass(frozen=True)
class Subnet:
    """One of the networks inside a supernet.

    Attributes:
        width: maps of its layers.
        depth: its blocks; of RCAN, those of a group.
    """

    width: int
    depth: int

    @property
    def label(self) -> str:
        """For names and messages: ``w36_d4``."""
        return f"w{self.width}_d{self.depth}"


@dataclass(frozen=True)
class _Place:
    """Where a tensor of a subnet stands: the leading slice of an attribute of a module."""

    name: str
    owner: nn.Module
    attribute: str
    leading: tuple[slice, ...]

    @property
    def tensor(self) -> Tensor:
        part: Tensor = getattr(self.owner, self.attribute)[self.leading]
        return part


_Part = tuple[Network, tuple[_Place, ...]]  # a subnet without weights, and where they stand


class Supernet(Network):
    """A published network that can also run as one of the smaller ones inside it.

    A mixin before the published network, whose tensor names it keeps: the file of a supernet is,
    tensor by tensor, that of its largest subnet.

    Attributes:
        plain: the published network.
        widths: of the subnets, smallest first.
        depths: of the subnets, smallest first.
        in_use: the subnet that runs; the largest, unless another was chosen.
    """

    plain: ClassVar[type[Network]]
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    in_use: Subnet
    _running: _Part | None

    def _hold(
        self, widths: Sequence[int], depths: Sequence[int], others: Mapping[str, Any]
    ) -> None:
        """Take the subnets in, once the network of the largest stands.

        Args:
            widths: smallest first.
            depths: smallest first.
            others: arguments of the plain network but for these two.
        """
        self.widths, self.depths = tuple(widths), tuple(depths)
        self._others = dict(others)
        self._parts: dict[Subnet, _Part] = {}
        self.use(self.largest)

    @property
    def largest(self) -> Subnet:
        """The subnet that has all weights."""
        return Subnet(self.widths[-1], self.depths[-1])

    @cached_property
    def subnets(self) -> tuple[Subnet, ...]:
        """All of them, cheapest first by FLOPs; of two that cost the same, the narrower first."""
        every = [Subnet(width, depth) for width in self.widths for depth in self.depths]
        return tuple(sorted(every, key=lambda s: (self.flops(s, PATCH, PATCH), s.width, s.depth)))

    def use(self, subnet: Subnet) -> None:
        """Choose what :meth:`forward` runs.

        Raises:
            InputError: there is no such subnet.
        """
        self._check(subnet)
        self._running = None if subnet == self.largest else self._inside(subnet)
        self.in_use = subnet

    def forward(self, x_BChw: Tensor) -> Tensor:
        """What the plain network gives, with the weights of the subnet in use."""
        sr_BCHW: Tensor
        if self._running is None:
            sr_BCHW = super().forward(x_BChw)
            return sr_BCHW
        skeleton, places = self._running
        tensors = {place.name: place.tensor for place in places}
        sr_BCHW = functional_call(skeleton, tensors, (x_BChw,))
        return sr_BCHW

    def cut(self, subnet: Subnet) -> tuple[str, dict[str, Any], Network]:
        """A subnet as an ordinary network, with a copy of its weights.

        Returns:
            Its name in the table of models, its arguments there (width, depth, and others that
            are not the default), and the network: on the same device, in the same mode.

        Raises:
            InputError: there is no such subnet.
        """
        self._check(subnet)
        arguments = self._arguments(subnet)
        tensors = {place.name: place.tensor.detach().clone() for place in self._inside(subnet)[1]}
        network = _skeleton(self.plain, arguments)
        network.load_state_dict(tensors, assign=True)
        network.to(memory_format=torch.channels_last).train(self.training)
        told = {
            name: value
            for name, value in arguments.items()
            if name in SIZES or value != default_of(self.plain, name)
        }
        del told["scale"]
        return self.plain.spec.name, told, network

    def flops(self, subnet: Subnet, height: int, width: int) -> int:
        """FLOPs of a subnet for one LR image, two a multiply-add.

        Args:
            subnet: one of them.
            height: of the image, LR px.
            width: of the image, LR px.

        Raises:
            InputError: there is no such subnet.
        """
        self._check(subnet)
        return _flops(self.plain.spec.name, tuple(self._arguments(subnet).items()), height, width)

    def _check(self, subnet: Subnet) -> None:
        if subnet.width not in self.widths or subnet.depth not in self.depths:
            raise InputError(
                f"{self.spec.name} has no subnet of width {subnet.width} and depth "
                f"{subnet.depth}. Widths: {_listed(self.widths)}; depths: {_listed(self.depths)}."
            )

    def _arguments(self, subnet: Subnet) -> dict[str, Any]:
        """Of the plain network."""
        return {**self._others, **dict(zip(SIZES, (subnet.width, subnet.depth), strict=True))}

    def _inside(self, subnet: Subnet) -> _Part:
        """The subnet without weights, and where they stand."""
        if subnet not in self._parts:
            skeleton = _skeleton(self.plain, self._arguments(subnet))
            places = []
            for name, tensor in skeleton.state_dict().items():
                module, _, attribute = self._name_here(name, subnet).rpartition(".")
                leading = tuple(slice(length) for length in tensor.shape)
                places.append(_Place(name, self.get_submodule(module), attribute, leading))
            self._parts[subnet] = skeleton, tuple(places)
        return self._parts[subnet]

    def _name_here(self, name: str, subnet: Subnet) -> str:
        """Name of the supernet's tensor whose leading slice is a tensor of a subnet."""
        return name


class MSRResNetSupernet(Supernet, MSRResNet):
    """MSRResNet with the weights of nine, as WBSR trains it."""

    plain = MSRResNet
    spec = replace(
        MSRResNet.spec,
        name="msrresnet_supernet",
        paper=PAPER,
        source=f"widths and depths of the paper; layers of {MSRResNet.spec.source}",
        tiny={"widths": [4, 6, 8], "depths": [1, 2]},
    )

    def __init__(
        self,
        *,
        scale: int,
        channels: Channels = "rgb",
        widths: tuple[int, ...] = WIDTHS,
        depths: tuple[int, ...] = (4, 8, 16),
    ) -> None:
        """Build the largest with fresh weights from torch's global generator.

        Args:
            scale: of the pixel shuffle and of the bilinear skip.
            channels: the published network works on RGB.
            widths: maps of every layer but the last, smallest first.
            depths: residual blocks, smallest first.

        Raises:
            ValueError: one of a list is there twice, or out of order.
        """
        _check_order(widths=widths, depths=depths)
        super().__init__(scale=scale, channels=channels, features=widths[-1], blocks=depths[-1])
        self._hold(widths, depths, {"scale": scale, "channels": channels})

    @classmethod
    def arguments_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """See :meth:`Network.arguments_of`; no tensor tells widths and depths."""
        return _but_for_sizes(super().arguments_of(tensors))


class RCANSupernet(Supernet, RCAN):
    """RCAN with the weights of nine, as WBSR trains it."""

    plain = RCAN
    spec = replace(
        RCAN.spec,
        name="rcan_supernet",
        paper=PAPER,
        source=f"widths and depths of the paper; layers of {RCAN.spec.source}",
        tiny={"widths": [4, 6, 8], "depths": [1, 2], "groups": 2, "reduction": 2},
    )

    def __init__(
        self,
        *,
        scale: int,
        channels: Channels = "rgb",
        widths: tuple[int, ...] = WIDTHS,
        depths: tuple[int, ...] = (5, 10, 20),
        groups: int = 10,
        reduction: int = 16,
    ) -> None:
        """Build the largest with fresh weights from torch's global generator.

        Args:
            scale: of the pixel shuffle.
            channels: the published network works on RGB.
            widths: maps of every layer but the last, smallest first.
            depths: blocks of a group, smallest first.
            groups: residual groups, the same in all subnets.
            reduction: channel attention squeezes to ``width // reduction`` values.

        Raises:
            ValueError: one of a list is there twice, or out of order; or attention would be left
                without a value.
        """
        _check_order(widths=widths, depths=depths)
        if reduction > widths[0]:
            raise ValueError(f"reduction is {reduction}; it must not exceed widths, {widths[0]}")
        super().__init__(
            scale=scale,
            channels=channels,
            features=widths[-1],
            groups=groups,
            blocks=depths[-1],
            reduction=reduction,
        )
        others = {"scale": scale, "channels": channels, "groups": groups, "reduction": reduction}
        self._hold(widths, depths, others)

    @classmethod
    def arguments_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """See :meth:`Network.arguments_of`; no tensor tells widths and depths."""
        return _but_for_sizes(super().arguments_of(tensors))

    def _name_here(self, name: str, subnet: Subnet) -> str:
        """The conv at the end of a group stands behind the last block: others have more."""
        last = rf"(body\.\d+\.body)\.{subnet.depth}\.(weight|bias)"
        return re.sub(f"^{last}$", rf"\1.{self.depths[-1]}.\2", name)


def _skeleton(plain: type[Network], arguments: Mapping[str, Any]) -> Network:
    """A network without memory for its weights; it draws no random numbers."""
    with torch.device("meta"):
        return plain(**arguments)


@cache
def _flops(model: str, arguments: tuple[tuple[str, Any], ...], height: int, width: int) -> int:
    """Of a network whose blocks are alike: what one block costs is told by networks of 1 and 2."""
    plain, args = MODELS.load(model), dict(arguments)
    depth = args.pop("blocks")
    one, two = (_counted(plain, {**args, "blocks": blocks}, height, width) for blocks in (1, 2))
    return one + (depth - 1) * (two - one)


def _counted(plain: type[Network], arguments: Mapping[str, Any], height: int, width: int) -> int:
    """On the meta device, where operations are counted and nothing is computed."""
    network = _skeleton(plain, arguments)
    x_1Chw = torch.empty(1, PLANES[arguments["channels"]], height, width, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(x_1Chw)
    return counter.get_total_flops()


def _check_order(**sizes: Sequence[int]) -> None:
    """Subnets have one spelling each, so that one config has one fingerprint."""
    for name, given in sizes.items():
        if list(given) != sorted(set(given)):
            raise ValueError(f"{name} are {_listed(given)}; give each once, smallest first")


def _but_for_sizes(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name not in SIZES}


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
