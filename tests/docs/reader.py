"""Somebody who follows a page: types its commands, saves its files, in the order that it has.

What the page calls `/path/to/the/clone` is a copy of these sources, `~` a directory of the test,
and what lies elsewhere on the reader's machine (`/backups`, `/var/tmp`) is in there as well. What
one block exports, activates or changes to holds for those behind it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, NamedTuple

from tests.docs import unrun
from tests.docs.blocks import Ids, blocks_of, commands, is_alike, lines_of
from tests.support import stop_daemon
from tests.terminal import OnTerminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.docs.blocks import Block

#: Where a page says that its reader is.
SHOWN_HOME = "/home/you"
#: The first image of a machine fetches Debian, and installing fetches packages.
COMMAND_WITHIN_S = 240.0
#: What a person types at a prompt that is followed by it, and what where it is hidden.
PROMPTS = {"(Pdb) ": None, "PASSWORD: ": "open-sesame"}


class State(NamedTuple):
    """What a shell has between two commands."""

    variables: dict[str, str]
    directory: Path


class Reader:
    """One person with a home, a shell, and a page."""

    def __init__(
        self, you: Path, *, clone: Path | None = None, volant_home: Path | None = None
    ) -> None:
        """`you`: the home directory. `volant_home`: that of a daemon which is shared, if any."""
        self.you = you
        self.home = volant_home or you / ".volant"
        (you / "backups").mkdir(exist_ok=True)
        self._places = {"/backups": str(you / "backups"), "/var/tmp": str(you)}
        if clone is not None:
            self._places["/path/to/the/clone"] = str(clone)
        for pythons in (".pyenv", ".local/share/uv"):
            if Path.home().joinpath(pythons).is_dir():  # images get those of whoever runs this
                you.joinpath(pythons).parent.mkdir(parents=True, exist_ok=True)
                you.joinpath(pythons).symlink_to(Path.home() / pythons)
        project = you / "project"
        project.mkdir(exist_ok=True)
        self.state = State(_variables(you, volant_home), project)
        self._ids = Ids()
        self._homes = {you / ".volant"} if volant_home is None else set()

    def follow(self, page: str) -> None:
        """Do all that the page shows.

        Raises:
            AssertionError: a command fails, or prints something else.
        """
        for number, block in enumerate(blocks_of(page)):
            if block.language == "python":
                self._save_or_run(block, number)
            elif block.language == "console":
                self._type(block)
            elif block.language == "sh":
                self.run_script(unrun.without(block.text))

    def leave(self) -> None:
        """End the daemons of this reader's own."""
        for home in self._homes:
            if home.exists():
                stop_daemon(home)

    def run_script(self, text: str) -> None:
        """Run all lines of a block in one shell, in which each has to do well."""
        script = self.you / "block.sh"
        kept = self.you / "state"
        script.write_text(
            f"set -eo pipefail\n{self._placed(text)}\nenv --null > {kept}; pwd > {kept}.directory\n"
        )
        code, printed = self._run(f"bash {script}")
        assert code == 0, f"{printed}\n--- of\n{text}"
        pairs = kept.read_text().split("\0")[:-1]
        variables = dict(pair.split("=", 1) for pair in pairs)
        self.state = State(variables, Path(kept.with_suffix(".directory").read_text().strip()))
        if "VOLANT_HOME" in variables and self._homes:
            self._homes.add(Path(variables["VOLANT_HOME"]))

    def _placed(self, text: str) -> str:
        for shown, real in self._places.items():
            text = text.replace(shown, real)
        return self._ids.put_into(text)

    def as_shown(self, printed: str) -> str:
        """What was printed, with the places that the page has."""
        for shown, real in self._places.items():
            if shown.startswith("/path"):
                printed = printed.replace(real, shown)
        return printed.replace(str(self.you), SHOWN_HOME)

    def _run(self, command: str) -> tuple[int, str]:
        """Exit code and everything that it printed, as in a terminal."""
        run = subprocess.run(
            ["bash", "-c", command],
            cwd=self.state.directory,
            env=self.state.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_WITHIN_S,
            check=False,
        )
        return run.returncode, self.as_shown(run.stdout)

    def _save_or_run(self, block: Block, number: int) -> None:
        """Save a file, and run it if nothing on the page can name it."""
        name = block.label or f"block{number}.py"
        (self.state.directory / name).parent.mkdir(exist_ok=True)
        (self.state.directory / name).write_text(self._ids.put_into(block.text))
        if not block.label:
            code, printed = self._run(f"volant run {name}")
            assert code == 0, f"{printed}\n--- of\n{block.text}"

    def _type(self, block: Block) -> None:
        """Type each command of a console, and compare what comes."""
        for command, shown in commands(block.text):
            real = self._placed(command)
            if block.label == "terminal":
                printed = self._converse(real, shown)
            elif shown.endswith("^C\n"):
                printed = self._interrupt(real, lines_of(shown.removesuffix("^C\n"))) + "^C\n"
            else:
                _, printed = self._run(real)
            wanted, got = lines_of(shown), lines_of(printed)
            if block.label == "any-order":
                wanted, got = sorted(wanted), sorted(got)
            told = f"$ {command}\n--- shown\n{shown}\n--- printed\n{printed}"
            assert is_alike(wanted, got), told
            self._ids.learn(shown, printed)

    def _converse(self, command: str, shown: str) -> str:
        """What a terminal shows of a command that asks, when the shown answers are typed."""
        terminal = OnTerminal(
            "-c", f"cd {self.state.directory} && {command}",
            home=self.home, program=Path("/bin/bash"), **self.state.variables,
        )  # fmt: skip
        asked = ""
        try:
            for line in shown.splitlines():
                prompt = next((prompt for prompt in PROMPTS if line.startswith(prompt)), None)
                if prompt is not None:
                    asked += f".*?{re.escape(prompt)}"
                    terminal.read_until(f"(?s){asked}")
                    typed = PROMPTS[prompt] or line.removeprefix(prompt)
                    terminal.press(typed.encode() + b"\n")
            _, lines = terminal.end()
        finally:
            terminal.kill()
        return self.as_shown("\n".join(lines))

    def _interrupt(self, command: str, wanted: list[str]) -> str:
        """What a command prints until it has printed all that is shown, and Ctrl-C ends it."""
        printed = ""
        with self.begun(command) as running:
            for line in running:
                printed += self.as_shown(line)
                if is_alike(wanted, lines_of(printed)):
                    break
        return printed

    @contextmanager
    def begun(self, command: str) -> Iterator[Iterator[str]]:
        """The lines of a command that goes on; Ctrl-C ends it behind the block."""
        running = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.state.directory,
            env=self.state.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        alarm = Timer(COMMAND_WITHIN_S, running.kill)
        alarm.start()
        try:
            with running:
                assert running.stdout is not None
                try:
                    yield iter(running.stdout)
                finally:
                    running.send_signal(signal.SIGINT)
                    running.stdout.read()
        finally:
            alarm.cancel()


def _variables(you: Path, volant_home: Path | None) -> dict[str, str]:
    """Those of a shell of the reader's."""
    kept = {key: value for key, value in os.environ.items() if key != "VOLANT_HOME"}
    beside = Path(sys.executable).parent
    stand_ins = Path(__file__).parent / "stand-ins"
    # Several daemons on one machine each have a port of their own, and none says so.
    own = {"VOLANT_GATEWAY_PORT": "0"} if volant_home is None else {"VOLANT_HOME": str(volant_home)}
    return kept | own | {
        "HOME": str(you), "USER": "you", "NO_COLOR": "1", "COLUMNS": "200",
        "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": f"{stand_ins}:{beside}:{os.environ['PATH']}",
    }  # fmt: skip
