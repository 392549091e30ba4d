"""Every figure of a study as CSV: a line for each row, benchmark and metric, all digits."""

from __future__ import annotations

import csv
import io
from typing import Any

from srprune.core.findings import Contrast, Difference, Findings, Key, Row
from srprune.reporting.study import words
from srprune.reporting.study.sources import other_ssim
from srprune.reporting.study.words import PSNR, SSIM

OURS = "gaussian 11x11"
OTHERS = "uniform 7x7"


def csv_text(findings: Findings) -> str:
    """The lines, under a header.

    A row without a finished seed has one line without benchmark, which tells what is missing.
    A number that is not there is empty.
    """
    lines = [
        line for _, rows in words.groups(findings) for row in rows for line in _lines(findings, row)
    ]
    lines += [line for asked in findings.contrasts for line in _contrast(findings, asked)]
    lines += [
        _bicubic(findings, scale, (benchmark, metric), value)
        for (scale, benchmark, metric), value in findings.bicubic.items()
    ]
    header = dict.fromkeys(name for line in lines for name in line)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(header), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _lines(findings: Findings, row: Row) -> list[dict[str, Any]]:
    facts: dict[str, Any] = {"study": findings.name, "protocol": findings.protocol}
    # with a prefix: an axis may be called as one of the columns below
    facts |= {f"axis_{axis}": row.levels[axis] for axis in findings.axes}
    facts |= {
        "scale": row.scale,
        "rule": row.rule,
        "score": row.score,
        "settings": row.settings,
        "ratio": row.ratio,
        "offset": row.offset,
    }
    after: dict[str, Any] = {
        "seeds": " ".join(map(str, row.seeds)),
        "missing": " ".join(map(str, row.missing)),
        "diverged": "; ".join(f"{run.seed}: {run.reason}" for run in row.diverged),
    }
    cost = row.cost
    after |= {
        "num_patches": cost and cost.num_patches,
        "num_bytes": cost and cost.num_bytes,
        "steps": cost and cost.steps,
        "num_visited": cost and cost.num_visited,
        "seconds": cost and cost.seconds,
        "joules": cost and cost.joules,
        "flops_share": cost and cost.flops_share,
        "restore_s": cost and cost.restore_s,
        "set_s": cost and cost.set_s,
    }
    keys: list[Key | None] = list(row.findings) or [None]
    return [_rounded(facts | _figures(findings, row, key) | after) for key in keys]


def _figures(findings: Findings, row: Row, key: Key | None) -> dict[str, Any]:
    finding = row.findings[key] if key is not None else None
    benchmark, metric = key or ("", "")
    own = finding and finding.value
    values: dict[str, Any] = {
        "benchmark": benchmark,
        "num_images": findings.benchmarks.get(benchmark),
        "metric": metric,
        "mean": own and own.mean,
        "sd": own and own.sd,
        "n": own.n if own else 0,
        "low": own and own.interval and own.interval[0],
        "high": own and own.interval and own.interval[1],
    }
    pairs = {
        "baseline": finding.to_baseline if finding else None,
        "control": finding.to_control if finding else None,
    }
    for name, difference in pairs.items():
        values |= {
            f"{what}_{name}": v for what, v in _difference(difference, metric, findings).items()
        }
    paper = finding.paper if finding else None
    other = key is not None and metric == SSIM and other_ssim(row, key)
    values["paper"] = paper
    values["paper_ssim"] = "" if paper is None or metric == PSNR else OTHERS if other else OURS
    comparable = paper is not None and own is not None and not other
    values["ours_minus_paper"] = (
        own.mean - paper if comparable and own and paper is not None else None
    )
    return values


def _difference(found: Difference | None, metric: str, findings: Findings) -> dict[str, Any]:
    """What is said of a difference; all empty where there is none."""
    own = found and found.over_seeds
    told = words.verdict(found, metric, findings.margin_db) if found else ""
    return {
        "delta": own and own.mean,
        "delta_sd": own and own.sd,
        "pairs": own and own.n,
        "delta_low": own and own.interval and own.interval[0],
        "delta_high": own and own.interval and own.interval[1],
        "delta_low_images": found and found.over_images and found.over_images[0],
        "delta_high_images": found and found.over_images and found.over_images[1],
        "p": found and found.p,
        "p_adjusted": found and found.p_adjusted,
        "p_equivalent": found and found.p_equivalent,
        "verdict": found.verdict.value if found and found.over_seeds.n > 1 else "",
        "told": told,
    }


def _contrast(findings: Findings, asked: Contrast) -> list[dict[str, Any]]:
    start = {"study": findings.name, "protocol": findings.protocol}
    start |= {f"axis_{axis}": name for axis, name in asked.levels.items()}
    start |= {f"axis_{findings.compare}": asked.level}
    start |= {"contrast": asked.name, "contrast_to": asked.other}
    return [
        _rounded(
            start
            | {"benchmark": benchmark, "num_images": findings.benchmarks.get(benchmark)}
            | {"metric": metric}
            | {f"{what}_contrast": v for what, v in _difference(one, metric, findings).items()}
        )
        for (benchmark, metric), one in asked.differences.items()
    ]


def _bicubic(findings: Findings, scale: int, key: Key, value: float) -> dict[str, Any]:
    benchmark, metric = key
    line = {"study": findings.name, "protocol": findings.protocol, "scale": scale}
    line |= {"rule": "bicubic", "benchmark": benchmark, "metric": metric, "mean": value}
    return _rounded(line | {"num_images": findings.benchmarks.get(benchmark)})


def _rounded(line: dict[str, Any]) -> dict[str, Any]:
    """Floats in 10 digits: more is noise of the arithmetic; None becomes empty."""
    return {
        name: float(f"{value:.10g}") if isinstance(value, float) else value
        for name, value in line.items()
    }
