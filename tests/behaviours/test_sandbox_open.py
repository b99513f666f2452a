"""`Sandbox.open` and what went with it, as programs of before `Sandbox.filesystem` use them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import volant
from volant.errors import (
    InvalidError,
    SandboxFilesystemNotFoundError,
    SandboxFilesystemPathAlreadyExistsError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

app = volant.App("of-open-files")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[volant.Sandbox]:
    with app.run():
        yield volant.Sandbox.create(app=app)


def shown(sandbox: volant.Sandbox, path: str) -> str:
    return sandbox.exec("cat", path).stdout.read()


def test_a_file_is_written_and_read_in_both_forms(sandbox: volant.Sandbox) -> None:
    with sandbox.open("/tmp/text", "w") as file:
        file.write("one\ntwo\n")
        assert shown(sandbox, "/tmp/text") == ""
        file.flush()
        assert shown(sandbox, "/tmp/text") == "one\ntwo\n"
        file.write("dreißig\n")
    assert shown(sandbox, "/tmp/text") == "one\ntwo\ndreißig\n"
    file = sandbox.open("/tmp/text")
    assert (file.read(2), file.readline(), file.readlines()) == (
        "on",
        "e\n",
        ["two\n", "dreißig\n"],
    )
    assert file.read() == ""
    file.seek(4)
    assert file.read(3) == "two"
    file.close()
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.read()
    with sandbox.open("/tmp/bytes", "wb") as binary:
        binary.write(bytes(range(256)))
    with sandbox.open("/tmp/bytes", "rb") as binary:
        assert binary.read() == bytes(range(256))


def test_a_file_grows_at_its_end_and_changes_in_its_middle(sandbox: volant.Sandbox) -> None:
    for word in ("one", "two"):
        with sandbox.open("/tmp/grows", "a") as file:
            file.seek(0)
            file.write(word)
    with sandbox.open("/tmp/grows", "r+b") as file:
        file.seek(-3, 2)
        file.write(b"six")
    assert shown(sandbox, "/tmp/grows") == "onesix"


def test_modes_are_held_to(sandbox: volant.Sandbox) -> None:
    sandbox.open("/tmp/new", "x").close()
    with pytest.raises(SandboxFilesystemPathAlreadyExistsError, match="/tmp/new"):
        sandbox.open("/tmp/new", "x")
    with pytest.raises(SandboxFilesystemNotFoundError, match="/tmp/none"):
        sandbox.open("/tmp/none")
    with pytest.raises(InvalidError, match="not open for that"):
        sandbox.open("/tmp/new").write("x")
    with pytest.raises(InvalidError, match="not open for that"):
        sandbox.open("/tmp/new", "w").read()
    with pytest.raises(TypeError, match="bytes-like"):
        sandbox.open("/tmp/new", "wb").write("x")
    with pytest.raises(InvalidError, match="must be absolute"):
        sandbox.open("new")


@pytest.mark.parametrize("mode", ["", "b", "rw", "rr", "z", "rbt", "+"])
def test_modes_that_there_are_not(sandbox: volant.Sandbox, mode: str) -> None:
    with pytest.raises(InvalidError, match=f"no mode '{mode.replace('+', '[+]')}'"):
        sandbox.open("/tmp/new", mode)


def test_directories_are_made_listed_and_removed(sandbox: volant.Sandbox) -> None:
    with pytest.raises(SandboxFilesystemNotFoundError):
        sandbox.mkdir("/tmp/a/b")
    sandbox.mkdir("/tmp/a/b", parents=True)
    sandbox.open("/tmp/a/c", "w").close()
    assert sandbox.ls("/tmp/a") == ["b", "c"]
    sandbox.rm("/tmp/a", recursive=True)
    assert "a" not in sandbox.ls("/tmp")


def test_all_of_it_can_be_awaited(sandbox: volant.Sandbox) -> None:
    async def use() -> str:
        async with await sandbox.open.aio("/tmp/awaited", "w+") as file:
            await file.write.aio("text")
            await file.seek.aio(0)
            found: str = await file.read.aio()
        assert "awaited" in await sandbox.ls.aio("/tmp")
        return found

    assert asyncio.run(use()) == "text"
    assert shown(sandbox, "/tmp/awaited") == "text"
