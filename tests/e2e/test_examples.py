"""Every example runs through the installed command and says what its docstring promises.

Behaviours 1, 2, 5, 13, 18, 126, 128, 132 and 134 are seen here from the outside.
"""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support import ROOT, run_volant

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = ROOT / "examples"
#: Enough files that several containers are worth it, few enough for a quick test.
FILES_COUNT = 120
#: A file of its own each, or `run.py` in a directory with what else it needs.
NAMES = sorted(
    str(path.relative_to(EXAMPLES)) for path in [*EXAMPLES.glob("*.py"), *EXAMPLES.glob("*/run.py")]
)
#: Examples that build images, and the tests that have a base for them.
BUILT = dict.fromkeys(
    (
        "digit_batches.py",
        "digit_classifier.py",
        "dockerfile/run.py",
        "local_package/run.py",
        "parameter_sweep.py",
        "prepared_index.py",
        "scientific_stack.py",
    ),
    "tests/behaviours/test_bases.py",
)
#: Examples that have tests of their own: for machines that not everybody has, or to be used.
OTHERS = {
    "gpu_inference.py": "tests/behaviours/test_gpus.py",
    "jupyter.py": "tests/behaviours/test_jupyter.py",
}


def _promised(name: str) -> list[str]:
    """The lines behind the first command in an example's docstring, up to the next blank line."""
    docstring = (EXAMPLES / name).read_text().split('"""')[1]
    block = docstring.partition(f"$ volant run examples/{name}\n")[2].partition("\n\n")[0]
    lines = [line.strip() for line in block.splitlines()]
    assert lines, f"{name} promises nothing"
    return lines


def _run(home: Path, name: str, *args: str) -> subprocess.CompletedProcess[str]:
    return run_volant("run", f"examples/{name}", *args, home=home)


def test_each_example_is_run_by_a_test() -> None:
    source = (ROOT / "tests/e2e/test_examples.py").read_text()
    assert [name for name in NAMES if f'"{name}"' not in source] == []


def test_examples_that_build_images_are_run_where_their_bases_are() -> None:
    assert [
        name
        for name, test in {**BUILT, **OTHERS}.items()
        if f'"{name}"' not in (ROOT / test).read_text()
    ] == []


def test_each_example_is_short_and_tells_its_command() -> None:
    for name in NAMES:
        assert len((EXAMPLES / name).read_text().splitlines()) <= 60, name
        assert _promised(name)


@pytest.mark.parametrize(
    "name",
    [
        "hello.py",
        "generator.py",
        "agent_with_file_tools.py",
        "asynchronous.py",
        "clustered_sum.py",
        "code_interpreter.py",
        "concurrent_pages.py",
        "crawler.py",
        "cron_report.py",
        "training_with_checkpoints.py",
        "job_queue.py",
        "sidecar.py",
        "tunnel.py",
        "warm_sandboxes.py",
    ],
)
def test_an_example_prints_what_it_promises(volant_home: Path, name: str) -> None:
    run = _run(volant_home, name)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert [line for line in _promised(name) if line not in lines] == [], run.stdout + run.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount buckets")
def test_the_example_of_a_bucket_prints_what_it_promises(volant_home: Path) -> None:
    test_an_example_prints_what_it_promises(volant_home, "bucket_words.py")


def test_options_come_from_the_entrypoint(volant_home: Path) -> None:
    run = _run(volant_home, "hello.py", "--x", "12")
    assert run.returncode == 0, run.stderr
    assert "12 squared is 144" in run.stdout.splitlines()


def test_a_wrong_option_is_a_usage_error(volant_home: Path) -> None:
    run = _run(volant_home, "hello.py", "--x", "twelve")
    assert run.returncode == 2, run.stderr
    assert "twelve" in run.stderr


def test_a_remote_exception_keeps_its_type_and_shows_the_remote_source(volant_home: Path) -> None:
    run = _run(volant_home, "exception.py")
    assert run.returncode == 1
    assert "caught a BadRow: row 2: 'thirty' is no number" in run.stdout.splitlines()
    for text in (
        "in total",
        "return sum(parse(number, text) for number, text in enumerate(rows, 1))",
        "in parse",
        'raise BadRow(f"row {number}: {text!r} is no number") from error',
        "BadRow: row 2: 'thirty' is no number",
        "ValueError: invalid literal for int() with base 10: 'thirty'",
    ):
        assert text in run.stderr, f"{text!r} is missing in:\n{run.stderr}"
    for ours in ("volant/sdk", "volant/channel", "volant/wire", "volant/runner"):
        assert ours not in run.stderr, f"a frame of ours is shown:\n{run.stderr}"


def test_token_statistics_measures_real_files(volant_home: Path) -> None:
    run = _run(volant_home, "token_statistics.py", "--limit", str(FILES_COUNT))
    assert run.returncode == 0, run.stderr
    first = re.search(r"^([\d,]+) files  ([\d,]+) lines  ([\d,]+) tokens", run.stdout, re.MULTILINE)
    assert first, run.stdout
    files, lines, tokens = (int(number.replace(",", "")) for number in first.groups())
    assert files == FILES_COUNT
    assert tokens > lines > files
    assert re.search(r"^NAME +[\d,]+ +\d+\.\d%$", run.stdout, re.MULTILINE)
    assert re.search(r"s of work in containers: [\d,]+ files/s$", run.stdout, re.MULTILINE)


@pytest.mark.slow
def test_the_demo_does_the_main_job_on_the_whole_library(volant_home: Path) -> None:
    run = subprocess.run(
        [ROOT / "scripts/demo"], capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "$ volant run examples/token_statistics.py" in run.stdout
    assert re.search(r"^[\d,]+ files  [\d,]+ lines  [\d,]+ tokens", run.stdout, re.MULTILINE)
