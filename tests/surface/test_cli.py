"""The command's surface: its help is a document, and `volant run` starts with next to nothing.

`docs/reference/cli.md` holds every help text; `test_errors.py` sees that it is up to date.
"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support import ROOT, run_volant

if TYPE_CHECKING:
    from pathlib import Path

#: Commands that read, each with `--json`.
READING = [
    "app list", "app logs", "app info", "app history", "container list", "container logs",
    "server status", "server logs", "server info", "server stats", "server autoscaler settings",
    "config show", "function list", "function stats", "function autoscaler settings",
    "function info", "function logs", "function calls", "function variants",
    "image list", "image inspect", "image logs", "image names list", "schedule list",
    "token list", "call list", "call show", "call logs", "secret list",
    "volume list", "volume ls", "volume history", "sandbox list", "sandbox logs",
    "dict list",
    "dict get",
    "dict items",
    "queue list",
    "queue len",
    "queue peek",
    "environment list",
    "profile list",
]  # fmt: skip
CHANGING = [
    "run",
    "serve",
    "shell",
    "deploy",
    "app rollback",
    "app rollover",
    "app stop",
    "container exec",
    "container stop",
    "function autoscaler update",
    "server autoscaler update",
    "server start",
    "server stop",
    "server backup",
    "server restore",
    "image prune",
    "image names delete",
    "schedule pause",
    "schedule resume",
    "schedule run",
    "secret create",
    "secret delete",
    "secret rotate-key",
    "token create",
    "token revoke",
    "curl",
    "volume create",
    "volume put",
    "volume get",
    "volume cp",
    "volume rm",
    "volume rename",
    "volume delete",
    "volume restore",
    "dict create",
    "dict clear",
    "dict delete",
    "queue create",
    "queue clear",
    "queue delete",
    "environment create",
    "environment rename",
    "environment update",
    "environment delete",
    "config set-environment",
    "mcp",
    "sandbox cp",
    "sandbox create",
    "sandbox exec",
    "sandbox fork",
    "sandbox pause",
    "sandbox resume",
    "sandbox run",
    "sandbox shell",
    "sandbox snapshot",
    "sandbox stop",
    "call cancel",
    "call replay",
    "setup",
    "profile current",
    "profile activate",
    "token new",
    "token set",
    "token info",
]
#: Modules of the command itself that a plain run loads.
RUN_MODULES = {"volant.cli", "volant.cli.main", "volant.cli.run", "volant.cli.target"}
#: What a plain run must not pay for.
BANNED = {
    "asyncio", "click", "dataclasses", "difflib", "inspect", "json", "linecache", "logging", "re",
    "rich", "socket", "subprocess", "tempfile", "threading", "traceback", "typing",
}  # fmt: skip


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    text = (ROOT / "docs/reference/cli.md").read_text()
    return dict(re.findall(r"## volant ?(.*)\n\n```text\n((?:.|\n)*?)\n```", text))


def test_every_promised_command_is_there(pages: dict[str, str]) -> None:
    leaves = {path for path in pages if path and f"{path} " not in " ".join(sorted(pages))}
    groups = {"", "app", "container", "server", "config", "image", "image names", "token",
              "function", "function autoscaler", "server autoscaler", "schedule", "dict", "queue",
              "volume",
              "call", "secret", "environment", "sandbox", "profile"}  # fmt: skip
    assert set(pages) == {*READING, *CHANGING, *groups}, leaves


def test_every_help_shows_an_example(pages: dict[str, str]) -> None:
    lacking = [path for path, text in pages.items() if not re.search(r"Examples?:\n +volant", text)]
    assert lacking == []


def test_every_reading_command_has_json(pages: dict[str, str]) -> None:
    assert [path for path in READING if "--json" not in pages[path]] == []
    assert [
        path for path in READING if path.endswith("logs") and "--follow" not in pages[path]
    ] == []
    assert [path for path in READING if path.endswith("logs") and "--tail" not in pages[path]] == []


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["server", "stop", "-h"]])
def test_help_is_what_the_document_says(
    tmp_path: Path, pages: dict[str, str], words: list[str]
) -> None:
    run = run_volant(*words, home=tmp_path, env={"COLUMNS": "82"})
    assert run.returncode == 0
    assert run.stdout.rstrip("\n") == pages[" ".join(words[:-1])]


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["--version"], 0, "volant 0."),
        ([], 2, "Usage: volant [OPTIONS] COMMAND"),
        (["server"], 2, "Usage: volant server [OPTIONS] COMMAND"),
        (["ap"], 2, "error: there is no command `volant ap`\nhint: did you mean `app`?"),
        (["curl"], 2, "error: missing argument `TARGET`"),
        (["curl", "x/y"], 3, "error: the server is not running"),
        (["curl", "x:1/", "-H", "y"], 2, "error: `y` is no header\nhint: write `Name: value`"),
        (["curl", "x:1/", "-d", "@/nowhere"], 2, "error: `/nowhere` cannot be read: No such file"),
        (["curl", "x:1/", "-d", "1", "--json", "2"], 2, "error: a request has one body"),
        (["curl", "ftp://x/"], 2, "error: `ftp://x/` is no address"),
        (["curl", "http://127.0.0.1:1/"], 3, "error: there is no answer from http://127.0.0.1:1/"),
        (["serve", "x.py"], 2, "error: there is no file `x.py`"),
        (["app", "lst"], 2, "did you mean `list`?"),
        (["app", "list", "--jsn"], 2, "did you mean `--json`?"),
        (["app", "logs"], 2, "error: missing argument `APP`\n"),
        (["run"], 2, "error: there is nothing to run"),
        (["run", "-i", "x.py"], 2, "error: an interactive run needs a terminal"),
        (["shell", "x.py"], 2, "error: there is no file `x.py`"),
        (["shell", "--cmd", "'"], 2, "error: `--cmd '` is no command: No closing quotation"),
        (["container", "exec", "ta-x"], 2, "error: missing argument `COMMAND...`"),
        (["container", "exec", "ta-x", "--"], 2, "error: there is no command to run"),
        (["run", "-e", "pr/od", "x.py"], 2, "error: setting `environment` cannot be 'pr/od'"),
        (["app", "list", "-e", "pr/od"], 2, "error: setting `environment` cannot be 'pr/od'"),
    ],
)
def test_words_are_answered_with_their_exit_code(
    tmp_path: Path, words: list[str], code: int, expected: str
) -> None:
    run = run_volant(*words, home=tmp_path)
    assert run.returncode == code
    assert expected in (run.stderr if code else run.stdout)
    assert not (run.stdout if code else run.stderr)


def _planned() -> list[str]:
    from volant.cli.commands.root import PLANNED

    return [f"{group} {name}" for group, names in PLANNED.items() for name in names]


@pytest.mark.parametrize("path", _planned())
def test_a_planned_command_says_that_it_is_not_there_yet(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever follows it; and it is not taken for a misspelt one."""
    from volant.cli.commands.root import dispatch

    assert dispatch([*path.split()[1:], "x", "--flag"]) == 2
    assert capsys.readouterr() == (
        "", f"error: `{path}` is not there yet\nhint: README.md lists what works today\n",
    )  # fmt: skip


def test_the_planned_commands_are_those_of_the_model() -> None:
    """Section 4 of the reference, as far as a command of that name does not work."""
    assert {"volant billing", "volant app stats"} < set(_planned())
    assert not {f"volant {path}" for path in [*READING, *CHANGING]} & set(_planned())


def test_the_package_is_the_command() -> None:
    words = [sys.executable, "-m", "volant", "run", "--help"]
    run = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.partition("[")[0]) == (0, "Usage: volant run ")


def test_looking_starts_no_daemon(tmp_path: Path) -> None:
    """Reading commands answer that nothing runs; `server status` and `image` fail, with 3."""
    expected = {
        "app list": (0, "[]"),
        "container list": (0, "[]"),
        "function list": (0, "[]"),
        "schedule list": (0, "[]"),
        "server status": (3, '{\n  "running": false\n}'),
        "server logs": (0, ""),
        "image list": (3, ""),
    }
    for words, (code, printed) in expected.items():
        run = run_volant(*words.split(), "--json", home=tmp_path / "home")
        assert (run.returncode, run.stdout.strip()) == (code, printed), words
    assert run_volant("server", "status", home=tmp_path / "home").stdout == "not running\n"
    assert run_volant("server", "stop", home=tmp_path / "home").stdout == "not running\n"
    for words in (
        "app logs x", "container stop x", "container logs x", "container exec x y",
        "function stats x", "function autoscaler settings x", "function info x",
        "function logs x", "function calls x", "function variants x", "server info x",
        "server stats x", "server logs x", "server autoscaler settings x",
        "function autoscaler update x --min-containers 1", "schedule pause x", "schedule resume x",
        "schedule run x",
    ):  # fmt: skip
        run = run_volant(*words.split(), home=tmp_path / "home")
        assert (run.returncode, run.stderr) == (
            2,
            f"error: there is no {words.split()[0]} `x`: the server is not running\n",
        )
    for words in ("app stop x", "app info x", "app history x", "app rollback x", "app rollover x"):
        run = run_volant(*words.split(), home=tmp_path / "home")
        assert (run.returncode, run.stderr) == (2, (
            "error: there is no app `x`: the server is not running\n"
            "hint: `volant server start` serves what is deployed\n"
        ))  # fmt: skip
    assert not (tmp_path / "home").exists()


def test_an_unknown_setting_is_a_usage_error(tmp_path: Path) -> None:
    run = run_volant("config", "show", home=tmp_path, env={"VOLANT_ISOLATON": "process"})
    assert run.returncode == 2
    assert "did you mean `isolation`?" in run.stderr


def test_settings_tell_their_origin(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("zygote_count_max = 3\n")
    run = run_volant("config", "show", home=tmp_path, env={"VOLANT_TRACEBACK": "1"})
    assert re.search(r"^zygote_count_max +3 +.*config\.toml", run.stdout, re.MULTILINE)
    assert re.search(r"^traceback +True +environment", run.stdout, re.MULTILINE)
    assert re.search(r"^isolation +auto +default", run.stdout, re.MULTILINE)


def test_a_plain_run_loads_few_modules_of_the_command(tmp_path: Path) -> None:
    """Up to the point where the app starts; the rest of a client's start is the SDK's."""
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, volant\n"
        "from volant.sdk.app import App\n"
        "def report(self, **options):\n"
        "    print(*sorted(set(sys.modules)))\n"
        "    raise SystemExit(0)\n"
        "App.run = report\n"
        "app = volant.App('x')\n"
        "@app.local_entrypoint()\n"
        "def main(x: int = 7): pass\n"
    )
    command = tmp_path / "command.py"
    command.write_text("from volant.cli.main import main\nmain()\n")
    run = subprocess.run(
        [sys.executable, "-I", command, "run", program],
        capture_output=True,
        text=True,
        check=False,
    )
    loaded = set(run.stdout.split())
    assert {name for name in loaded if name.startswith("volant.cli")} == RUN_MODULES, run.stderr
    assert loaded & BANNED == set()
