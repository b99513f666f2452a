"""What `import volant` costs a program that has nothing else; and the same as `modal`."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.harness.bench import wall_ms
from benchmarks.harness.figures import Figure
from benchmarks.harness.turns import take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.harness.bench import Bench

_PROGRAMS = {
    "bare": "pass",
    "import": "import volant",
    "used": "import volant\napp = volant.App('a')\n@app.function()\ndef f(): pass",
    "guise": "import modal\napp = modal.App('a')\n@app.function()\ndef f(): pass",
}
_MODULES = "import sys\nbefore = set(sys.modules)\n{}\nprint(*set(sys.modules) - before)"


def measure(bench: Bench) -> Iterator[tuple[str, Figure]]:
    env = bench.home().environment()
    commands = {name: [sys.executable, "-c", text] for name, text in _PROGRAMS.items()}
    taken = take_turns(
        {name: partial(wall_ms, command, env) for name, command in commands.items()},
        bench.pick(25, 7),
    )
    for key, name in (("time", "import"), ("time_used", "used"), ("time_modal", "guise")):
        above = [ours - bare for ours, bare in zip(taken[name], taken["bare"], strict=True)]
        yield f"imports.{key}", Figure(ours=above)
    listed = subprocess.run(
        [sys.executable, "-c", _MODULES.format(_PROGRAMS["used"])],
        env=env, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    yield "imports.modules", Figure(ours=[len(listed)])
    asynchronous = [name for name in listed if name.partition(".")[0] == "asyncio"]
    yield "imports.asyncio", Figure(ours=[len(asynchronous)])
