"""Programs written for Modal, run as they are by the command `modal` and by Python."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.behaviours.image_builds import home_of_images
from tests.behaviours.programs import APPS
from volantd.agent import gpus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.tmpdir import TempPathFactory

    from tests.unit.images.registry_server import Registry

PROGRAMS = APPS / "unchanged"
MODAL = Path(sys.executable).with_name("modal")
WITHIN_S = 120.0


def _run(*words: object, home: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "VOLANT_HOME": str(home), "NO_COLOR": "1", **variables}
    return subprocess.run(
        list(map(str, words)), cwd=PROGRAMS, env=environ, capture_output=True, text=True,
        timeout=WITHIN_S, check=False,
    )  # fmt: skip


def run_python(*words: object, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `python words...` beside the programs."""
    return _run(sys.executable, *words, home=home, variables=variables)


def run_itself(name: str, *, home: Path) -> subprocess.CompletedProcess[str]:
    """Run a program by its first line, with the Python of this process first in PATH."""
    path = f"{MODAL.parent}{os.pathsep}{os.environ['PATH']}"
    return _run(PROGRAMS / name, home=home, variables={"PATH": path})


def run_modal(*words: object, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `modal words...` beside the programs."""
    return _run(MODAL, *words, home=home, variables=variables)


def modal(*words: object, home: Path, **variables: str) -> str:
    """What `modal words...` prints."""
    run = run_modal(*words, home=home, **variables)
    assert run.returncode == 0, f"{words}: {run.stderr}"
    return run.stdout


def told(*words: object, home: Path) -> Any:
    return json.loads(modal(*words, "--json", home=home))


def test_a_program_of_all_kinds_of_functions_and_objects(volant_home: Path) -> None:
    printed = modal("run", "words.py", "--repeat", 2, home=volant_home)
    assert printed.splitlines() == [
        "counts 4",
        "maps ['A!', 'B?']",
        "generates [0, 1, 2]",
        "classes 80 40",
        "spawns [{'x': 1}, {'y': 2}]",
        "travels True fc- [('environment', 'main'), ('remote', True), ('token', 't0p')]",
        "is a container True",
        "reads to be or not to be",
        "times out True",
        "says Lookup failed for Function 'nothing' from the 'nowhere' app",
    ]
    assert modal("run", "words.py::count", "--text", "a a", home=volant_home) == "{'a': 2}\n"
    assert [one["path"] for one in told("volume", "ls", "words-kept", home=volant_home)] == [
        "poem.txt"
    ]


def test_a_program_whose_containers_use_the_service(volant_home: Path) -> None:
    """Behaviours 135, 136, 140, 144 and 150: with its own addresses, and as a script by itself."""
    assert modal("run", "inside.py", home=volant_home).splitlines() == [
        "3", "[4, 6]", "[0, 1]", "2", "from a sandbox", "", "b'123'", "b'0123'",
        "True True True", "2 [] True", "5 ['mapped', 'pages']",
    ]  # fmt: skip
    assert run_itself("inside.py", home=volant_home).stdout == "2\n"


def test_a_program_with_gpus_is_deployed_and_only_what_wants_them_waits(volant_home: Path) -> None:
    """Behaviours 138 and 141."""
    if gpus.discover().devices:
        pytest.skip("this machine has a GPU")
    modal("deploy", "graphics.py", home=volant_home)
    code = (
        "import modal\n"
        "found = [modal.Function.from_name('graphics', n) for n in ('none', 'one', 'several')]\n"
        "print(found[0].remote())\n"
        "for one in found[1:]:\n"
        "    call = one.spawn()\n"
        "    try:\n        call.get(timeout=0)\n"
        "    except TimeoutError:\n        call.cancel()\n        print('waits')"
    )
    assert run_python("-c", code, home=volant_home).stdout == "no GPU\nwaits\nwaits\n"
    modal("app", "stop", "graphics", "-y", home=volant_home)


@pytest.fixture(scope="module")
def home(tmp_path_factory: TempPathFactory) -> Iterator[Path]:
    with home_of_images(tmp_path_factory, "unchanged") as made:
        yield made


def test_an_image_with_another_package_of_that_name(registry: Registry, home: Path) -> None:
    """The guise is found ahead of it: by the program, while it builds, and by what it starts."""
    printed = modal("run", "imaged.py", home=home, BASE=f"{registry.host}/python:base")
    assert printed.strip() == "['blue', 'im-', 'modalFalse', 'volant.sdk.app']"


def test_a_script_with_a_sandbox(registry: Registry, home: Path) -> None:
    """Behaviour 150: it runs itself. With output enabled, images that are built come first."""
    run = run_python(PROGRAMS / "looked_into.py", home=home, BASE=f"{registry.host}/python:base")
    assert run.stdout.splitlines()[-5:] == [
        "is itself True", "complains oh no 3", "keeps kept here", "keeps on kept here",
        "is True StreamReader",
    ], run.stderr  # fmt: skip


def test_an_app_is_deployed_found_and_stopped(volant_home: Path) -> None:
    """Behaviour 146: what the command prints for programs has lower-case keys."""
    modal("deploy", "pages.py", "--name", "pages-kept", "--tag", "v1", home=volant_home)
    [app] = [one for one in told("app", "list", home=volant_home) if one["name"] == "pages-kept"]
    assert app["state"] == "deployed"
    facts = told("app", "info", "pages-kept", home=volant_home)
    urls = {name: url for name, _, url in facts["urls"]}
    assert httpx.get(f"{urls['asgi']}a/b").text == "asgi /a/b"
    assert httpx.get(f"{urls['wsgi']}c").text == "wsgi /c"
    assert "plain-pages" in urls["wsgi"]
    call = "import modal; print(modal.Function.from_name('pages-kept', 'double').remote(21))"
    assert run_python("-c", call, home=volant_home).stdout == "42\n"
    modal("app", "stop", "pages-kept", "-y", home=volant_home)
    assert _is_lower_case([app, facts])


READING = (
    "app list", "app info read", "app history read", "container list", "function list",
    "volume list", "volume ls read", "secret list", "dict list", "dict items read",
    "dict get read key", "queue list", "queue peek read", "environment list", "profile list",
    "image names list", "sandbox list", "config show",
)  # fmt: skip


WRITING = """
import io, modal
app = modal.App.lookup("read", create_if_missing=True)
modal.Sandbox.create(app=app)
kinds = (modal.Dict, modal.Queue, modal.Volume)
entries, queue, volume = (kind.from_name("read", create_if_missing=True) for kind in kinds)
entries["key"] = "Value"
queue.put({"x": 1})
with volume.batch_upload() as batch:
    batch.put_file(io.BytesIO(b"x"), "/x")
modal.Secret.objects.create("read", {"KEY": "x"})
"""


@pytest.fixture(scope="module")
def written(volant_home: Path) -> Iterator[Path]:
    """A home with something of each kind, called `read`, and functions."""
    run = run_python("-c", WRITING, home=volant_home)
    assert run.returncode == 0, run.stderr
    modal("deploy", "graphics.py", home=volant_home)
    yield volant_home
    for app in ("read", "graphics"):
        modal("app", "stop", app, "-y", home=volant_home)


@pytest.mark.parametrize("words", READING)
def test_what_commands_tell_is_read_by_programs(written: Path, words: str) -> None:
    """Behaviour 146: one JSON value, whose keys are lower-case."""
    value = told(*words.split(), home=written)
    assert value or words == "image names list"
    assert _is_lower_case(value)


def _is_lower_case(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_lower_case, value))
    if isinstance(value, dict):
        return all(key == key.lower() and _is_lower_case(one) for key, one in value.items())
    return True


def test_serve_ends_when_a_variable_of_modal_says_so(volant_home: Path) -> None:
    """Behaviour 131: `MODAL_SERVE_TIMEOUT` ends it, and addresses are printed."""
    run = run_modal("serve", "pages.py", home=volant_home, MODAL_SERVE_TIMEOUT="1")
    assert run.returncode == 0, run.stderr
    assert "asgi => http://" in run.stderr
    assert "plain-pages-dev" in run.stderr


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("exception", "NotFoundError"), ("functions", "FunctionCall"), ("queue", "Queue"),
        ("container_process", "ContainerProcess"), ("io_streams", "StreamReader"),
        ("config", "config"), ("types", "FileEntry"),
    ],
)  # fmt: skip
def test_submodules_are_reached_in_every_way(volant_home: Path, module: str, name: str) -> None:
    """Behaviour 148: as attributes of the package, and by either form of import."""
    code = (
        f"import modal; a = modal.{module}.{name}\n"
        f"import modal.{module}; assert modal.{module}.{name} is a\n"
        f"from modal.{module} import {name} as b; assert a is b\n"
        f"print(modal.{module}.__name__)"
    )
    assert run_python("-c", code, home=volant_home).stdout == f"modal.{module}\n"


def test_what_a_machine_does_not_have_says_what_is_missing(volant_home: Path) -> None:
    """Behaviour 148: and what it has is reached by the names of submodules."""
    code = (
        "import modal, modal.cluster\n"
        "from modal.types import MetricSeries\n"
        "def annotated(given: MetricSeries) -> modal.Proxy: ...\n"
        "try:\n    modal.Proxy.from_name('out')\n"
        "except modal.exception.UnimplementedError as error:\n    print(error)"
    )
    run = run_python("-c", code, home=volant_home)
    assert run.stdout.splitlines()[0] == "`modal.Proxy.from_name` is not implemented yet"


def test_instructions_about_accounts_do_no_harm(volant_home: Path) -> None:
    for words in (
        ("setup",),
        ("token", "new", "--profile", "x", "--no-verify"),
        ("token", "set", "--token-id", "ak-1", "--token-secret", "as-1"),
    ):
        run = run_modal(*words, home=volant_home)
        assert (run.returncode, run.stdout) == (0, "")
        assert "no account is needed" in run.stderr
    assert modal("profile", "current", home=volant_home) == "default\n"
    assert modal("profile", "activate", "default", home=volant_home) == ""
    assert [row["active"] for row in told("profile", "list", home=volant_home)] == [True]
    assert run_modal("profile", "activate", "other", home=volant_home).returncode != 0
    assert "home" in modal("token", "info", home=volant_home)


def test_logs_are_found_by_time_text_and_source(volant_home: Path, tmp_path: Path) -> None:
    """Of a program that prints, with the time in front of each line where that is asked for."""
    program = tmp_path / "speaking.py"
    program.write_text(
        "import sys, modal\napp = modal.App('speaking')\n\n@app.function()\ndef say():\n"
        "    print('a word')\n    print('complaint', file=sys.stderr)\n"
    )
    printed = modal("run", "--timestamps", program, home=volant_home)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} a word\n", printed)
    assert modal("app", "logs", "speaking", "--search", "wor", home=volant_home) == "a word\n"
    assert modal("app", "logs", "speaking", "--source", "stderr", home=volant_home) == ""
    found = modal("app", "logs", "speaking", "--since", "1h", "--timestamps", home=volant_home)
    assert re.fullmatch(r"\S+ \S+ a word\n", found)
    assert modal("app", "logs", "speaking", "--until", "1h ago", home=volant_home) == ""
    [app] = told("app", "list", "--limit", "1", home=volant_home)
    assert app["name"] == "speaking"
    assert told("container", "list", "--app-id", "ap-none", home=volant_home) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "--help"), "Usage: modal run [OPTIONS] REF"),
        (("app", "list", "--help"), "Usage: modal app list [OPTIONS]"),
        (("app", "list", "--help"), "  modal app list --json"),
        (("app", "lst"), "there is no command `modal app lst`"),
        (("app", "list", "--jsn"), "hint: `modal app list --help` shows how it is used"),
        (("run",), "hint: `modal run file.py`, or `modal run --help`"),
        (("billing", "report"), "`modal billing` is not there yet"),
        (("server", "requests", "x"), "`modal server requests` is not there yet"),
        (("--version",), "modal "),
    ],
)
def test_the_command_speaks_of_itself_by_the_name_that_was_typed(
    words: tuple[str, ...], said: str, volant_home: Path
) -> None:
    run = run_modal(*words, home=volant_home)
    told = run.stdout + run.stderr
    assert said in told
    assert "volant" not in told
