"""Steps that install packages, with a played uv: what it is lent, and what becomes of its work."""

from __future__ import annotations

import asyncio
import base64
import marshal
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from volant.errors import ImageBuildError
from volantd.images.builder import Builder
from volantd.images.kept.caches import Caches
from volantd.images.kept.unsettled import Unsettled
from volantd.images.packages import installing, tools
from volantd.images.store import Store
from volantd.images.workbench import Brought

if TYPE_CHECKING:
    from volantd.images.builder import Built
    from volantd.images.workbench import Command, Say

CONTENT = {
    "1" * 64: b"words\n",
    "2" * 64: b"[tool.poetry.group.dev]\n[tool.poetry.group.docs]\noptional = true\n",
    "3" * 64: b"[tool.poetry\n",
}
PIP = {
    "kind": "pip", "packages": ["words"], "requirements": None, "find_links": None,
    "index_url": None, "extra_index_url": None, "pre": False, "extra_options": "",
    "installer": "uv",
}  # fmt: skip
UV_SYNC = {
    "kind": "uv_sync", "pyproject": "1" * 64, "lock": "1" * 64, "groups": ["a"], "extras": ["b"],
    "frozen": True, "extra_options": "--no-install-package x",
}  # fmt: skip
PRIVATE = {
    **PIP, "kind": "private_repos", "git_user": "me",
    "repositories": ["github.com/me/a@main", "gitlab.com/me/b"],
}  # fmt: skip
POETRY = {
    "kind": "poetry", "pyproject": "2" * 64, "lock": "1" * 64, "with": [], "without": [],
    "only": [], "poetry_version": "latest", "old_installer": False,
}  # fmt: skip


class Bench:
    """A builder whose second step is played: `does` is what happens in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.store = Store(str(home))
        self.store.open()
        self.builder = Builder(self.store, self.run_step, self.content)
        self.commands: list[Command] = []
        self.plans: list[dict[str, Any]] = []
        #: files that the step leaves, relative to its directory for what it installs
        self.leaves = ["root/usr/lib/words"]
        #: codes that it ends with, the next first
        self.codes = [0]
        self.prints = b""
        self.said = b""

    async def content(self, digest: str) -> bytes:
        return CONTENT[digest]

    async def run_step(self, command: Command, say: Say) -> int:
        diff = Path(command.output, "diff")
        if "-I" not in command.argv:
            self.touch(diff / "usr/bin/python3")
            return 0
        self.commands.append(command)
        self.files = contents(command.layers[-1] + tools.TASK_DIR)
        plan = marshal.loads(self.files["plan"])
        self.plans.append(plan)
        (uv, point) = command.shared[0]
        assert plan["out"].startswith(f"{point}/")
        out = Path(uv + plan["out"].removeprefix(point))
        for name in self.leaves:
            self.touch(out / name)
        self.touch(diff / ".volant/uv/point")
        self.touch(diff / "written")
        say(self.prints)
        return self.codes.pop(0)

    @staticmethod
    def touch(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def build(self, step: dict[str, Any], **secrets: str) -> Built:
        def hear(data: bytes) -> None:
            self.said += data

        steps = [{"kind": "scratch"}, {"kind": "run", "commands": ["python"]}, step]
        brought = Brought(all_secrets={"2": {"secrets": secrets}})
        return asyncio.run(self.builder.build(steps, hear, brought))

    def left(self) -> list[str]:
        out = self.home / "images/uv/out"
        return [*os.listdir(self.home / "images/work"), *(os.listdir(out) if out.exists() else [])]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    for name in os.environ:
        if name.startswith(("PIP_", "UV_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://me:machines-own@index/simple")
    return Bench(tmp_path)


def contents(directory: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(directory).iterdir()}


def files_of(layer: str) -> list[str]:
    top = Path(layer)
    return sorted(str(path.relative_to(top)) for path in top.rglob("*") if path.is_file())


def test_what_was_installed_aside_is_the_layer(bench: Bench) -> None:
    built = bench.build(PIP)
    assert files_of(built.layers[-1]) == ["usr/lib/words"]
    assert len(built.layers) == 2
    assert bench.left() == []


def test_what_was_removed_is_a_layer_below(bench: Bench) -> None:
    bench.leaves.append("removed")
    built = bench.build(PIP)
    assert list(map(files_of, built.layers[1:])) == [["written"], ["usr/lib/words"]]
    assert bench.left() == []


def test_what_was_installed_plainly_is_the_layer(bench: Bench) -> None:
    bench.leaves.append("plain")
    built = bench.build(PIP)
    assert list(map(files_of, built.layers[1:])) == [["written"]]
    assert bench.left() == []


def test_a_link_in_place_of_what_was_installed_is_refused(bench: Bench, tmp_path: Path) -> None:
    """Or a step could make any directory of the machine a layer."""
    run_step = bench.run_step

    async def swap(command: Command, say: Say) -> int:
        code = await run_step(command, say)
        for out in (bench.home / "images/uv/out").glob("*"):
            (out / "root").rename(out / "real")
            (out / "root").symlink_to(tmp_path)
        return code

    bench.builder = Builder(bench.store, swap, bench.content)
    with pytest.raises(ImageBuildError, match="no directory"):
        bench.build(PIP)
    assert bench.left() == []


def test_a_link_in_place_of_the_directory_for_all_is_not_followed(
    bench: Bench, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (bench.home / "images/uv/out").symlink_to(elsewhere)
    with pytest.raises(OSError, match="out"):
        bench.build(PIP)
    assert [path.name for path in elsewhere.rglob("words")] == ["words"], "it was not taken away"


def test_uv_is_told_by_its_environment_where_to_look(bench: Bench) -> None:
    bench.build({**PIP, "extra_index_url": "https://more/simple", "env": {"A": "1"}, "pre": True})
    env = bench.commands[0].env
    assert env["UV_DEFAULT_INDEX"] == "https://me:machines-own@index/simple"
    assert env["UV_INDEX"] == "https://more/simple"
    assert (env["A"], env["UV_PRERELEASE"]) == ("1", "allow")
    assert env["UV_CACHE_DIR"] == installing.CACHE_DIR
    assert "machines-own" not in str(bench.plans) + str(bench.commands[0].argv)


def test_variables_of_pip_in_an_image_say_where_to_look(bench: Bench) -> None:
    bench.build({**PIP, "env": {"PIP_INDEX_URL": "https://image/simple"}})
    assert bench.commands[0].env["UV_DEFAULT_INDEX"] == "https://image/simple"


def test_packages_are_no_words_of_a_command(bench: Bench) -> None:
    words = ["words", "x @ https://me:my-own@host/x.whl"]
    bench.build({**PIP, "packages": words, "requirements": "1" * 64, "extra_options": "--no-deps"})
    assert bench.files["packages.txt"].decode().splitlines() == words
    assert bench.files["requirements.txt"] == b"words\n"
    assert bench.plans[0]["arguments"] == (
        "--requirements", "packages.txt", "--requirements", "requirements.txt", "--no-deps",
    )  # fmt: skip


def test_passwords_are_told_to_nobody(bench: Bench) -> None:
    bench.codes = [2]
    bench.prints = b"no https://me:machines-own@index/simple, nor my-own\n"
    with pytest.raises(ImageBuildError) as caught:
        bench.build({**PIP, "packages": ["x @ https://me:my-own@host/x.whl"]})
    told = caught.value.message + bench.said.decode()
    assert "no https://***@index/simple, nor ***" in told
    assert "`uv pip install x @ https://***@host/x.whl` ended with exit code 2" in told
    assert "-own" not in told


def test_secrets_say_where_to_look_and_are_told_to_nobody(bench: Bench) -> None:
    bench.prints = b"with the key k-12345\n"
    bench.build(PIP, PIP_INDEX_URL="https://secret/simple", KEY="k-12345")
    assert bench.commands[0].env["UV_DEFAULT_INDEX"] == "https://secret/simple"
    assert b"with the key ***" in bench.said


def test_git_is_shown_the_token_of_each_host(bench: Bench) -> None:
    bench.prints = b"fatal: lab-token\n"
    bench.build(PRIVATE, GITHUB_TOKEN="hub-token", GITLAB_TOKEN="lab-token")
    env = bench.commands[0].env
    assert bench.files["packages.txt"].decode().splitlines() == [
        "git+https://github.com/me/a@main", "git+https://gitlab.com/me/b",
    ]  # fmt: skip
    assert env["GIT_CONFIG_COUNT"] == "2"
    assert env["GIT_CONFIG_KEY_0"] == "http.https://github.com/.extraHeader"
    shown = base64.b64encode(b"me:lab-token").decode()
    assert env["GIT_CONFIG_VALUE_1"] == f"Authorization: Basic {shown}"
    assert b"fatal: ***" in bench.said


def test_a_secret_without_the_token_is_named(bench: Bench) -> None:
    with pytest.raises(ImageBuildError, match=r"gitlab\.com have no GITLAB_TOKEN"):
        bench.build(PRIVATE, GITHUB_TOKEN="hub-token")


def test_a_version_of_uv_is_run_by_the_daemons_own(bench: Bench) -> None:
    bench.build({**PIP, "uv_version": "0.6.1"})
    assert bench.plans[0]["uv"][1:] == ("tool", "run", "--quiet", "--from", "uv==0.6.1", "uv")


def test_an_image_that_cannot_run_uv_gets_one_that_needs_nothing(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    static = Path(_kept_static(tmp_path))
    bench.codes = [1, 0]
    bench.leaves.append("static")
    built = bench.build(PIP)
    assert files_of(built.layers[-1]) == ["usr/lib/words"]
    assert len(bench.commands) == 2
    assert static.exists()
    assert bench.left() == []


def _kept_static(home: Path) -> str:
    """As if it had been fetched before."""
    import importlib.metadata

    root = str(home / "images")
    place = Caches(root, Unsettled(root)).directory(installing.STATIC)
    kept = Path(place, f"uv-{importlib.metadata.version('uv')}")
    kept.touch()
    return asyncio.run(tools.static_uv(str(kept.parent)))


def test_a_project_of_uv_is_exported_as_it_is_locked(bench: Bench) -> None:
    bench.build(UV_SYNC)
    (export,) = bench.plans[0]["before"]
    assert export[:2] == (tools.UV, "export")
    assert "--frozen" in export
    assert export[export.index("--group") :] == (
        "--group", "a", "--extra", "b", "--no-emit-package", "x"
    )  # fmt: skip
    assert set(bench.files) >= {"pyproject.toml", "uv.lock"}


def test_a_project_of_uv_without_a_lock_is_resolved(bench: Bench) -> None:
    bench.build({**UV_SYNC, "lock": None})
    assert "--frozen" not in bench.plans[0]["before"][0]
    assert "uv.lock" not in bench.files


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, ("--with", "dev")),
        ({"with": ["docs"]}, ("--with", "dev,docs")),
        ({"without": ["dev"]}, ()),
        ({"without": ["main"]}, ("--with", "dev", "--without", "main")),
        ({"only": ["docs"]}, ("--only", "docs")),
    ],
)
def test_groups_of_poetry_are_those_that_it_would_install(
    bench: Bench, fields: dict[str, Any], words: tuple[str, ...]
) -> None:
    bench.build({**POETRY, **fields})
    (export,) = bench.plans[0]["before"]
    assert export[export.index("requirements.txt") + 3 :] == words


def test_poetry_locks_what_has_no_lock(bench: Bench) -> None:
    bench.build({**POETRY, "lock": None, "poetry_version": None})
    lock, export = bench.plans[0]["before"]
    assert lock == ("poetry", "lock")
    assert export[:2] == ("poetry", "export")


def test_what_is_no_project_of_poetry_is_refused(bench: Bench) -> None:
    with pytest.raises(ImageBuildError, match="no project of Poetry"):
        bench.build({**POETRY, "pyproject": "3" * 64})
