"""Which images of a synthesis are wanted, which are there, and which were rejected.

Category c gets its first images in the order of their numbers, less the rejected ones. So neither
the size of a batch nor a stop changes which image stands in which file.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple, get_args, get_type_hints

from srprune.core.artifact import first_difference, storage_errors
from srprune.core.errors import ArtifactError, ArtifactMismatch, InputError
from srprune.distill.config import SynthesiseConfig
from srprune.distill.provenance import REPLACE, Sample
from srprune.selection.rule import portion

MAX_ID = 2**63 - 1  # of a patch
TRIES = 20  # images a wanted one of a category, before its synthesis is given up


LONGER = "Train the generator longer, or ask for another guidance or seed"
REMEDIES = {  # by the reason that most images were rejected for; of blank ones LONGER
    "not finite": "Ask for less guidance, or train the generator anew with a lower optimizer.lr",
    "near-copy": (
        "The generator repeats what it was trained on: train it on more windows or for fewer "
        "steps, or keep near-copies, which are named (reject_copies)"
    ),
}


class Draw(NamedTuple):
    """An image to be drawn."""

    category: int
    number: int


class Rejected(NamedTuple):
    """An image that was drawn and is not kept.

    Attributes:
        category: of the image.
        number: within it.
        why: such as ``constant``.
    """

    category: int
    number: int
    why: str


def spread(config: SynthesiseConfig, num_patches: int, categories: int) -> list[int]:
    """How many images each category gets; what does not go round evenly goes to the first ones.

    Args:
        config: says how many.
        num_patches: of the whole pool, N; a ratio is rounded to floor(ratio * N + 1/2).
        categories: among which they are spread.

    Raises:
        InputError: no image at all.
    """
    if config.per_category is not None:
        return [config.per_category] * categories
    assert config.ratio is not None  # the config has either
    total = portion(config.ratio, num_patches)  # as a training of that ratio wants them
    if not total:
        raise InputError(
            f"ratio {config.ratio:g} of {num_patches:,} patches is no image. Choose a larger "
            "ratio, or say how many per category."
        )
    each, more = divmod(total, categories)
    return [each + (category < more) for category in range(categories)]


class Draws:
    """The state of a synthesis.

    Attributes:
        counts: images that each category shall get; the first ones may get one more.
        kept: images that are there.
        rejected: images that are not kept.
    """

    def __init__(self, counts: Sequence[int]) -> None:
        """Begin with nothing."""
        self.counts = tuple(counts)
        self.kept: list[Sample] = []
        self.rejected: list[Rejected] = []
        self._there = [0] * len(counts)
        self._tried = [0] * len(counts)

    @property
    def total(self) -> int:
        """Images that shall be there in the end."""
        return sum(self.counts)

    @property
    def reasons(self) -> dict[str, int]:
        """How many were rejected, by reason."""
        return dict(sorted(Counter(each.why for each in self.rejected).items()))

    def next(self, batch: int) -> list[Draw]:
        """At most ``batch`` images to draw now, round the categories; none when all are there.

        Raises:
            InputError: a category was tried 20 times as often as images are wanted of it.
        """
        for category, count in enumerate(self.counts):
            if self._there[category] < count and self._tried[category] >= TRIES * count:
                raise InputError(self._hopeless(category))
        wanted = (
            Draw(category, self._tried[category] + place - self._there[category])
            for place in range(min(self._there), max(self.counts))
            for category, count in enumerate(self.counts)
            if self._there[category] <= place < count
        )
        wanted = (draw for draw in wanted if draw.number < TRIES * self.counts[draw.category])
        return list(islice(wanted, batch))

    def image_name(self, category: int) -> str:
        """File of the next image that is kept of a category; sorted, they go round them."""
        place = self._there[category] * len(self.counts) + category
        digits = max(5, len(str(self.total - 1)))
        return f"{place:0{digits}d}_c{category}.png"

    def check(self, outcome: Sample | Rejected) -> None:
        """Refuse an image that cannot be the next of its category.

        Raises:
            ValueError: another category, number or file name than the next one has.
        """
        category = outcome.category
        if not 0 <= category < len(self.counts) or outcome.number != self._tried[category]:
            raise ValueError("category and number")
        if isinstance(outcome, Sample) and outcome.image != self.image_name(category):
            raise ValueError("image")

    def add(self, outcome: Sample | Rejected) -> None:
        """Take note of an image that was drawn."""
        self._tried[outcome.category] += 1
        if isinstance(outcome, Sample):
            self._there[outcome.category] += 1
            self.kept.append(outcome)
        else:
            self.rejected.append(outcome)

    def _hopeless(self, category: int) -> str:
        reasons = Counter(each.why for each in self.rejected if each.category == category)
        named = ", ".join(f"{count} {why}" for why, count in sorted(reasons.items()))
        ((most, _),) = reasons.most_common(1)
        return (
            f"category {category} gave {self._there[category]} of {self.counts[category]} images "
            f"in {self._tried[category]} tries ({named}). {REMEDIES.get(most, LONGER)}. That makes "
            "another set: add --restart, or another --name; with study, --edited."
        )


class Journal:
    """What was drawn, a line of JSON a batch, so that a stopped synthesis goes on.

    The first line says what the synthesis is. A line that was cut off, by a kill or a full disk,
    is that of a batch that is drawn again.
    """

    def __init__(self, path: Path) -> None:
        """Name the file; nothing is read or written yet."""
        self.path = path

    def open(self, identity: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The records that are there; a new journal gets its first line.

        Args:
            identity: everything that decides the images, as plain values.

        Raises:
            ArtifactMismatch: it is the journal of another synthesis.
            ArtifactError: it is damaged.
        """
        there = self.path.read_bytes() if self.path.exists() else b""
        whole = there[: there.rfind(b"\n") + 1]
        if len(whole) < len(there):
            with storage_errors(self.path):
                os.truncate(self.path, len(whole))
        if not whole:
            self.add(dict(identity))
            return []
        try:
            first, *records = [json.loads(line) for line in whole.splitlines()]
        except ValueError as error:
            raise damaged(self.path) from error
        if not isinstance(first, dict):
            raise damaged(self.path)
        check_identity(self.path.parent, first, identity)
        return records

    def add(self, record: Mapping[str, Any]) -> None:
        """Write a line, and wait until the disk has it.

        Raises:
            StorageError: the disk is full.
        """
        with storage_errors(self.path), open(self.path, "ab") as file:
            file.write(json.dumps(record).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def damaged(path: Path) -> ArtifactError:
    """What to raise where a journal cannot be read."""
    return ArtifactError(f"{path} is damaged. Pass --restart to begin again.")


def check_identity(folder: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Refuse a folder that holds another synthesis.

    Raises:
        ArtifactMismatch: with the first difference.
    """
    if there != here:
        raise ArtifactMismatch(
            f"{folder} holds images of another generator or other settings "
            f"({first_difference(there, here)}). {REPLACE}"
        )


def to_record(outcomes: Sequence[Sample | Rejected], seconds: float) -> dict[str, Any]:
    """A batch as a line of the journal."""
    return {"seconds": seconds, "drawn": [outcome._asdict() for outcome in outcomes]}


def from_record(record: Mapping[str, Any]) -> tuple[list[Sample | Rejected], float]:
    """The reverse of :func:`to_record`.

    Raises:
        KeyError: it is no such record; so are the others.
        TypeError: as said.
        ValueError: as said.
    """
    drawn = [Rejected(**each) if "why" in each else Sample(**each) for each in record["drawn"]]
    for outcome in drawn:
        for name, kind in get_type_hints(type(outcome)).items():
            (known,) = {*(get_args(kind) or (kind,))} - {NoneType}  # None is of older tables alone
            if type(getattr(outcome, name)) is not known:  # True is no number here
                raise TypeError(name)
        if isinstance(outcome, Sample):
            for patch_id in (outcome.patch_id, outcome.thumb_id):
                if patch_id is None or not 0 <= patch_id <= MAX_ID:
                    raise ValueError("patch_id")
    seconds = float(record["seconds"])
    if not 0 <= seconds < math.inf:
        raise ValueError("seconds")
    return drawn, seconds
