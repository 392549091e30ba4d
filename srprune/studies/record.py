"""What a run of a study cost and how it ended, and what a study was when it began."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from srprune.core.artifact import canonical, digest, write_json
from srprune.core.errors import ArtifactError
from srprune.studies.config import ScoreConfig, StudyConfig
from srprune.studies.grid import Cell

State = Literal["finished", "diverged", "stopped"]


@dataclass(frozen=True)
class Record:
    """A run of a study; ``cell.json`` in its folder.

    Attributes:
        state: ``finished``, ``diverged``, or ``stopped`` where it can go on.
        reason: why it diverged.
        steps: optimizer updates.
        num_patches: patches of the core-set; of one that is chosen in training, at any time.
        num_bytes: pixels of all that have to be there, HR and LR, overlaps counted once.
        seconds: of training, over all attempts.
        joules: likewise, of the whole machine; None where nothing counts them.
        device: that it ran on.
        set_seconds: of making the synthesised set that it trains on, which others may share.
        parents: fingerprints of what it was made from, by which a run that diverged is told from
            one of other inputs; None in records of earlier versions.
    """

    state: State
    reason: str
    steps: int
    num_patches: int
    num_bytes: int
    seconds: float
    joules: float | None
    device: str
    set_seconds: float | None = None
    parents: Mapping[str, str] | None = None

    @classmethod
    def read(cls, run: Path) -> Record | None:
        """The record of a run; None where there is none.

        Raises:
            ArtifactError: it is damaged.
        """
        path = run / "cell.json"
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise ArtifactError(f"{path} is damaged. Delete it; the run is kept.") from error

    def write(self, run: Path) -> None:
        """Write ``cell.json``."""
        write_json(run / "cell.json", asdict(self))


@dataclass(frozen=True)
class Edits:
    """How a study differs from what it was when it began; cells by their labels.

    Attributes:
        changed: cells whose run or whose scores are others now: their results are void.
        removed: cells that it no longer has.
        added: new cells.
    """

    changed: tuple[str, ...]
    removed: tuple[str, ...]
    added: tuple[str, ...]

    def lines(self) -> list[str]:
        """A line for each kind of edit, for people."""
        return [
            f"edited since it began: {len(labels)} cells {what}"
            for labels, what in (
                (self.changed, "are other runs now"),
                (self.removed, "are no longer part of it; their runs are kept"),
                (self.added, "are new"),
            )
            if labels
        ]


@dataclass(frozen=True)
class Ledger:
    """The cells of a study; ``study.json`` in its folder.

    Attributes:
        cells: label to the name of the run, with a digest over what its scores are made from.
    """

    cells: Mapping[str, str]

    @classmethod
    def of(cls, study: StudyConfig, cells: Sequence[Cell]) -> Ledger:
        """Of a study as it is now."""
        return cls({cell.label: f"{cell.name} {_inputs(study, cell)}" for cell in cells})

    @classmethod
    def read(cls, folder: Path) -> Ledger | None:
        """Of a study as it was; None where it has not begun.

        Raises:
            ArtifactError: it is damaged.
        """
        path = folder / "study.json"
        try:
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            if not all(isinstance(each, str) and " " in each for each in dict(cells).values()):
                raise ValueError(cells)
            return cls(cells)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{path} is damaged. Delete it; finished runs are kept.") from error

    def write(self, folder: Path) -> None:
        """Write ``study.json``."""
        write_json(folder / "study.json", {"cells": dict(self.cells)})

    def edits(self, now: Ledger) -> Edits:
        """What has changed since."""
        both = [label for label in self.cells if label in now.cells]
        return Edits(
            tuple(label for label in both if self.cells[label] != now.cells[label]),
            tuple(label for label in self.cells if label not in now.cells),
            tuple(label for label in now.cells if label not in self.cells),
        )


def _inputs(study: StudyConfig, cell: Cell) -> str:
    """Over what a cell is made from and its name does not say: patches, scores, weights."""
    score = study.scores.get(cell.score, ScoreConfig(method=cell.score)) if cell.score else None
    return digest(
        study.images,
        canonical(study.extract.model_dump(mode="json")),
        canonical(score.model_dump(mode="json") if score else None),
        *(
            canonical(study.scorers[name].model_dump(mode="json"))
            for name in (score.scorers if score else ())
        ),
        *([cell.config.init.weights] if cell.config.init.weights else []),
        *([canonical(cell.dynamic.model_dump(mode="json"))] if cell.dynamic else []),
        *(
            [canonical(study.distilled[cell.distilled].model_dump(mode="json"))]
            if cell.distilled
            else []
        ),
    )
