"""The workspace: a folder in which each stage finds what the stage before it left."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from srprune.core.errors import InputError, MissingArtifact

VARIABLE = "SRPRUNE_WORKSPACE"
DEFAULT = Path("workspace")


@dataclass(frozen=True)
class Workspace:
    """Where everything stands; nothing is made by asking for a path."""

    root: Path

    @classmethod
    def resolve(cls, given: Path | None) -> Workspace:
        """The folder given, else that of ``SRPRUNE_WORKSPACE``, else ``./workspace``."""
        return cls(given or Path(os.environ.get(VARIABLE) or DEFAULT))

    @property
    def patches(self) -> Path:
        """The patch index."""
        return self.root / "patches.parquet"

    @property
    def hr_pixels(self) -> Path:
        """Decoded HR pixels, a cache."""
        return self.root / "pixels" / "hr.u8"

    def lr_pixels(self, scale: int) -> Path:
        """LR pixels of one scale, a cache."""
        return self.root / "pixels" / f"lr_x{scale}.u8"

    def scorer(self, name: str) -> Path:
        """Folder of a scoring model, such as ``srcnn_x2``."""
        return self.root / "scorers" / name

    def scores(self, name: str) -> Path:
        """A score table, such as ``mse_x2``."""
        return self.root / "scores" / f"{name}.parquet"

    def error_maps(self, name: str) -> Path:
        """Where the error of a score table is, within each patch; by the table's name."""
        return self.root / "error_maps" / f"{name}.parquet"

    def features(self, name: str) -> Path:
        """A table of features, one vector a patch."""
        return self.root / "features" / f"{name}.parquet"

    def groups(self, name: str) -> Path:
        """The groups that a core-set was chosen from; by the core-set's name."""
        return self.root / "groups" / f"{name}.parquet"

    def coreset(self, name: str) -> Path:
        """A core-set, such as ``des_r0.50_o0.05__mse_x2``."""
        return self.root / "coresets" / f"{name}.parquet"

    def run(self, name: str) -> Path:
        """Folder of a training run."""
        return self.root / "runs" / name

    def generator(self, name: str) -> Path:
        """Folder of a diffusion model that images are synthesised by."""
        return self.root / "generators" / name

    def distilled(self, name: str) -> Path:
        """Folder of a synthesised set; a workspace of its own, with its patch index."""
        return self.root / "distilled" / name

    def results(self, name: str) -> Path:
        """A table of measurements."""
        return self.root / "results" / f"{name}.parquet"

    def study(self, name: str) -> Path:
        """Folder of what a study keeps of its own: its cells and its report."""
        return self.root / "studies" / name

    def at_work(self, run: str) -> Path:
        """Folder that a process holds while it makes a cell of a study; gone afterwards."""
        return self.root / "studies" / ".at_work" / run

    @property
    def reports(self) -> Path:
        """Folder of tables and figures for people."""
        return self.root / "reports"

    def score_tables(self) -> list[Path]:
        """All score tables, sorted by name."""
        return sorted((self.root / "scores").glob("*.parquet"))

    def feature_tables(self) -> list[Path]:
        """All tables of features, sorted by name."""
        return sorted((self.root / "features").glob("*.parquet"))

    def scorers(self) -> list[Path]:
        """Folders of all finished scoring models, sorted by name."""
        return sorted(path.parent for path in self.root.glob("scorers/*/weights.safetensors"))

    def generators(self) -> list[Path]:
        """Folders of all finished generators, sorted by name."""
        return sorted(path.parent for path in self.root.glob("generators/*/generator.safetensors"))

    def runs(self) -> list[Path]:
        """Folders of all finished runs, sorted by name."""
        return sorted(path.parent for path in self.root.glob("runs/*/weights.safetensors"))


def the_one(candidates: list[Path], what: str, option: str, make: str) -> Path:
    """The only candidate there is.

    Args:
        candidates: what was found.
        what: such as ``score table``.
        option: how to name one, such as ``--scores``.
        make: the command that makes one.

    Raises:
        MissingArtifact: there is none; the message names the command.
        InputError: there are several; the message lists them.
    """
    if not candidates:
        raise MissingArtifact(f"there is no {what} yet. Run '{make}' first.")
    if len(candidates) > 1:
        names = ", ".join(
            path.stem if path.suffix == ".parquet" else path.name for path in candidates
        )
        raise InputError(
            f"there are {len(candidates)} {what}s: {names}. Choose one: {option} NAME."
        )
    return candidates[0]


def short(share: float) -> str:
    """A share in file names: two decimals, more only where they are needed."""
    return f"{share:.2f}" if round(share, 2) == share else repr(share)


def coreset_name(
    rule: str,
    ratio: float,
    offset: float,
    scores: str | None,
    seed: int,
    *,
    budget: str | None = None,
    settings: Mapping[str, object] | None = None,
    seeded: bool = False,
) -> str:
    """Name of a core-set: ``des_r0.50_o0.05__mse_x2``; ``random_r0.50__seed0``.

    With all there can be: ``ccs_n8000_o0.10_strata20__mse_x2__seed0``.

    Args:
        rule: that chose it.
        ratio: share of all patches that is kept.
        offset: share that was skipped.
        scores: name of the score table; None for rules that need none.
        seed: of the rule.
        budget: what stands in place of the ratio, such as ``n8000`` or ``2GB``.
        settings: of the rule, where they are not the default.
        seeded: whether the seed has an effect beside the scores; without scores it always has.
    """
    size = budget or f"r{short(ratio)}"
    window = f"{rule}_{size}" + (f"_o{short(offset)}" if offset else "")
    window += "".join(f"_{key}{_in_a_name(value)}" for key, value in (settings or {}).items())
    parts = [window, *([scores] if scores else [])]
    return "__".join([*parts, f"seed{seed}"] if seeded or not scores else parts)


def _in_a_name(value: object) -> str:
    """A setting's value in a file name: text as it is after a dash, lists with dashes."""
    if isinstance(value, (tuple, list)):
        return "-".join(_in_a_name(each) for each in value)
    return f"-{value}" if isinstance(value, str) else str(value)
