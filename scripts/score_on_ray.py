"""Score images of any number in object storage with Ray Data, through srprune's own stages.

    pip install 'srprune[ray]'
    python scripts/score_on_ray.py s3://pool/images s3://pool/scores --scorer srcnn_x2.safetensors
    python scripts/score_on_ray.py s3://pool/images s3://pool/scores --workspace workspace

The first command needs a running cluster (``ray up``, or ``ray start --head`` on one machine), on
all of whose nodes srprune and the file of the scoring model are there. Ray hands out images, few at
a time; each lot goes through 'extract' and 'score' in a folder of its own, and leaves rows of a
folder of Parquet files: image, its content and size, top, left, score. A lost node costs the lots
that it was at. DuckDB and polars read the folder wherever it is.

With --workspace the rows become a patch index and a score table, on which 'srprune select' and
'srprune export --to list' work: they are those that one machine would have written.

Where an image cannot be used, the row has no score, and the reason instead.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.fs
import pyarrow.parquet as pq

from srprune.core.config import ExtractConfig
from srprune.core.errors import ImageError, InputError, UserError
from srprune.core.patches import ImageRecord, PatchIndex
from srprune.core.provenance import Stopwatch
from srprune.core.scores import ScoreTable
from srprune.core.workspace import Workspace
from srprune.stages.extract import ImageSource, extract

LOT = 8  # images that go through the stages together
COLUMNS = {
    "image": pa.string(),
    "image_content": pa.string(),
    "image_height": pa.int32(),
    "image_width": pa.int32(),
    "top": pa.int32(),
    "left": pa.int32(),
    "score": pa.float64(),
    "made": pa.string(),  # parents and params of the score table, as JSON
    "fault": pa.string(),
}


class Score:
    """Turns lots of image files into rows."""

    def __init__(self, settings: dict[str, Any]) -> None:
        import torch

        torch.set_num_threads(1)  # Ray runs one of these a core
        self._settings = settings

    def __call__(self, lot: pa.Table) -> pa.Table:
        """Columns path and bytes -> COLUMNS."""
        files = zip(lot["path"].to_pylist(), lot["bytes"].to_pylist(), strict=True)
        return pa.concat_tables([self._score(path, content) for path, content in files])

    def _score(self, path: str, content: bytes) -> pa.Table:
        from srprune.stages.score import score

        settings = self._settings
        name = path.removeprefix(settings["root"]).lstrip("/")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "images", Path(name).name)
            file.parent.mkdir()
            file.write_bytes(content)
            workspace = Workspace(Path(folder, "workspace"))
            config = ExtractConfig(size=settings["size"], stride=settings["stride"])
            try:
                source = ImageSource(file.parent, [file.name])
                index = extract(source, config, workspace)
            except ImageError as error:
                reason = " ".join(str(error).split()).replace(str(file), name)
                return _rows(image=[name], fault=[reason])
            _, table = score(
                workspace,
                method=settings["method"],
                scale=settings["scale"],
                scorers=[settings["scorer"]] if settings["scorer"] else (),
                device="cpu" if settings["gpus"] == 0 else "cuda",
            )
            (image,) = index.images
            parents = {k: v for k, v in table.header.parents.items() if k != "patches"}
            count = len(table)
            return _rows(
                image=[name] * count,
                image_content=[image.content] * count,
                image_height=[image.height] * count,
                image_width=[image.width] * count,
                top=index.top_N,
                left=index.left_N,
                score=table.scores_N,
                made=[json.dumps([parents, table.header.params], sort_keys=True)] * count,
            )


def _rows(**columns: Any) -> pa.Table:
    """A table of COLUMNS, with nulls where nothing is given."""
    count = len(columns["image"])
    arrays = [pa.array(columns.get(name, [None] * count), kind) for name, kind in COLUMNS.items()]
    return pa.table(arrays, names=list(COLUMNS))


def run(images: str, rows: str, settings: dict[str, Any]) -> None:
    """Score all images below a place into another one."""
    import ray

    system, root = pyarrow.fs.FileSystem.from_uri(_uri(images))
    out, target = pyarrow.fs.FileSystem.from_uri(_uri(rows))
    if out.get_file_info(pyarrow.fs.FileSelector(target, allow_not_found=True)):
        raise InputError(f"{rows} is not empty. Choose another place, or remove what is there.")
    ray.init(address="auto" if not ray.is_initialized() else None, ignore_reinit_error=True)
    ray.data.DataContext.get_current().enable_progress_bars = sys.stderr.isatty()
    found = ray.data.read_binary_files(root, filesystem=system, include_paths=True)
    scored = found.map_batches(
        Score,
        fn_constructor_args=({**settings, "root": root},),
        batch_format="pyarrow",
        batch_size=LOT,
        num_cpus=1,
        num_gpus=settings["gpus"],
        concurrency=(1, settings["processes"]),
    )
    scored.write_parquet(target, filesystem=out)


def collect(rows: str, size: int, stride: int, workspace: Workspace) -> str:
    """Write the patch index and the score table of rows; the name of the table."""
    watch = Stopwatch()
    system, target = pyarrow.fs.FileSystem.from_uri(_uri(rows))
    table = pq.read_table(target, filesystem=system)
    faults = table.filter(pa.compute.is_valid(table["fault"]))
    table = table.filter(pa.compute.is_null(table["fault"]))
    if not len(table):
        raise InputError(f"{rows} holds no score. Is it the folder that scoring has written?")
    table = table.sort_by([(name, "ascending") for name in ("image", "top", "left")])
    makers = table["made"].unique().to_pylist()
    if len(makers) > 1:
        raise InputError(f"{rows} holds scores that were made in {len(makers)} ways. Score again.")
    parents, params = json.loads(makers[0])
    names, first_N, image_N = np.unique(
        table["image"].to_numpy(zero_copy_only=False), return_index=True, return_inverse=True
    )
    facts = table.take(first_N).select(["image_height", "image_width", "image_content"]).to_pylist()
    records = tuple(
        ImageRecord(str(n), f["image_height"], f["image_width"], f["image_content"])
        for n, f in zip(names, facts, strict=True)
    )
    places = (table[name].to_numpy().astype(np.int32) for name in ("top", "left"))
    index = PatchIndex(size, stride, records, image_N.astype(np.int32), *places)
    skipped = dict(zip(faults["image"].to_pylist(), faults["fault"].to_pylist(), strict=True))
    info = {"folder": rows, "plan": "", "skipped": skipped, "same_content": []}
    index = index.write(workspace.patches, made=watch.made(), info=info)
    name = params["method"] + (f"_x{params['scale']}" if "scale" in params else "")
    ScoreTable.write(
        workspace.scores(name),
        table["score"].to_numpy(),
        parents={**parents, "patches": index.fingerprint},
        params=params,
        made=watch.made(),
    )
    print(f"{len(index):,} patches of {len(records):,} images: {workspace.scores(name)}")
    for image, reason in skipped.items():
        print(f"skipped: {image}: {reason}")
    return name


def _uri(place: str) -> str:
    return place if "://" in place else Path(place).resolve().as_uri()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", help="folder, or a URI such as s3://bucket/folder")
    parser.add_argument("rows", help="where the Parquet files go, or are")
    parser.add_argument("--workspace", type=Path, help="collect the rows into it; score nothing")
    parser.add_argument("--method", default="mse")
    parser.add_argument("--scorer", help="weights file, at the same place on all nodes")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--size", type=int, default=480)
    parser.add_argument("--stride", type=int, default=240)
    parser.add_argument("--processes", type=int, default=1000, help="at most so many at a time")
    parser.add_argument("--gpus", type=float, default=0, help="of each process, such as 0.5")
    options = parser.parse_args()
    try:
        if options.workspace:
            workspace = Workspace(options.workspace)
            collect(options.rows, options.size, options.stride, workspace)
        else:
            names = ("method", "scorer", "scale", "size", "stride", "processes", "gpus")
            run(options.images, options.rows, {name: getattr(options, name) for name in names})
    except UserError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
