"""What a group is given: the counts of this run, contestants and homes that end with the group."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from benchmarks.harness.contestant import ROOT, Contestant
from benchmarks.harness.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

Count = TypeVar("Count", int, float)

#: The installed command, beside the interpreter that runs the benchmarks.
VOLANT = str(Path(sys.executable).with_name("volant"))


class Ray:
    """The one Ray cluster of a run. It takes seconds to start, so groups in a row share it."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._driver: Contestant | None = None

    def driver(self) -> Contestant:
        """The driver, started when nobody has asked for it before."""
        if self._driver is None:
            directory = _temporary_directory(self._stack)
            self._driver = Contestant(
                "benchmarks.contestants.ray_side:Driver",
                env=_environment_of_a_peer(),
                log=directory / "driver.log",
                directory=str(directory / "ray"),
            )
            self._stack.callback(self._driver.close)
        return self._driver

    def stop(self) -> None:
        """End it, so that it takes nothing from the groups that do without."""
        self._driver = None
        self._stack.close()


class Bench:
    """One group's workplace, a context manager."""

    def __init__(self, ray: Ray, *, quick: bool) -> None:
        self.ray = ray
        self.quick = quick
        self._stack = ExitStack()
        self._made = 0

    def __enter__(self) -> Bench:
        self.directory = _temporary_directory(self._stack)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def pick(self, full: Count, quick: Count) -> Count:
        """One of two counts."""
        return quick if self.quick else full

    def home(self, **settings: object) -> Home:
        """A new home; its daemon ends with the group."""
        self._made += 1
        home = Home(self.directory / f"h{self._made}", **settings)
        self._stack.callback(home.stop)
        return home

    def finally_do(self, act: Callable[[], object]) -> None:
        """Have something done when the group has ended, after all that was made later."""
        self._stack.callback(act)

    def contestant(self, target: str, home: Home | None = None, **options: object) -> Contestant:
        """A contestant of `benchmarks.contestants`, with a home if it is Volant's client."""
        self._made += 1
        env = home.environment() if home is not None else _environment_of_a_peer()
        made = Contestant(
            f"benchmarks.contestants.{target}",
            env=env,
            log=self.directory / f"contestant-{self._made}.log",
            **options,
        )
        self._stack.callback(made.close)
        return made


def _temporary_directory(stack: ExitStack) -> Path:
    # The name is short because Ray puts sockets below it.
    holder = tempfile.TemporaryDirectory(prefix="vb-", ignore_cleanup_errors=True)
    return Path(stack.enter_context(holder))


def _environment_of_a_peer() -> dict[str, str]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("VOLANT_")}
    # Without these, Ray reports its use over the network, and checks a token in every call.
    return environ | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}


def wall_ms(argv: Sequence[str], env: Mapping[str, str], expect: str = "") -> float:
    """Wall time of a command from its start to its end.

    Raises:
        RuntimeError: when it fails, or does not print `expect`.
    """
    begun = time.perf_counter()
    done = subprocess.run(
        argv, env=dict(env), cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    elapsed_ms = (time.perf_counter() - begun) * 1000
    if done.returncode or expect not in done.stdout:
        raise RuntimeError(f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return elapsed_ms
