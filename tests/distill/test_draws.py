"""The order of a synthesis: who is drawn next, what file it becomes, and what a stop leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srprune.core.errors import ArtifactError, ArtifactMismatch, InputError
from srprune.distill.config import SynthesiseConfig
from srprune.distill.draws import (
    TRIES,
    Draw,
    Draws,
    Journal,
    Rejected,
    from_record,
    spread,
    to_record,
)
from srprune.distill.provenance import REPLACE, Sample
from srprune.selection.rule import portion


def kept(draws: Draws, draw: Draw) -> Sample:
    return Sample(
        draws.image_name(draw.category), *draw, "c0", 5, False, 0.25, 10.0, False, 7, True, 0.5
    )


def finish(counts: list[int], batch: int, bad: set[Draw]) -> Draws:
    """A whole synthesis in which some images are blank."""
    draws = Draws(counts)
    while wanted := draws.next(batch):
        assert len(wanted) <= batch
        for draw in wanted:
            draws.add(Rejected(*draw, "black") if draw in bad else kept(draws, draw))
    return draws


def test_as_many_images_as_a_training_of_that_ratio_wants() -> None:
    """0.29 is 29/100: its nearest double times 50 is just below 14.5."""
    assert sum(spread(SynthesiseConfig(ratio=0.29), 50, 3)) == portion(0.29, 50) == 15


def test_files_go_round_the_categories() -> None:
    draws = finish([2, 2, 1], 2, set())
    assert [(sample.image, sample.number) for sample in draws.kept] == [
        ("00000_c0.png", 0),
        ("00001_c1.png", 0),
        ("00002_c2.png", 0),
        ("00003_c0.png", 1),
        ("00004_c1.png", 1),
    ]


def test_a_rejected_image_is_replaced_by_the_next_of_its_category() -> None:
    draws = finish([2, 2], 3, {Draw(0, 0), Draw(0, 2)})
    assert sorted((sample.image, sample.number) for sample in draws.kept) == [
        ("00000_c0.png", 1),
        ("00001_c1.png", 0),
        ("00002_c0.png", 3),
        ("00003_c1.png", 1),
    ]
    assert draws.reasons == {"black": 2}


@given(
    st.integers(1, 4),
    st.integers(1, 12),
    st.integers(1, 9),
    st.sets(st.builds(Draw, st.integers(0, 3), st.integers(0, 9)), max_size=12),
)
def test_no_batch_changes_a_file(categories: int, total: int, batch: int, bad: set[Draw]) -> None:
    each, more = divmod(total, categories)
    counts = [each + (category < more) for category in range(categories)]
    one, other = finish(counts, 1, bad), finish(counts, batch, bad)
    assert sorted(one.kept) == sorted(other.kept)
    assert sorted(one.rejected) == sorted(other.rejected)
    assert len({sample.image for sample in one.kept}) == total
    places = [int(sample.image[:5]) for sample in sorted(one.kept)]
    assert places == list(range(total))
    assert [sample.category for sample in sorted(one.kept)] == [i % categories for i in places]


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_a_category_that_stays_blank_is_given_up(batch: int) -> None:
    bad = {Draw(1, number) for number in range(1, 1000)}
    with pytest.raises(InputError) as caught:
        finish([2, 2], batch, bad)
    tries = 2 * TRIES
    assert str(caught.value) == (
        f"category 1 gave 1 of 2 images in {tries} tries ({tries - 1} black). Train the generator "
        "longer, or ask for another guidance or seed. That makes another set: add --restart, or "
        "another --name; with study, --edited."
    )


@pytest.mark.parametrize(
    ("why", "remedy"),
    [
        ("constant", r"Train the generator longer, or"),
        ("not finite", r"Ask for less guidance, or train .* lower optimizer\.lr\."),
        ("near-copy", r"train it on more windows or for fewer steps, or keep near-copies"),
    ],
)
def test_the_remedy_is_for_what_happened_most(why: str, remedy: str) -> None:
    draws = Draws([1])
    for number in range(TRIES):
        draws.add(Rejected(0, number, why if number else "black"))
    with pytest.raises(InputError, match=rf"\(1 black, 19 {why}\)\. .*{remedy}"):
        draws.next(1)


@pytest.mark.parametrize(
    ("config", "counts"),
    [
        (SynthesiseConfig(per_category=10), [10] * 7),
        (SynthesiseConfig(ratio=0.0068), [10] * 7),  # of OST's 10,324, as in the paper
        (SynthesiseConfig(ratio=0.0007), [1] * 7),  # 7.2
        (SynthesiseConfig(ratio=0.001), [2, 2, 2, 1, 1, 1, 1]),  # 10.3
        (SynthesiseConfig(ratio=0.0002), [1, 1, 0, 0, 0, 0, 0]),  # 2.1
    ],
)
def test_images_are_spread_evenly(config: SynthesiseConfig, counts: list[int]) -> None:
    assert spread(config, 10_324, 7) == counts


def test_a_ratio_of_no_image() -> None:
    with pytest.raises(InputError, match=r"^ratio 0\.001 of 400 patches is no image\. Choose a"):
        spread(SynthesiseConfig(ratio=0.001), 400, 7)
    assert sum(spread(SynthesiseConfig(ratio=0.00125), 400, 7)) == 1  # half is rounded up


def outcomes() -> list[Sample | Rejected]:
    draws = Draws([2])
    return [kept(draws, Draw(0, 0)), Rejected(0, 1, "constant")]


def test_what_was_drawn_is_remembered(tmp_path: Path) -> None:
    identity = {"seed": 0, "parents": {"generator": "beef"}}
    journal = Journal(tmp_path / "drawn.jsonl")
    assert journal.open(identity) == []
    journal.add(to_record(outcomes(), 1.5))
    (record,) = journal.open(identity)
    assert from_record(record) == (outcomes(), 1.5)


def test_a_line_that_was_cut_off_is_forgotten(tmp_path: Path) -> None:
    identity = {"seed": 0}
    journal = Journal(tmp_path / "drawn.jsonl")
    journal.open(identity)
    journal.add(to_record(outcomes(), 1.0))
    whole = journal.path.read_bytes()
    journal.add(to_record(outcomes(), 2.0))
    longer = journal.path.read_bytes()
    for end in range(len(whole), len(longer)):
        journal.path.write_bytes(longer[:end])
        assert len(journal.open(identity)) == 1
        assert journal.path.read_bytes() == whole
    journal.add(to_record(outcomes(), 2.0))
    assert len(journal.open(identity)) == 2
    journal.path.write_bytes(whole[:5])  # not even the first line
    assert journal.open(identity) == []
    assert json.loads(journal.path.read_text()) == identity


def test_the_journal_of_another_synthesis(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "drawn.jsonl")
    journal.open({"seed": 0, "parents": {"generator": "beef"}})
    with pytest.raises(ArtifactMismatch) as caught:
        journal.open({"seed": 1, "parents": {"generator": "beef"}})
    assert str(caught.value) == (
        f"{tmp_path} holds images of another generator or other settings (seed 0 there, 1 asked "
        f"for). {REPLACE}"
    )


@pytest.mark.parametrize("content", [b"[]\n[", b"nonsense\n", b'[1]\n{"a": 1}\n', b"\xff\n"])
def test_a_damaged_journal(content: bytes, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "drawn.jsonl")
    journal.path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"is damaged\. Pass --restart"):
        journal.open({"seed": 1})
