"""What the documents say of installing is done: in a copy of these sources, with real packages.

All pages have one reader, who has installed Volant into an environment of a project, as
docs/operations/install.md says. A block that was run is not run again for another page: what it
left is there.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.docs.blocks import PAGES, blocks_of
from tests.docs.reader import Reader
from tests.support import ROOT

if TYPE_CHECKING:
    from tests.docs.reader import State

#: Pages that install something, or run what lies in a clone.
INSTALLING = [
    page
    for page in PAGES
    if any(
        block.language == "sh" and ("pip install" in block.text or "scripts/" in block.text)
        for block in blocks_of(page)
    )
]
GUIDE = "docs/operations/install.md"
#: What of the sources is needed to install them.
NEEDED = (
    "src",
    "compat",
    "scripts",
    "requirements",
    "examples",
    "pyproject.toml",
    "*.md",
    "LICENSE",
)
_GIT = ("git", "-c", "user.name=you", "-c", "user.email=you@example.com")


class Installer(Reader):
    """A reader who types nothing twice that takes long."""

    def __init__(self, you: Path, clone: Path) -> None:
        super().__init__(you, clone=clone)
        # What was fetched once is not fetched again, as for a person with a home of some age; and
        # only what is imported is compiled.
        self.state.variables["PIP_CACHE_DIR"] = str(Path("~/.cache/pip").expanduser())
        self.state.variables["PIP_NO_COMPILE"] = "1"
        del self.state.variables["PYTHONDONTWRITEBYTECODE"]
        self._done: dict[str, State] = {}

    def run_script(self, text: str) -> None:
        if "install" not in text:
            super().run_script(text)
            return
        if text not in self._done:
            super().run_script(text)
            self._done[text] = self.state
        self.state = self._done[text]


@pytest.fixture(scope="module")
def installer(tmp_path_factory: pytest.TempPathFactory) -> Installer:
    place = tmp_path_factory.mktemp("installing")
    you, clone = place / "you", place / "clone"
    you.mkdir()
    _clone(place / "upstream", clone)
    person = Installer(you, clone)
    steps = [block.text for block in blocks_of(GUIDE) if "venv" in block.text]
    person.run_script(next(text for text in steps if "cd ~/project" in text))
    return person


def _clone(upstream: Path, clone: Path) -> None:
    """A clone of a repository with these sources as they are, committed or not."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *NEEDED],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.decode().split("\0"):
        if (ROOT / name).is_file():
            (upstream / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, upstream / name)
    for words in (["init", "--quiet"], ["add", "--force", "."], ["commit", "--quiet", "-m", "all"]):
        subprocess.run([*_GIT, *words], cwd=upstream, check=True)
    subprocess.run(["git", "clone", "--quiet", upstream, clone], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("page", INSTALLING)
def test_the_blocks_of_a_page_that_installs_run_and_print_what_it_says(
    page: str, installer: Installer
) -> None:
    before = installer.state
    try:
        installer.follow(page)
    finally:
        installer.leave()
        installer.state = before
