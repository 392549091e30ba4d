"""``srprune advise`` as a user types it, and the commands that it ends with."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from srprune.cli.main import cli as program
from srprune.core.errors import UserError

SMALL = (
    *("--config", "fsrcnn_x2.yaml", "--set", "batch=2", "--set", "lr_crop=12"),
    *("--ratio", "0.5", "--offset", "0", "--score", "laplacian", "--rung", "0.5", "--seeds", "2"),
    *("--steps", "4", "--device", "cpu"),
)

Run = Callable[..., str]


@pytest.fixture
def run(prepared: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Give the command in the folder of the workspace; what it prints."""
    monkeypatch.chdir(prepared.parent)

    def of(*arguments: object) -> str:
        capsys.readouterr()
        program.main(["advise", *map(str, arguments)], standalone_mode=False)
        return capsys.readouterr().out

    return of


def test_a_dry_run_tells_the_price_and_writes_nothing(run: Run, prepared: Path) -> None:
    before = sorted(prepared.rglob("*"))
    said = run("--config", "fsrcnn_x2.yaml", "--steps", "800", "--set", "lr_crop=12", "--set",
               "batch=2", "--dry-run")  # fmt: skip
    assert "fsrcnn x2, 28 core-sets and the full set" in said
    assert "held out: " in said
    assert "rung 1: 29 runs of 100 steps" in said
    assert "rung 4: 9 runs of 800 steps (at most; seeds 1, 2, 3)" in said
    assert "cost: at most 13,900 steps, 17.4 times one training of 800" in said
    assert "note: the pruning of the config is not used" in said
    plan = json.loads(run(*SMALL, "--dry-run", "--json"))
    assert plan["candidates"] == ["random_r0.50", "des_r0.50__laplacian"]
    assert plan["rungs"] == [{"steps": 2, "runs": 3}, {"steps": 4, "runs": 6}]
    assert plan["cost_steps"] == 30
    assert sorted(prepared.rglob("*")) == before


def test_a_search_ends_with_an_answer_and_commands_that_work(
    run: Run, prepared: Path, cli: Callable[..., object], unfinished: Callable[[Path], list[str]]
) -> None:
    said = run(*SMALL)
    assert "rung of 2 steps: 3 runs, 1 core-set goes on; 24 steps ahead" in said
    assert "\nTrain on " in said
    assert "Rung 1: 2 steps, seed 0" in said
    assert "Last rung: 4 steps, seeds 1, 2" in said
    assert "95% interval" in said
    assert "below bicubic: 4 steps tell how fast a network starts" in said
    assert "Benchmarks were not touched." in said
    assert "advice: workspace/advice/fsrcnn_x2__4.json" in said
    assert unfinished(prepared) == []
    facts = json.loads(run(*SMALL, "--json"))
    assert facts["sentence"] in said
    assert facts["advice"] == "workspace/advice/fsrcnn_x2__4.json"
    seen = cli("inspect", facts["advice"]).stdout
    assert seen.startswith(f"Advice {facts['header']['fingerprint']}")
    assert facts["sentence"] in seen
    assert run(*SMALL).endswith(said[said.index("\nTrain on ") :])
    for command in facts["commands"]:
        assert command in said
        program, verb, *arguments = shlex.split(command)
        assert program == "srprune"
        quick = ("--set", "validation.benchmark=null") if verb == "train" else ()
        cli(verb, *arguments, *quick)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--ratio", "1"), "--ratio is 1; it must be above 0 and below 1"),
        (("--offset", "-0.1"), "--offset is -0.1; it must be at least 0"),
        (("--rung", "0.25"), "rungs are shares of the steps that rise"),
        (("--steps", "1"), "--steps is 1, too few for rungs of 0.5"),
        (("--set", "batch=40"), "batch is 40, but ratio 0.5 of the"),
        (("--score", "nonsense"), "there is no score table 'nonsense'"),
        (("--score", "ssim"), "Run 'srprune score --method ssim' first"),
        (("--rule", "dess"), "unknown rule 'dess'. Did you mean: des?"),
        (("--rule", "clustered"), "which needs features"),
        (("--set", "lr_crop=99"), "lr_crop is 99 px, but the patches have 24 px"),
        (("--workspace", "nowhere"), "Run 'srprune extract"),
        (("--set", "init.weights=x"), "there are no weights 'x' to start from"),
        (("--device", "tpu"), "tpu"),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_do(
    run: Run, prepared: Path, arguments: tuple[str, ...], said: str
) -> None:
    before = sorted(prepared.parent.rglob("*"))
    with pytest.raises(UserError) as caught:
        run(*SMALL, *arguments)
    message = str(caught.value)
    assert said in message
    assert len(message.splitlines()) == 1
    assert message.endswith((".", "?"))
    assert sorted(prepared.parent.rglob("*")) == before
