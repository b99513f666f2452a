from __future__ import annotations

import ast

from benchmarks.harness.figures import read_budgets
from tests.support import ROOT

BENCHMARKS = ROOT / "benchmarks"


def test_each_group_of_the_budget_is_a_module_and_each_module_a_group() -> None:
    budgets = read_budgets((BENCHMARKS / "budget.toml").read_text())
    modules = {path.stem for path in (BENCHMARKS / "groups").glob("[!_]*.py")}
    assert {key.partition(".")[0] for key in budgets} == modules


def test_programs_that_run_in_containers_know_nothing_of_the_harness() -> None:
    for path in (BENCHMARKS / "apps").glob("*.py"):
        imported = {
            name
            for node in ast.walk(ast.parse(path.read_text()))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert not [name for name in imported if name.startswith("benchmarks")], path


def test_the_plain_script_does_the_work_of_the_example() -> None:
    """What they print is compared at each run; here, that they compute alike."""
    example = (ROOT / "examples/hello.py").read_text()
    plain = (BENCHMARKS / "hello_plain.py").read_text()
    for line in ("return x * x", 'print(f"squaring {x}")', "squared is"):
        assert line in example and line in plain
