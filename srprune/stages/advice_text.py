"""An advice, and the plan of a search, for people: aligned text and Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from srprune.reporting.tables import align, pipes

Facts = Mapping[str, Any]
_SIDES = "<>><<"


def plan_lines(facts: Facts) -> list[str]:
    """The plan of a search, before anything is run."""
    rungs = [
        f"{rung['runs']} runs of {rung['steps']:,} steps"
        + (f" (at most; seeds {_listed(facts['seeds'])})" if rung is facts["rungs"][-1] else "")
        for rung in facts["rungs"]
    ]
    return [
        f"{facts['model']} x{facts['scale']}, {facts['num_candidates']} core-sets and the full set",
        f"held out: {facts['held_patches']:,} of {facts['num_patches']:,} patches, "
        f"{len(facts['held_out'])} images ({_listed(facts['held_out'])}); "
        f"{facts['num_measured']} patches of them are measured",
        *(f"rung {number}: {rung}" for number, rung in enumerate(rungs, start=1)),
        f"cost: at most {facts['cost_steps']:,} steps, {facts['cost_times']:.1f} times one "
        f"training of {facts['steps']:,}",
        *(f"note: {note}" for note in facts["notes"]),
    ]


def advice_text(facts: Facts) -> str:
    """An advice for the terminal."""
    blocks = [facts["sentence"], *(_saving(facts))]
    for title, table in _tables(facts):
        blocks.append("\n".join([title, *align(table, _SIDES)]))
    blocks.append("\n".join(f"note: {note}" for note in facts["notes"]))
    blocks.append(_cost(facts))
    blocks.append("\n".join([_snippet(facts), *facts["commands"]]))
    return "\n\n".join(blocks)


def advice_markdown(facts: Facts) -> str:
    """An advice as a page."""
    lines = [f"# Advice for {facts['steps']:,} steps", "", facts["sentence"], ""]
    for saving in _saving(facts):
        lines += [saving, ""]
    lines += ["```yaml", _snippet(facts), "```", "", *(f"    {each}" for each in facts["commands"])]
    for title, table in _tables(facts):
        lines += ["", f"## {title}", "", *pipes(table, _SIDES)]
    lines += ["", "## Notes", "", *(f"- {note}" for note in facts["notes"]), f"- {_cost(facts)}"]
    return "\n".join(lines) + "\n"


def _tables(facts: Facts) -> list[tuple[str, list[list[str]]]]:
    """Every rung: a title and a table, the best first."""
    *short_rungs, last = facts["rungs"]
    tables = []
    for number, rung in enumerate(short_rungs, start=1):
        rows = [
            [*_row(line, facts), "goes on" if line["goes_on"] else _of_the_full_set(line)]
            for line in _best_first(rung["core_sets"])
        ]
        head = ["core-set", "patches", "PSNR-Y", "vs full, dB", ""]
        title = f"Rung {number}: {rung['steps']:,} steps, seed {_listed(rung['seeds'])}"
        tables.append((title, [head, *rows]))
    compared = {each["core_set"]: each for each in facts["compared"]}
    rows = []
    for line in _best_first(last["core_sets"]):
        name, patches, psnr, gain = _row(line, facts)
        words = ""
        if found := compared.get(name):
            if interval := found["gain"]["interval"]:
                gain = f"{gain} [{interval[0]:+.3f}, {interval[1]:+.3f}]"
            ahead, images = found["images_ahead"]
            words = f"{found['verdict']}, ahead on {ahead} of {images} images"
        rows.append([name, patches, psnr, gain, words])
    head = ["core-set", "patches", "PSNR-Y", "vs full, dB", "verdict"]
    title = f"Last rung: {last['steps']:,} steps, seeds {_listed(last['seeds'])}"
    return [*tables, (title, [head, *rows])]


def _best_first(lines: Sequence[Facts]) -> list[Facts]:
    """Sorted by PSNR-Y; what diverged comes last."""
    return sorted(lines, key=lambda line: -line["psnr_y"] if line["psnr_y"] is not None else 0.0)


def _row(line: Facts, facts: Facts) -> list[str]:
    psnr, gain = line["psnr_y"], line["to_full"]
    shown = "diverged" if psnr is None else f"{psnr:.3f}"
    full = line["core_set"] == "full"
    return [
        line["core_set"],
        f"{line['num_patches']:,}",
        shown,
        "" if full or gain is None else f"{gain:+.3f}",
    ]


def _of_the_full_set(line: Facts) -> str:
    return "always" if line["core_set"] == "full" else "dropped"


def _saving(facts: Facts) -> list[str]:
    """What the core-set stores; nothing where all is kept."""
    saves = facts["saves"]
    if saves["num_patches"] == saves["of_patches"]:
        return []
    return [
        f"It keeps {saves['num_patches']:,} of {saves['of_patches']:,} patches; in the search, "
        f"{saves['patch_share']:.0%} of the patches were {saves['byte_share']:.0%} of the bytes."
    ]


def _cost(facts: Facts) -> str:
    cost, seconds = facts["cost"], facts.get("header", {}).get("made", {}).get("run_seconds")
    took = f", {seconds:,.0f} s of training and measuring" if seconds is not None else ""
    return (
        f"cost: {cost['runs']} runs, {cost['steps']:,} steps, {cost['times']:.1f} times one "
        f"training of {facts['steps']:,}{took}."
    )


def _snippet(facts: Facts) -> str:
    """``pruning`` as it stands in a config."""
    return "pruning: {" + ", ".join(f"{k}: {v}" for k, v in facts["pruning"].items()) + "}"


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
