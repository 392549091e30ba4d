"""Checkpoints on disk: everything that an interrupted run needs to go on bit for bit.

The random state is not among it: every step draws from a generator of its own, a function of seed
and step (:mod:`srprune.training.backward`), and so do the batches.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from srprune.core.artifact import atomic_path, canonical, digest, first_difference
from srprune.core.errors import ArtifactError, ArtifactMismatch
from srprune.core.out_of_memory import is_out_of_memory

State = dict[str, Any]
SEAL = 16  # bytes at the end of a file: the digest of all before them


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run, one file each, named after their step.

    Attributes:
        folder: holds nothing else.
        identity: config and inputs of the run as plain values; a checkpoint of others is refused.
        keep: how many of the last ones stay.
    """

    folder: Path
    identity: Mapping[str, Any]
    keep: int = 2

    def files(self) -> list[Path]:
        """All checkpoints, the newest first."""
        return sorted(self.folder.glob("*.pt"), reverse=True)

    def save(self, step: int, state: State) -> None:
        """Write the state after ``step`` steps; a kill leaves the last ones whole."""
        buffer = io.BytesIO()  # torch hides a full disk behind an error of its own
        torch.save({"identity": canonical(dict(self.identity)), "step": step, **state}, buffer)
        path = self.folder / f"{step:09d}.pt"
        with (
            buffer.getbuffer() as content,  # let go before the buffer, which Python 3.13 minds
            atomic_path(path) as temporary,
            open(temporary, "wb") as file,
        ):
            file.write(content)
            file.write(digest(content).encode())
        files = self.files()
        own = files.index(path)  # newer ones were passed over, so they are damaged
        for other in files[:own] + files[own + self.keep :]:
            other.unlink(missing_ok=True)

    def load(self) -> State | None:
        """The newest whole checkpoint, on the CPU; None where there is none.

        An optimizer takes its state to where it wants it: most count their steps on the CPU.

        Raises:
            ArtifactError: there are some, and all of them are damaged.
            ArtifactMismatch: it belongs to another config or other inputs.
        """
        files = self.files()
        for path in files:
            state = _read(path)
            if state is None:
                continue
            here = canonical(dict(self.identity))
            if state["identity"] != here:
                what = first_difference(json.loads(state["identity"]), json.loads(here))
                raise ArtifactMismatch(
                    f"{path} belongs to another run: {what}. Choose another --workspace; or, with "
                    "pretrain, train and distill finetune, another --name, or --restart to throw "
                    "it away; or, with study, --edited."
                )
            return state
        if files:
            raise ArtifactError(
                f"the checkpoint {files[0]} is damaged. Delete {self.folder} and train again."
            )
        return None

    def clear(self) -> None:
        """Remove all of them."""
        for path in self.files():
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()


def _read(path: Path) -> State | None:
    """The content of a file; None if it is damaged. torch itself checks no sums."""
    try:
        whole = path.read_bytes()
        content, seal = whole[:-SEAL], whole[-SEAL:]
        if digest(content).encode() != seal:
            return None
        state: State = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return state
    except Exception as error:  # a broken disk; a foreign pickle makes torch raise nearly anything
        if is_out_of_memory(error):  # an older one would be gone on with
            raise
        return None
