"""Runs groups of benchmarks and holds their figures against benchmarks/budget.toml.

python -m benchmarks [GROUP ...] [--quick] [--json FILE] [--markdown]
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from benchmarks.harness import machine, report
from benchmarks.harness.bench import Bench, Ray
from benchmarks.harness.contestant import ROOT
from benchmarks.harness.figures import Row, read_budgets

BUDGET = Path(__file__).with_name("budget.toml")
DOCUMENT = ROOT / "docs/internals/performance.md"


def say(text: str) -> None:
    """Progress goes to standard error, the table alone to standard output."""
    print(text, file=sys.stderr, flush=True)


def parse(groups: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(groups)}")
    parser.add_argument("--quick", action="store_true", help="small counts, for a first look")
    parser.add_argument("--json", metavar="FILE", type=Path, help="every round, for programs")
    parser.add_argument(
        "--markdown", action="store_true", help=f"put the table into {DOCUMENT.name} as well"
    )
    arguments = parser.parse_args()
    unknown = [name for name in arguments.groups if name not in groups]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(groups)}")
    if arguments.markdown and (arguments.quick or arguments.groups):
        parser.error("the document is for whole runs: --markdown takes neither --quick nor GROUP")
    return arguments


def describe_machine(ray: Ray, *, quick: bool) -> dict[str, Any]:
    """The machine before anything runs, and the rung that Volant takes on it."""
    described = machine.describe() | {"quick": quick}
    with Bench(ray, quick=quick) as bench:
        status = bench.contestant("volant_side:Status", bench.home()).turn()
    return described | {"rung": status["rung"], "cgroup": status["cgroup"]}


def measure(name: str, ray: Ray, *, quick: bool) -> dict[str, Any]:
    """The figures of one group by key."""
    say(f"{name} ...")
    begun = time.monotonic()
    group = importlib.import_module(f"benchmarks.groups.{name}")
    if not getattr(group, "NEEDS_RAY", False):
        ray.stop()
    with Bench(ray, quick=quick) as bench:
        figures = dict(group.measure(bench))
    say(f"{name}: {time.monotonic() - begun:.0f} s")
    return figures


def measure_all(groups: list[str], ray: Ray, *, quick: bool) -> tuple[dict[str, Any], list[str]]:
    """The figures of several groups, and the names of those groups that failed."""
    measured: dict[str, Any] = {}
    failed = []
    for name in groups:
        try:
            measured |= measure(name, ray, quick=quick)
        except Exception:  # noqa: BLE001  # one group's failure is reported beside the others
            say(f"{name} failed:\n{traceback.format_exc()}")
            failed.append(name)
    return measured, failed


def main() -> int:
    """Run, print, and return 0 when every bar is met."""
    budgets = read_budgets(BUDGET.read_text())
    groups = list(dict.fromkeys(key.partition(".")[0] for key in budgets))
    arguments = parse(groups)
    ray = Ray()
    try:
        facts = describe_machine(ray, quick=arguments.quick)
        say(report.machine_line(facts))
        chosen = arguments.groups or groups
        measured, failed = measure_all(chosen, ray, quick=arguments.quick)
    finally:
        ray.stop()
    rows = [
        Row(key=key, budget=budget, figure=measured[key])
        for key, budget in budgets.items()
        if key in measured
    ]
    print(report.machine_line(facts), report.text_table(rows), sep="\n\n")
    print(report.summary(rows, failed))
    if arguments.json:
        arguments.json.write_text(json.dumps(report.as_json(facts, rows, failed), indent=1) + "\n")
    if arguments.markdown:
        content = f"{report.machine_line(facts)}.\n\n{report.markdown_table(rows)}"
        document = DOCUMENT.read_text()
        DOCUMENT.write_text(report.put_between_marks(document, content))
    return 1 if failed or any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
