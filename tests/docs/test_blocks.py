"""What the documents show is what happens: every block of code in them runs.

    ```python name.py    is saved in the page's own directory, for what else is on the page
    ```python            without a name is run by `volant run`
    ```console           each `$ command` is run, and prints the rest; `^C` ends one that goes on
    ```console terminal  on a terminal, where what the page shows is typed at prompts
    ```console saves     a page's own test saves the file meanwhile
    ```sh                is typed in one shell, and all of it does well

The blocks of a page run in order, in one directory, and pages share one daemon. Those that have
blocks of `sh`, which change the machine, have daemons of their own. `reader.py` does what a
reader does, `test_installing.py` follows those that install something.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import criu
from tests.docs.blocks import PAGES, Ids, blocks_of, commands, is_alike, lines_of
from tests.docs.reader import Reader
from tests.docs.test_installing import INSTALLING
from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Pages of which something runs, but nothing is installed.
RUNNING = [
    page
    for page in PAGES
    if page not in INSTALLING
    and any(block.language in {"python", "console", "sh"} for block in blocks_of(page))
]
#: Those whose programs need CRIU.
FORKING = "docs/howto/run-sandboxes.md"
SAVING = "docs/howto/reload-while-you-edit.md"


@pytest.fixture
def reader(request: pytest.FixtureRequest, tmp_path: Path, volant_home: Path) -> Iterator[Reader]:
    page: str = request.param
    you = tmp_path / "you"
    you.mkdir()
    has_own = page == FORKING or any(block.language == "sh" for block in blocks_of(page))
    if not has_own:
        (you / ".volant").symlink_to(volant_home)  # for programs that hand no variables down
    person = Reader(you, volant_home=None if has_own else volant_home)
    if page == FORKING:
        person.state.variables["VOLANT_CRIU_PATH"] = _criu()
    (you / "project/examples").symlink_to(ROOT / "examples")
    yield person
    person.leave()


def _criu() -> str:
    if os.geteuid() != 0:
        pytest.skip("only root can fork a sandbox")
    try:
        return criu.find()
    except criu.UnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("page", "reader"),
    [pytest.param(page, page, id=page) for page in RUNNING if page != SAVING],
    indirect=["reader"],
)
def test_the_blocks_of_a_page_run_and_print_what_it_says(page: str, reader: Reader) -> None:
    reader.follow(page)


@pytest.mark.parametrize("page", [*RUNNING, *INSTALLING])
def test_every_file_of_a_page_is_used_on_it(page: str) -> None:
    blocks = blocks_of(page)
    for block in blocks:
        if block.language == "python" and block.label:
            path = Path(block.label)
            module = path.parent.name if path.stem == "__init__" else path.stem
            others = "".join(other.text for other in blocks if other is not block)
            assert module in others, f"nothing on the page uses {block.label}"


@pytest.mark.parametrize("reader", [SAVING], indirect=True)
def test_serving_goes_on_while_the_file_is_saved_as_the_page_tells(reader: Reader) -> None:
    program, transcript = blocks_of(SAVING)
    ((command, shown),) = commands(transcript.text)
    file = reader.state.directory / program.label
    file.write_text(program.text)
    broken = program.text.replace('"restocked")', '"restocked"')
    saves = [program.text.replace("restocked", "stocked up"), broken, program.text + "\n"]
    printed = []
    with reader.begun(command) as lines:
        for line in lines:
            if line == "stocked up\n" or (line in printed[1:] and line == "restocked\n"):
                continue  # it comes once a second
            printed.append(line)
            if line.startswith(("restocked", "volant: reloaded", "volant: the last version")):
                if not saves:
                    break
                file.write_text(saves.pop(0))
    got = reader.as_shown("".join(printed)) + "^C\n"
    assert is_alike(lines_of(shown), lines_of(got)), got


@pytest.mark.parametrize(
    ("shown", "printed", "alike"),
    [
        ("a\nb", "a\nb", True),
        ("a\nb", "a", False),
        ("a\n...\nd", "a\nb\nc\nd", True),
        ("a\n...", "a", True),
        ("in … ms of 3", "in 4.1 ms of 3", True),
        ("in … ms of 3", "in 4.1 ms of 4", False),
        ("took 3 ms", "took 17.2 ms", True),
        ("took 3 ms", "took 17.2 s", False),
        ("ta-01h2xcejqtf2nbrexx3vqjhp41 ok", "ta-6j492ghm63n73e5b8eyw482gn3 ok", True),
        ("    f(x)\n    ^^^^", "    f(x)\n    ~^^^", True),
        ("", "more", False),
    ],
)
def test_output_is_compared_by_its_form(shown: str, printed: str, alike: bool) -> None:
    assert is_alike(lines_of(shown), lines_of(printed)) is alike


def test_ids_of_a_page_stand_for_those_that_were_printed() -> None:
    ids = Ids()
    ids.learn(
        "...\nta-01h2xcejqtf2nbrexx3vqjhp41 ok of ap-77h2xcejqtf2nbrexx3vqjhp41",
        "other\nta-6j492ghm63n73e5b8eyw482gn3 ok of ap-5j492ghm63n73e5b8eyw482gn3\nmore",
    )
    assert (
        ids.put_into("stop ta-01h2xcejqtf2nbrexx3vqjhp41") == "stop ta-6j492ghm63n73e5b8eyw482gn3"
    )
    assert ids.put_into("stop ap-77h2xcejq") == "stop ap-5j492ghm6"
    assert ids.put_into("stop ap-88h2xcejq") == "stop ap-88h2xcejq"
