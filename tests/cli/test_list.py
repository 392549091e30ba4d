"""``list``: the names that there are, a line about each, without torch."""

from __future__ import annotations

import json
import re
from inspect import isfunction

import pytest

from srprune.cli.list_names import LISTS
from srprune.core.explained import explained, first_comment, first_line
from srprune.core.registry import Table
from srprune.exports import EXPORTS
from srprune.models import MODELS
from srprune.scoring import SCORERS
from srprune.selection import RULES
from srprune.training import LOSSES
from srprune.wbsr import ROUTERS


def test_list_tells_the_names_and_a_line_about_each(cli):
    lines = cli("list", "rules").stdout.splitlines()
    assert [line.split()[0] for line in lines] == sorted(RULES)
    names = json.loads(cli("list", "rules", "--json").stdout)
    assert list(names) == sorted(RULES)
    for line, (name, about) in zip(lines, names.items(), strict=True):
        assert line.split(None, 1) == [name, about]


@pytest.mark.parametrize(
    ("what", "name", "said"),
    [
        ("scorers", "laplacian", "Laplacian"),
        ("scorers", "bicubic", "MSE of bicubic interpolation"),
        ("rules", "des", "hardest"),
        ("routers", "edge_psnr", "PSNR each subnet reaches, by edge score"),
        ("exports", "basicsr", "BasicSR"),
        ("exports", "hf", "Hugging Face image folder: train/metadata.jsonl"),
        ("exports", "list", "without pixels"),
        ("exports", "webdataset", "Tar shards"),
        ("benchmarks", "photos", "4 images"),
        ("benchmarks", "set5", "Set5, 5 images: Bevilacqua"),
        ("datasets", "div2k", "DIV2K: "),
        ("configs", "fsrcnn_x2.yaml", "Dong et al., ECCV 2016"),
    ],
)
def test_the_lines_say_what_a_name_stands_for(what, name, said):
    assert said in LISTS[what]()[name]


@pytest.mark.parametrize("what", LISTS)
def test_every_name_has_a_line_about_it(what):
    for name, about in LISTS[what]().items():
        assert len(about.split()) >= 3, name
        assert "\n" not in about


@pytest.mark.parametrize("what", ["scorers", "rules", "routers", "exports"])
def test_no_two_names_have_the_same_line(what):
    lines = list(LISTS[what]().values())
    assert [line for line in lines if lines.count(line) > 1] == []


def test_list_models_tells_their_facts(cli):
    """Published: 12,809 parameters, and SwinIR's 11.8M; RCAN's pooling sees the whole image."""
    head, *lines = cli("list", "models").stdout.splitlines()
    assert head.split()[:3] == ["model", "parameters", "gflops"]
    rows = {line.split()[0]: line for line in lines}
    assert "12,809" in rows["fsrcnn"] and "Y, LR" in rows["fsrcnn"]
    assert " all " in rows["rcan"]
    facts = json.loads(cli("list", "models", "--json").stdout)
    assert [fact["model"] for fact in facts] == list(rows) == sorted(MODELS)


@pytest.mark.parametrize(
    "table", [MODELS, SCORERS, RULES, ROUTERS, LOSSES, EXPORTS], ids=lambda table: table.kind
)
def test_the_line_is_the_docstring_of_what_the_name_stands_for(table: Table):
    for name, line in explained(table).items():
        found = table.load(name)
        if isinstance(found, type) or isfunction(found):
            text = (found.__doc__ or "").strip().splitlines()[0]
            assert line == re.sub(":[a-z]+:|`", "", text), name


SOURCE = '''"""About the module."""

def choose():
    """Chooses ``one`` of :func:`a.b`."""

class Plain: ...

made = call(choose, 3)
named = call(rule=choose)
below = call(choose)
"""Said below.

And more.
"""
value = 3
'''


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("choose", "Chooses one of a.b."),
        ("Plain", "About the module."),
        ("made", "Chooses one of a.b."),
        ("named", "Chooses one of a.b."),
        ("below", "Said below."),
        ("value", "About the module."),
        ("elsewhere", "About the module."),
    ],
)
def test_objects_are_explained_without_being_imported(tmp_path, monkeypatch, name, line):
    (tmp_path / f"explained_{name}.py").write_text(SOURCE)  # 'call' does not exist: never run
    monkeypatch.syspath_prepend(tmp_path)
    assert first_line(f"explained_{name}:{name}") == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("# A net.\n# More.\nmodel: x\n", "A net."),
        ("# A net on\n# two lines. And\nmodel: x\n", "A net on two lines. And"),
        ("# Do this:\n# srprune run\n", "Do this"),
        ("model: x\n# no head\n", ""),
        ("", ""),
    ],
)
def test_a_config_is_explained_by_its_first_comment(tmp_path, text, line):
    (tmp_path / "c.yaml").write_text(text)
    assert first_comment(tmp_path / "c.yaml") == line
