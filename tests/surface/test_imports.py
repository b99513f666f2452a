"""What starts with `import volant`: little, and nothing slow (the budget of a client's start)."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Modules that may be there after `import volant` and a first use of its names.
MODULES_MAX = 90
#: What costs a client's start more than a few milliseconds, or belongs to the daemons.
BANNED = {
    "asyncio",
    "click",
    "cloudpickle",
    "dataclasses",
    "inspect",
    "json",
    "logging",
    "re",
    "rich",
    "socket",
    "subprocess",
    "typing",
    "uvloop",
    "volantd",
}
DESCRIBE = """
import sys
before = set(sys.modules)
import volant
app = volant.App("imports")
@app.function(serialized=False)
def f(x: int) -> int:
    return x
print(*sorted(set(sys.modules) - before))
"""


def _loaded(code: str) -> set[str]:
    run = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import sys; b = set(sys.modules); import volant; print(*sorted(set(sys.modules) - b))",
        DESCRIBE,
    ],
    ids=["import", "describe"],
)
def test_a_client_starts_with_few_modules_and_none_of_the_slow_ones(code: str) -> None:
    loaded = _loaded(code)
    assert len(loaded) <= MODULES_MAX, sorted(loaded)
    assert loaded & BANNED == set()
    assert not any(name.startswith("volantd") for name in loaded)


def test_every_public_name_can_be_had() -> None:
    code = "import volant\nfor name in volant.__all__: assert getattr(volant, name) is not None"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("function", 'hint: apps have it: `@app.function()` with `app = volant.App("name")`\n'),
        ("Functoin", "has no attribute 'Functoin'. Did you mean: 'Function'?\n"),
        (
            "NetworkFileSytem",
            "has no attribute 'NetworkFileSytem'; did you mean 'NetworkFileSystem'?\n",
        ),
        ("experimentl", "has no attribute 'experimentl'; did you mean 'experimental'?\n"),
    ],
)
def test_a_name_that_is_not_there_is_answered_with_one_suggestion(name: str, said: str) -> None:
    run = subprocess.run(
        [sys.executable, "-I", "-c", f"import volant; volant.{name}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.stderr.endswith(said), run.stderr
    assert run.stderr.lower().count("did you mean") == ("hint:" not in said)
