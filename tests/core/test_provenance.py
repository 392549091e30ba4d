"""What an artifact says of its making."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from importlib import metadata

from srprune.core.provenance import Stopwatch, version


def test_versions_are_those_installed() -> None:
    assert version("numpy") == metadata.version("numpy")
    assert version("no-such-package-of-ours") == "unknown"


def test_made_is_plain_json_with_time_and_versions() -> None:
    before = datetime.now(UTC)
    watch = Stopwatch()
    time.sleep(0.02)
    made = watch.made()
    assert json.loads(json.dumps(made)) == made
    assert abs(datetime.fromisoformat(made["started"]) - before) < timedelta(seconds=5)
    assert datetime.fromisoformat(made["started"]).utcoffset() == timedelta(0)
    assert 0.02 <= made["seconds"] < 60
    assert made["versions"]["pillow"] == metadata.version("pillow")
    assert made["command"].startswith("srprune")


def test_torch_is_named_only_where_it_was_loaded() -> None:
    code = (
        "import sys; from srprune.core.provenance import Stopwatch; "
        "assert 'torch' not in Stopwatch().made()['versions'] and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
