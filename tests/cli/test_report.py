"""``srprune report`` as a user types it: the page, the figures, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srprune.core.error_maps import ErrorMaps
from srprune.core.groups import GroupTable
from srprune.core.patches import PatchIndex
from srprune.core.scores import ScoreTable
from tests.processes import Server, launch

FIGURES = sorted(
    f"{kind}_laplacian.{ending}"
    for kind in ("sorted_scores", "loss_curve", "contact_sheet")
    for ending in ("png", "pdf")
)
PREPARE = """
from srprune.cli.main import cli
for line in ("extract images --size 48 --stride 24", "score --method laplacian",
             "score --method sobel", "select --ratio 0.5 --offset 0.05 --scores laplacian",
             "select --ratio 0.25 --rule asc --scores laplacian",
             "select --ratio 0.5 --rule random"):
    cli.main(line.split(), standalone_mode=False)
"""
REFINED, EASY = "des_r0.50_o0.05__laplacian", "asc_r0.25__laplacian"


@pytest.fixture(scope="session")
def scored_once(server: Server | None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two score tables and three core-sets; no network was trained."""
    folder = tmp_path_factory.mktemp("scored")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b <i>"):
        pixels = rng.integers(0, 255, (96, 144, 3), dtype=np.uint8)
        pixels[:, :72] //= 4
        Image.fromarray(pixels).save(folder / "images" / f"{name}.png")
    child = launch(server, folder, code=PREPARE)
    said = child.communicate(timeout=300)
    assert child.returncode == 0, said
    return folder


@pytest.fixture
def scored(scored_once: Path, tmp_path: Path) -> Path:
    shutil.copytree(scored_once / "workspace", tmp_path / "workspace")
    return tmp_path / "workspace"


def page(path: Path) -> dict:
    text = path.read_text(encoding="utf-8")
    start = text.index('id="data">') + len('id="data">')
    return json.loads(text[start : text.index("</script>", start)])


def test_report_writes_the_page_and_the_figures(cli, scored, unfinished):
    said = cli("report", "--coreset", REFINED, "--coreset", "random_r0.50__seed0").stdout
    assert said.splitlines()[-1].startswith("page: workspace/reports/explorer_laplacian.html (0.")
    reports = scored / "reports"
    assert sorted(path.name for path in reports.iterdir()) == sorted(
        [*FIGURES, "explorer_laplacian.html"]
    )
    for name in FIGURES:
        start = b"%PDF-" if name.endswith("pdf") else b"\x89PNG"
        assert (reports / name).read_bytes().startswith(start), name
    data = page(reports / "explorer_laplacian.html")
    assert [table["name"] for table in data["tables"]] == ["laplacian", "sobel"]
    assert -1 <= data["correlation"][0][1] <= 1
    window, drawn = data["presets"]
    assert (window["table"], window["first"], window["size"]) == (0, 2, 15)
    assert (drawn["table"], drawn["name"]) == (None, "random_r0.50__seed0")
    assert data["options"] == ""
    assert unfinished(scored) == []


def test_another_workspace_another_table_and_json(cli, scored, tmp_path):
    scored.rename(tmp_path / "my work")
    words = ("--scores", "sobel", "--coreset", EASY, "--out", "page.html")
    facts = json.loads(cli("report", "-w", "my work", *words, "--json").stdout)
    assert facts["scores"] == ["sobel", "laplacian"]
    assert facts["page"] == "page.html"
    assert facts["bytes"] == (tmp_path / "page.html").stat().st_size
    assert facts["missing"] == []
    assert len(facts["figures"]) == 6
    data = page(tmp_path / "page.html")
    assert data["options"] == "--workspace 'my work'"
    preset = data["presets"][0]
    assert (preset["rule"], preset["table"]) == ("asc", 1)


def test_what_does_not_fit_is_left_out_and_said(cli, scored):
    tables = scored / "scores"
    # other scores under the name that the core-set was made from: it is no window of these
    (tables / "laplacian.parquet").rename(tables / "other.parquet")
    shutil.copy(tables / "sobel.parquet", tables / "laplacian.parquet")
    (tables / "third.parquet").write_bytes(b"PAR1")
    index = PatchIndex.read(scored / "patches.parquet")
    cells = np.random.default_rng(0).random((len(index), 16, 16), dtype=np.float32)
    scores = ScoreTable.read(tables / "laplacian.parquet")
    parents = {"scores": scores.fingerprint, "patches": index.fingerprint}
    for name in ("laplacian", "other"):
        path = scored / "error_maps" / f"{name}.parquet"
        ErrorMaps.write(path, cells, parents=parents, params={}, made={})
    said = cli("report", "--coreset", REFINED).stderr.splitlines()
    assert len(said) == 2
    assert said[0].startswith("left out: scores third: workspace/scores/third.parquet is not a")
    assert said[1].startswith("left out: error maps of other: ")
    assert "Run 'srprune score --maps" in said[1]
    data = page(scored / "reports" / "explorer_laplacian.html")
    first, other, sobel = data["tables"]
    assert 0 < first["maps"]["low"] < first["maps"]["high"] <= 1
    assert "maps" not in other
    assert "maps" not in sobel
    assert data["presets"][0]["table"] is None


def test_a_table_that_cannot_be_read_is_not_the_first(cli, refused, scored):
    foreign = scored / "scores" / "a.parquet"
    foreign.write_bytes(b"PAR1")
    done = cli("report")
    assert done.stderr.startswith(
        "left out: scores a: workspace/scores/a.parquet is not a readable"
    )
    data = page(scored / "reports" / "explorer_laplacian.html")
    assert [table["name"] for table in data["tables"]] == ["laplacian", "sobel"]
    for name in ("laplacian", "sobel"):
        shutil.copy(foreign, scored / "scores" / f"{name}.parquet")
    said = refused("report")
    assert said.startswith("no score table can be shown; scores a: workspace/scores/a.parquet is")
    assert said.endswith(" So it is with all 3 score tables.")


def test_a_page_that_cannot_be_written_asks_for_another_place(refused, scored, tmp_path):
    (tmp_path / "file").touch()
    said = refused("report", "--out", "file/page.html")
    assert said.startswith("cannot write file/page.html: a file stands where a folder must be.")
    assert said.endswith("or choose another --out.")
    (scored / "reports").touch()
    assert refused("report").endswith("or choose another --workspace.")


def test_what_report_refuses(refused, cli, scored):
    assert "there is no score table 'sobl'. Did you mean: sobel?" in refused(
        "report", "--scores", "sobl"
    )
    said = refused("report", "--coreset", "des_r0.50__laplacian")
    assert said.startswith("there is no core-set 'des_r0.50__laplacian'. Did you mean: ")
    assert "Known: asc_r0.25__laplacian, des_r0.50_o0.05__laplacian, random_r0.50__seed0" in said
    assert "Give it a name that ends in .html" in refused("report", "--out", "page.txt")
    assert not (scored / "reports").exists()
    (scored / "pixels" / "hr.u8").unlink()
    assert "Run 'srprune extract'" in refused("report")


def test_report_of_nothing_says_what_comes_first(refused, scored, tmp_path):
    shutil.rmtree(scored / "scores")
    assert "there is no score table yet. Run 'srprune score' first." in refused("report")
    shutil.rmtree(scored)
    assert "Run 'srprune extract IMAGES' first." in refused("report")


def test_groups_alone_are_drawn_without_a_score_table(cli, refused, scored):
    shutil.rmtree(scored / "scores")
    index = PatchIndex.read(scored / "patches.parquet")
    labels_N = np.arange(len(index)) % 3
    parents = {"patches": index.fingerprint}
    GroupTable.write(
        scored / "groups" / "thirds.parquet", labels_N, parents=parents, params={}, made={}
    )
    done = cli("report", "--groups", "thirds")
    assert done.stderr.startswith("left out: the page: there is no score table yet. Run 'srprune")
    assert done.stdout.splitlines() == [
        f"figure: workspace/reports/groups_thirds.{ending}" for ending in ("png", "pdf")
    ]
    facts = json.loads(cli("report", "--groups", "thirds", "--json").stdout)
    assert (facts["page"], facts["bytes"], len(facts["figures"])) == (None, 0, 2)
    assert "no score table yet" in refused("report", "--groups", "thirds", "--out", "page.html")
    said = refused("report", "--groups", "sevenths")
    assert "Known: thirds." in said
    assert said.endswith("and 'srprune distill categorise'.")


def test_report_loads_no_torch(start, scored):
    ask = "from srprune.cli.report import report; import sys; report.main(standalone_mode=False)"
    child = start(code=f"{ask}; print('torch' in sys.modules)", light=True)
    out, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    assert out.splitlines()[-1] == "False"
