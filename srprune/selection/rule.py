"""Rule: what chooses a core-set, with what it needs and which settings it takes.

A rule works in two steps. It first makes ready what does not depend on the size of the core-set
(an order, strata, clusters), and then answers for any size. So a budget in bytes can be met by
asking for several sizes, and clusters are found once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, get_type_hints

import numpy as np
import numpy.typing as npt

from srprune.core.errors import InputError
from srprune.core.names import unknown

Scores = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]
Ids = npt.NDArray[np.int64]

FEATURES = "features"  # the setting that names a table of features, of rules that need one


@dataclass(frozen=True)
class Pool:
    """What a rule looks at.

    Attributes:
        num_patches: N.
        num_skipped: patches to pass over at the start of the order, the offset as a number.
        seed: of rules that draw.
        scores_N: (N,) finite, higher is harder; None for rules that need none.
        features_ND: (N, D); None for rules that need none.
        labels_N: (N,) category of each, of images that were synthesised; None of patches.
    """

    num_patches: int
    num_skipped: int = 0
    seed: int = 0
    scores_N: Scores | None = None
    features_ND: Features | None = None
    labels_N: Labels | None = None

    @property
    def scores(self) -> Scores:
        """The scores of a rule that needs them."""
        assert self.scores_N is not None, "the rule does not say that it needs scores"
        return self.scores_N

    @property
    def features(self) -> Features:
        """The features of a rule that needs them."""
        assert self.features_ND is not None, "the rule does not say that it needs features"
        return self.features_ND


@dataclass(frozen=True)
class Choice:
    """A core-set that a rule has chosen.

    Attributes:
        ids: (kept,) patch ids, int64, sorted, unique.
        weights: (kept,) how often each is to be drawn in training, mean 1; None for all alike.
    """

    ids: Ids
    weights: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Prepared:
    """A rule that is ready to answer.

    Attributes:
        take: number of patches to keep, at least 1 -> the core-set.
        most: the largest such number.
        groups_N: (N,) the group of each patch, -1 for none; None for rules without groups.
    """

    take: Callable[[int], Choice]
    most: int
    groups_N: Labels | None = None


@dataclass(frozen=True)
class Rule:
    """A way to choose a core-set.

    Attributes:
        prepare: from a :class:`Pool`, and settings as keyword-only arguments with defaults. A
            setting called ``features`` names the table of features that the rule needs.
        scores: whether it needs scores.
        ranked: whether it keeps one window of ranks.
        seeded: whether the seed has an effect.
        nested: whether a smaller core-set is part of a larger one.
        offset: whether patches can be skipped.
        weighted: whether patches get weights, so that even the full set is not the plain one.
        in_training: whether it chooses while a network trains, so that nothing can be chosen
            before; then ``prepare`` gives what a training begins with.
        synthesised: whether it takes synthesised images in place of patches of the pool.
    """

    prepare: Callable[..., Prepared]
    scores: bool = True
    ranked: bool = False
    seeded: bool = True
    nested: bool = False
    offset: bool = True
    weighted: bool = False
    in_training: bool = False
    synthesised: bool = False

    @cached_property
    def name(self) -> str:
        """The name in the table of rules."""
        return self.prepare.__name__.removeprefix("_")

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """Every setting with its default."""
        parameters = inspect.signature(self.prepare).parameters.values()
        return {each.name: each.default for each in parameters if each.kind == each.KEYWORD_ONLY}

    @property
    def whole_is_full(self) -> bool:
        """Whether its core-set of ratio 1 is the full set, all patches alike."""
        return not self.weighted and not self.synthesised

    def checked(self, given: Mapping[str, Any], within: str = "") -> dict[str, Any]:
        """All settings, those given held against the rule.

        Args:
            given: settings by name.
            within: what stands before a name in messages, such as ``pruning.args.``.

        Raises:
            UnknownName: the rule has no such setting.
            InputError: a value is of another type or out of its bounds.
        """
        values = dict(self.defaults)
        for key, value in given.items():
            if key not in self.defaults:
                raise unknown(f"{self.name} setting", key, self.defaults, within=within)
            values[key] = tuple(value) if isinstance(value, list) else value
            if fault := self._fault(key, values[key]):
                raise InputError(f"{within}{key} is {value!r}; with {self.name} {fault}.")
        return values

    def _fault(self, key: str, value: object) -> str | None:
        """What is wrong with a value, in words; None where nothing is."""
        # pydantic takes as long to load as all of select, and few core-sets have settings
        from pydantic import ConfigDict, TypeAdapter, ValidationError

        from srprune.core.yaml_words import SHOULD, wanted

        hint = get_type_hints(self.prepare, include_extras=True)[key]
        type_of = TypeAdapter(hint, config=ConfigDict(strict=True, allow_inf_nan=False))
        try:
            type_of.validate_python(value)
        except ValidationError as error:
            first = error.errors()[0]
            said = SHOULD.match(first["msg"])
            words = said[1] if said else first["msg"]
            if first["loc"]:
                return f"its value {int(first['loc'][0]) + 1} must {words}"
            return f"it must {wanted(first['type'], value, [type_of.json_schema()]) or words}"
        return None

    def check_beforehand(self) -> None:
        """Refuse a rule that has nothing to choose by before a network trains.

        Raises:
            InputError: it chooses in training, or no patches at all.
        """
        if self.synthesised:
            raise InputError(
                f"rule {self.name} takes synthesised images, so there is no core-set to choose. "
                f"Train with it: srprune train --set pruning.rule={self.name}."
            )
        if self.in_training:
            raise InputError(
                f"rule {self.name} chooses while a network trains, so there is no core-set to "
                f"choose beforehand. Train with it: srprune train --set pruning.rule={self.name}."
            )

    def __call__(
        self,
        scores_N: Scores,
        ratio: float,
        offset: float = 0.0,
        seed: int = 0,
        *,
        features_ND: Features | None = None,
        **settings: Any,
    ) -> Ids:
        """Choose a core-set from arrays.

        Args:
            scores_N: (N,); for rules that need no scores only its length counts.
            ratio: share of N that is kept.
            offset: share of N that is skipped at the start of the order.
            seed: of rules that draw.
            features_ND: (N, D), for rules that need features.
            settings: of the rule.

        Returns:
            Sorted patch ids, int64.

        Raises:
            InputError: what is asked for cannot be.
        """
        self.check_beforehand()
        first, size = window(ratio, offset, len(scores_N))
        pool = Pool(len(scores_N), first, seed, scores_N, features_ND)
        return self.prepare(pool, **self.checked(settings)).take(size).ids


def portion(share: float, num_patches: int) -> int:
    """``floor(share * N + 1/2)``, exactly: 0.35 means 35/100, not its nearest double."""
    return int(Fraction(repr(float(share))) * num_patches + Fraction(1, 2))


def window(ratio: float, offset: float, num_patches: int) -> tuple[int, int]:
    """First rank and number of ranks of a core-set.

    Args:
        ratio: share of N that is kept, in (0, 1].
        offset: share of N that is skipped at the start of the order, in [0, 1).
        num_patches: N, at least 1.

    Raises:
        InputError: ratio or offset out of range, the window is empty or runs past N; the
            message says by how much.
    """
    if not 0 < ratio <= 1:
        raise InputError(f"ratio is {ratio:g}; it must be above 0 and at most 1.")
    first, size = skipped(offset, num_patches), portion(ratio, num_patches)
    if size == 0:
        raise InputError(
            f"ratio {ratio:g} of {num_patches} patches keeps none. "
            f"Choose a ratio of at least {1 / num_patches:.2g}."
        )
    if first + size > num_patches:
        raise InputError(
            f"ratio {ratio:g} and offset {offset:g} need {first + size} patches, "
            f"{first + size - num_patches} more than the {num_patches} there are. "
            "Make one of them smaller."
        )
    return first, size


def skipped(offset: float, num_patches: int) -> int:
    """Number of patches that an offset skips.

    Raises:
        InputError: the offset is out of range.
    """
    if not 0 <= offset < 1:
        raise InputError(f"offset is {offset:g}; it must be at least 0 and below 1.")
    return portion(offset, num_patches)
