"""Finding config files: as given, in ``configs/``, or among those that the package carries."""

from __future__ import annotations

from pathlib import Path

import srprune
from srprune.core.errors import MissingArtifact
from srprune.core.names import near


def find_config(name: str) -> Path:
    """The file of a config.

    Args:
        name: a path, or the name of a file in ``configs/`` or in the package.

    Raises:
        MissingArtifact: it is nowhere; the message lists what there is.
    """
    places = [Path(name), *(folder / name for folder in _folders())]
    for place in places:
        if place.is_file():
            return place
    known = known_configs()
    close = near(name, known)
    hint = f" Did you mean: {close}?" if close else ""
    raise MissingArtifact(f"there is no config {name}.{hint} Known: {', '.join(known) or 'none'}.")


def known_configs() -> list[str]:
    """Names of all config files that are found without a path."""
    return sorted({file.name for folder in _folders() for file in folder.glob("*.yaml")})


def _folders() -> list[Path]:
    package = Path(srprune.__file__).parent  # configs lie inside a wheel, beside a checkout
    return [Path("configs"), package / "configs", package.parent / "configs"]
