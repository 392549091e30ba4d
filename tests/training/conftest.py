"""What tests of the training loop hold other runs against."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder and the weights of a run of 230 steps that nothing interrupted."""
    pytest.importorskip("torch")
    from tests.training.loops import first_pixel, run, srcnn, tensors_of

    folder = tmp_path_factory.mktemp("whole")
    network = srcnn()
    run(network, folder, 230, validate=first_pixel)
    return folder, tensors_of(network)
