"""What the logs of a run tell: columns, and whether it lost its way."""

from __future__ import annotations

import csv
from pathlib import Path

from srprune.core.config import TrainConfig
from srprune.core.errors import ArtifactError
from srprune.studies.divergence import lost_its_way


def column(path: Path, name: str) -> list[tuple[int, float]]:
    """(step, value) of a log; empty where there is none.

    Raises:
        ArtifactError: it is damaged.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [(int(row["step"]), float(row[name])) for row in csv.DictReader(file)]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{path} is damaged: not all its rows have a step and a number under '{name}'. Delete "
            "it, if you can do without; the run is kept."
        ) from error


def lost(run: Path, config: TrainConfig, steps: int) -> str | None:
    """Whether a finished run lost its way without a NaN, and how; None where it did not.

    Args:
        run: its folder.
        config: of its training.
        steps: that it got.
    """
    if config.loss == "bd":  # it falls through 0, so that its ratios say nothing
        return None
    chosen_anew = column(run / "adaptive.csv", "visited")
    since = chosen_anew[0][0] if chosen_anew else 0
    if config.sampling:  # the second phase draws harder patches on purpose
        since = round(config.sampling.start * steps)
    return lost_its_way(column(run / "log.csv", "loss"), since)
