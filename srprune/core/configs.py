"""Finding config files: as given, in ``configs/``, or among those that the package carries."""

from __future__ import annotations

from pathlib import Path

import srprune
from srprune.core.errors import MissingArtifact
from srprune.core.names import near

STUDIES = "studies"


def find_config(name: str, folder: str = "") -> Path:
    """The file of a config.

    Args:
        name: a path, or the name of a file in ``configs/`` or in the package.
        folder: below those two, such as ``studies``.

    Raises:
        MissingArtifact: it is nowhere; the message lists what there is.
    """
    places = [Path(name), *(place / name for place in _folders(folder))]
    for place in places:
        if place.is_file():
            return place
    known = known_configs(folder)
    close = near(name, known)
    hint = f" Did you mean: {close}?" if close else ""
    kind = "study" if folder == STUDIES else "config"
    raise MissingArtifact(f"there is no {kind} {name}.{hint} Known: {', '.join(known) or 'none'}.")


def known_configs(folder: str = "") -> list[str]:
    """Names of all config files that are found without a path."""
    return sorted({file.name for place in _folders(folder) for file in place.glob("*.yaml")})


def _folders(below: str) -> list[Path]:
    package = Path(srprune.__file__).parent  # configs lie inside a wheel, beside a checkout
    places = [Path("configs"), package / "configs", package.parent / "configs"]
    return [place / below for place in places]
