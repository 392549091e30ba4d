"""Every run of a study as CSV: what the means were taken over, for statistics of one's own."""

from __future__ import annotations

import csv
import io

from srprune.core.findings import Findings
from srprune.reporting.study import words


def runs_csv(findings: Findings) -> str:
    """A line for each finished run, benchmark and metric, under a header.

    Runs that diverged or are still to come have no line; report.csv names them.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    # with a prefix: an axis may be called as one of the other columns
    axes = [f"axis_{axis}" for axis in findings.axes]
    facts = ["scale", "rule", "score", "ratio", "offset", "steps"]
    writer.writerow(
        ["study", "protocol", *axes, *facts, "seed", "benchmark", "num_images", "metric", "value"]
    )
    for _, rows in words.groups(findings):
        for row in rows:
            steps = row.cost.steps if row.cost else ""
            own = (row.scale, row.rule, row.score, row.ratio, row.offset, steps)
            levels = [row.levels[axis] for axis in findings.axes]
            for (benchmark, metric), finding in row.findings.items():
                about = (benchmark, findings.benchmarks[benchmark], metric)
                for seed, value in finding.by_seed.items():
                    # 10 digits, as in report.csv: more is noise of the arithmetic
                    figure = (seed, *about, f"{value:.10g}")
                    writer.writerow([findings.name, findings.protocol, *levels, *own, *figure])
    return text.getvalue()
