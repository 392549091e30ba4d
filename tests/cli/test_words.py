"""What commands say where a newcomer stumbles: names, numbers, and workspaces that changed."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from srprune.cli.list_names import LISTS
from srprune.cli.main import cli as program
from srprune.cli.options import FiniteRange, number_of

SCORE, TRAIN = "score --method sobel", "train --config fsrcnn_x2.yaml"


@pytest.mark.parametrize(
    ("command", "name"),
    [(SCORE, name) for name in ("a/b", "../a", ".a", "", "a/", "..")]
    + [("pretrain", "../a"), (TRAIN, "../a")],
)
def test_a_name_that_leads_out_of_its_folder_is_refused(refused, prepared, command, name):
    before = sorted(prepared.parent.rglob("*"))
    said = refused(*command.split(), "--name", name)
    assert said.startswith(f"Invalid value for '--name': '{name}' cannot be the name of a file")
    assert sorted(prepared.parent.rglob("*")) == before


def test_a_core_set_is_named_as_everywhere_else(cli, refused, prepared, tiny):
    by_name = cli(*tiny.train, "--coreset", tiny.coreset, "--dry-run").stdout
    file = f"workspace/coresets/{tiny.coreset}.parquet"
    assert by_name == cli(*tiny.train, "--coreset", file, "--dry-run").stdout
    assert refused(*tiny.train, "--coreset", "none") == "there is no file none."


def test_other_patches_in_an_old_workspace_are_told(cli, prepared):
    again = ("extract", "images", "--size", "48", "--stride", "24")
    assert "note: " not in cli(*again).stdout
    said = cli("extract", "images", "--size", "24", "--stride", "24").stdout
    assert "note: 4 artifacts in workspace were made from other patches; 'srprune inspect'" in said


def test_a_patch_index_that_cannot_be_read_is_held_against_nothing_else(cli, prepared):
    (prepared / "patches.parquet").write_bytes(b"no table")
    notes = [line for line in cli("inspect").stdout.splitlines() if line.startswith("note: ")]
    assert [note.partition(" is not")[0] for note in notes] == [
        "note: patches/patches: workspace/patches.parquet"
    ]


INTERRUPT = """
import signal, sys
from srprune.cli.main import main
class Ctrl_C:
    def find_spec(name, path=None, target=None):
        if name == f"srprune.cli.{sys.argv[1]}":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Ctrl_C)
main()
"""


@pytest.mark.parametrize(
    ("command", "how"),
    [
        (["train", "--config", "fsrcnn_x2.yaml"], " with --resume"),
        (["pretrain"], " with --resume"),
        (["report"], ""),
    ],
)
def test_after_ctrl_c_resume_is_named_where_it_is_needed(start, command, how):
    child = start(*command, code=INTERRUPT, light=True)
    said = child.communicate(timeout=120)[1].strip()  # the terminal shows ^C before it
    assert said == f"Error: interrupted. Give the same command again{how} to go on."
    assert child.returncode == 130


def test_features_and_groups_are_told_in_words(cli, prepared):
    cli("select", "--rule", "hes", "--ratio", "0.5")
    said = cli("inspect").stdout
    assert "features of 71 patches" in said
    assert "groups of 71 patches" in said
    assert "Table" not in said


def test_where_time_went_is_told_only_where_it_is_known(cli, prepared):
    assert "patches/s\n" in cli("score", "--method", "sobel").stdout
    assert "patches/s: pixels " in cli("score", "--method", "bicubic").stdout


def test_what_can_be_listed_is_told(refused):
    kinds = ", ".join(f"'{kind}'" for kind in ("models", *LISTS))
    assert refused("list", "scorer").startswith(
        f"Invalid value for 'WHAT': 'scorer' is not one of {kinds}."
    )


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (1000, "1,000 images")]
)
def test_one_is_no_plural(number, said):
    assert number_of(number, "image") == said


def test_a_score_table_that_a_rule_does_not_look_at_is_told(cli, prepared):
    choice = ("select", "--ratio", "0.3", "--scores", "mse_x2", "--rule")
    said = cli(*choice, "random").stdout
    assert said.endswith("note: the rule random looks at no scores; mse_x2 was not read\n")
    assert "note: " not in cli(*choice, "des").stdout


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    ("command", "option"),
    [
        (("eval", "bicubic"), "--flops-budget"),
        (("advise", "--config", "fsrcnn_x2.yaml", "--steps", "4"), "--margin"),
    ],
)
def test_numbers_that_are_not_finite_are_refused_at_once(refused, command, option, value):
    said = refused(*command, option, value)
    assert said.startswith(f"Invalid value for '{option}': {value} is no finite number")


def test_every_range_of_numbers_is_a_finite_one():
    def options_of(command: click.Command) -> Iterator[click.Parameter]:
        yield from command.params
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                yield from options_of(command.get_command(context, name) or command)

    ranges = [each.type for each in options_of(program) if isinstance(each.type, click.FloatRange)]
    assert ranges
    assert all(isinstance(each, FiniteRange) for each in ranges)
