"""Volant's client in an edit-and-run loop: every turn has a script that nobody has seen."""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path
from time import perf_counter

from volant.channel import current

SCRIPT = """import volant

app = volant.App("changed")


@app.function()
def answer() -> str:
    return "version {version}"


@app.local_entrypoint()
def main() -> None:
    print(answer.remote())
"""


def write_script(directory: Path, version: str) -> Path:
    """Write a new version of the script where no older one lies."""
    path = directory / version / "script.py"
    path.parent.mkdir(parents=True)
    path.write_text(SCRIPT.format(version=version))
    return path


class Changed:
    """Opens an app of a new script and calls its function once.

    Beside a user's script there are no benchmarks. What a process has imported from where nothing
    is installed belongs to its apps, so this one forgets that it has: else the hundreds of files
    of this repository would be looked through, hashed and sent with each version.
    """

    def __init__(self, directory: str) -> None:
        for name in list(sys.modules):
            if name.partition(".")[0] == "benchmarks":
                del sys.modules[name]
        self._directory = Path(directory)
        self._version = 0
        self.turn(0.0)

    def turn(self, pause_s: float) -> dict[str, float]:
        """One change.

        Args:
            pause_s: between the last run and this one, as if somebody edited.
        """
        time.sleep(pause_s)
        self._version += 1
        version = f"v{self._version}"
        module = self._load(write_script(self._directory, version))
        try:
            begun = perf_counter()
            with module.app.run():
                answer = module.answer.remote()
                elapsed_ms = (perf_counter() - begun) * 1e3
        finally:
            del sys.modules[module.__name__]
        assert answer == f"version {version}", answer
        return {"ms": elapsed_ms}

    @staticmethod
    def _load(path: Path):
        spec = importlib.util.spec_from_file_location("script", path)
        assert spec is not None and spec.loader is not None
        module = sys.modules["script"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def close(self) -> None:
        current.forget()
