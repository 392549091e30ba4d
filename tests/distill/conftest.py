"""A workspace with an untrained generator, made once a module and copied for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from srprune.core.workspace import Workspace
from tests.distill.untrained import make_workspace


@pytest.fixture(scope="module")
def workspace_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("made")).root


@pytest.fixture
def workspace(workspace_once: Path, tmp_path: Path) -> Workspace:
    return Workspace(shutil.copytree(workspace_once, tmp_path / "workspace"))
