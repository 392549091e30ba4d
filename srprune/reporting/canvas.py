"""What all figures share: colours, style, and the way into a PNG or PDF file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srprune.core.artifact import atomic_path
from srprune.core.errors import MissingDependency

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can tell apart.
INK, HARD, EASY = "#333333", "#0072B2", "#D55E00"
INNER = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#888888",
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.constrained_layout.w_pad": 0.12,
    "figure.constrained_layout.h_pad": 0.08,
    "text.parse_math": False,
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3, and text stays text
}
DPI = 160
# without version and date, the same figure makes the same file
METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}


@contextlib.contextmanager
def canvas(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure to draw on; it is written, whole or not at all, where nothing is raised.

    Args:
        path: of the file; one that ends in ``.pdf`` is vector graphics, any other a PNG.
        width: inches.
        height: inches.

    Raises:
        MissingDependency: matplotlib is not installed.
        StorageError: the file cannot be written.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependency(
            "the figures need matplotlib. Install it: pip install 'srprune[report]'."
        ) from None
    with matplotlib.rc_context(STYLE), atomic_path(path) as temporary:
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        kind = "pdf" if path.suffix == ".pdf" else "png"
        figure.savefig(temporary, format=kind, dpi=DPI, metadata=METADATA[kind])
