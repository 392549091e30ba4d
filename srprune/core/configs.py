"""Finding config files: as given, in ``configs/``, or among those that the package carries."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import srprune
from srprune.core.errors import MissingArtifact
from srprune.core.names import near

STUDIES = "studies"

# A key that every file of a kind has and those of no other: what such a file is, and its command.
KINDS = {
    "model": "a training config; give it to 'srprune train --config'",
    "arms": "a run config; give it to 'srprune run'",
    "axes": "a study; give it to 'srprune study'",
    "latents": "a config of a diffusion model; give it to 'srprune distill finetune --config'",
    "synthesise": "a config of a synthesised set; name it under 'distilled' of a run or a study",
}


def find_config(name: str, folder: str = "") -> Path:
    """The file of a config.

    A name that is only in another folder is found too, for the reader to say what kind it is.

    Args:
        name: a path, or the name of a file in ``configs/`` or in the package.
        folder: below those two, such as ``studies``.

    Raises:
        MissingArtifact: it is nowhere; the message lists what there is.
    """
    folders = [folder, *({"", STUDIES} - {folder})]
    places = [Path(name), *(place / name for each in folders for place in _folders(each))]
    for place in places:
        if place.is_file():
            return place
    known = known_configs(folder)
    close = near(name, known)
    hint = f" Did you mean: {close}?" if close else ""
    kind = "study" if folder == STUDIES else "config"
    raise MissingArtifact(f"there is no {kind} {name}.{hint} Known: {', '.join(known) or 'none'}.")


def other_kind(given: Collection[str], known: Collection[str]) -> str | None:
    """What a file is that was given in place of a file of another kind.

    Args:
        given: the keys of the file.
        known: the keys that were expected.

    Returns:
        Words such as ``a study; give it to 'srprune study'``; None where it is of no other kind.
    """
    own = [key for key in KINDS if key in known]
    if not own or any(key in given for key in own):
        return None
    return next((about for key, about in KINDS.items() if key in given), None)


def known_configs(folder: str = "") -> list[str]:
    """Names of all config files that are found without a path."""
    return sorted({file.name for place in _folders(folder) for file in place.glob("*.yaml")})


def _folders(below: str) -> list[Path]:
    package = Path(srprune.__file__).parent  # configs lie inside a wheel, beside a checkout
    places = [Path("configs"), package / "configs", package.parent / "configs"]
    return [place / below for place in places]
