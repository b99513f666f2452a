"""`volant sandbox cp`: files and directories into a sandbox, and out of it.

What a sandbox says of its files may be anything. So nothing is written but below the place that
was named: through no link that lies there, and no link is made that leads out of it.
"""

from __future__ import annotations

import os
import posixpath
import stat
import sys
from typing import TYPE_CHECKING

import click

from volant.cli.commands.sandbox.named import asked, resolved
from volant.cli.failures import BROKEN_PIPE, Refused, silence_stdout
from volant.cli.shared import show
from volant.cli.shared.counting import Progress
from volant.cli.shared.visible import visible
from volant.errors import SandboxFilesystemNotFoundError
from volant.sdk.objects.asking import blocking
from volant.sdk.sandboxes.files import transferring
from volant.sdk.sandboxes.files.info import FileType

if TYPE_CHECKING:
    from collections.abc import Callable

    from volant.sdk.sandboxes.files.filesystem import SandboxFilesystem
    from volant.wire.exchange import Exchange

#: Directories within directories.
DEPTH_MAX = 256
#: The target that is standard output, as for `volant volume get`.
STDOUT = "-"
#: Names of what was left out that are said one by one.
TOLD_MAX = 20


@click.command(
    "cp",
    epilog="\b\nExamples:\n  volant sandbox cp data.csv sb-01h2…:/root/\n"
    "  volant sandbox cp ./src sb-01h2…:/root/src\n  volant sandbox cp worker:/root/out ./out",
)
@click.argument("source")
@click.argument("target")
@click.option("--json", "as_json", is_flag=True, help="Print JSON with lower_snake keys.")
def cp(source: str, target: str, as_json: bool) -> int:
    """Copy a file or directory from SOURCE to TARGET, one of which is SANDBOX:PATH.

    SANDBOX is an id or a name, and PATH absolute. A directory is copied with all that is in it. If
    the target is a directory, or ends with a slash, the copy lies in it under its own name. The
    target `-` is standard output, for a file of the sandbox.
    Permission bits of files go along into a sandbox. Links are copied out as links, if they lead
    to what is copied too; into a sandbox goes the file that one leads to. Devices, pipes and
    sockets, and links to directories or that lead out, are left out.
    """
    sides = [_split(one) for one in (source, target)]
    if sides == [None, None]:
        _refuse_relative(source, target)
    if (sides[0] is None) == (sides[1] is None):
        raise Refused(
            "one of both is in a sandbox, and the other here",
            hint="volant sandbox cp data.csv SANDBOX:/root/",
        )
    there = sides[0] or sides[1]
    assert there is not None
    copy = Copy(_files_of(there[0]))
    try:
        if sides[0] is not None and target == STDOUT:
            if as_json:
                raise Refused("standard output takes the file or JSON, not both")
            return copy.to_stdout(there[1])
        if sides[0] is not None:
            copy.out(there[1], target)
        else:
            copy.into(source, there[1])
    except OSError as error:
        what = f"{error.strerror}: {visible(str(error.filename))}"
        raise Refused(what, exit_code=1) from error
    copy.tell_left_out()
    if as_json:
        show.print_json({
            "files": copy.progress.files, "size_bytes": copy.progress.size_bytes,
            "left_out": copy.left_out,
        })  # fmt: skip
    else:
        copy.progress.end()
    return 0


def _split(word: str) -> tuple[str, str] | None:
    """Sandbox and path; None for a place on this machine, such as `./a:b`."""
    name, colon, path = word.partition(":")
    return (name, path) if colon and path.startswith("/") and "/" not in name and name else None


def _refuse_relative(*words: str) -> None:
    """Raise for what would be a place in a sandbox, if its path were absolute.

    Raises:
        Refused: naming the path.
    """
    for word in words:
        name, colon, path = word.partition(":")
        if colon and name and "/" not in name and not os.path.lexists(word):
            raise Refused(
                f"a path in a sandbox must be absolute, got `{visible(path)}`",
                hint=f"{visible(name)}:/{visible(path)}, or ./{visible(word)} for a file here",
            )


def _files_of(word: str) -> SandboxFilesystem:
    from volant.sdk.sandboxes.sandbox import Sandbox

    sandbox = resolved(word)
    asked("sandbox_show", word, sandbox_id=sandbox)
    return Sandbox(sandbox).filesystem


class _NobodyReadsError(Exception):
    """Whoever read standard output has ended."""


class Copy:
    """One copy: what was done, and what was left out."""

    def __init__(self, files: SandboxFilesystem) -> None:
        self._files = files
        self.progress = Progress("copied")
        self.left_out: list[str] = []

    def tell_left_out(self) -> None:
        """Say on standard error what was not copied."""
        for path in self.left_out[:TOLD_MAX]:
            print(f"left out: {visible(path)}", file=sys.stderr)
        if len(self.left_out) > TOLD_MAX:
            print(f"left out: {len(self.left_out) - TOLD_MAX} more", file=sys.stderr)

    # -- into the sandbox

    def into(self, local: str, path: str) -> None:
        """Copy a file or directory of this machine."""
        if path.endswith("/") or self._is_directory(path):
            path = posixpath.join(path, os.path.basename(os.path.abspath(local)))
        if os.path.isdir(local):
            self._directory_into(local, path, 0)
        else:
            self._file_into(local, path)

    def _is_directory(self, path: str) -> bool:
        try:
            return self._files.stat(path).type is FileType.DIRECTORY
        except SandboxFilesystemNotFoundError:
            return False

    def _directory_into(self, local: str, path: str, depth: int) -> None:
        if depth > DEPTH_MAX:
            raise Refused(f"more than {DEPTH_MAX} directories within one another: {local[:200]}")
        self._files.make_directory(path)
        for entry in sorted(os.scandir(local), key=lambda one: one.name):
            inner = posixpath.join(path, entry.name)
            if entry.is_dir(follow_symlinks=False):
                self._directory_into(entry.path, inner, depth + 1)
            elif entry.is_file():
                self._file_into(entry.path, inner)
            else:
                self.left_out.append(entry.path)

    def _file_into(self, local: str, path: str) -> None:
        self._file(path, lambda exchange: transferring.copy_in(exchange, local, path))

    def _file(self, path: str, does: Callable[[Exchange], None]) -> None:
        """Copy one, and count as it goes: it may be a large one."""

        def counted(exchange: Exchange) -> None:
            exchange.on_piece = lambda size: self.progress.add(0, size)
            does(exchange)

        blocking(self._files._do(path, counted))
        self.progress.add(1, 0)

    # -- out of it

    def out(self, path: str, local: str) -> None:
        """Copy a file or directory of the sandbox."""
        if local.endswith("/") or os.path.isdir(local):
            name = posixpath.basename(posixpath.normpath(path))
            local = os.path.join(local, name or "root")
        if self._is_directory(path):
            self._directory_out(path, local, 0)
        else:
            self._file_out(path, local)

    def to_stdout(self, path: str) -> int:
        """Write a file of the sandbox to standard output, as it is; the exit code."""
        out = sys.stdout.buffer

        def take(piece: memoryview) -> None:
            try:
                out.write(piece)
            except BrokenPipeError:  # which would be taken for one of the sandbox
                raise _NobodyReadsError from None

        try:
            blocking(self._files._do(path, lambda at: transferring.read(at, path, None, take)))
            out.flush()
        except (_NobodyReadsError, BrokenPipeError):  # click would make another exit code of it
            silence_stdout()
            return BROKEN_PIPE
        return 0

    def _directory_out(self, path: str, local: str, depth: int) -> None:
        if depth > DEPTH_MAX:
            raise Refused(f"more than {DEPTH_MAX} directories within one another: {local[:200]}")
        if depth:
            _make_directory(local)
        else:
            os.makedirs(local, exist_ok=True)
        for entry in self._files.list_files(path):
            inner = os.path.join(local, entry.name)
            if entry.type is FileType.DIRECTORY:
                self._directory_out(entry.path, inner, depth + 1)
            elif entry.type is FileType.FILE:
                self._file_out(entry.path, inner)
            elif entry.type is FileType.SYMLINK and _stays_inside(entry.symlink_target, depth):
                _make_link(str(entry.symlink_target), inner)
            else:
                self.left_out.append(entry.path)

    def _file_out(self, path: str, local: str) -> None:
        if os.path.islink(local):
            raise Refused(
                f"a link lies where a file is to be: {visible(local)}",
                hint="remove it, or copy to another place",
            )
        self._file(path, lambda exchange: transferring.copy_out(exchange, path, local))


def _make_directory(local: str) -> None:
    """Make one that is not there; one that is there is no link."""
    try:
        os.mkdir(local)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(local).st_mode):
            raise


def _make_link(target: str, local: str) -> None:
    if os.path.islink(local):
        os.unlink(local)
    os.symlink(target, local)


def _stays_inside(target: str | None, depth: int) -> bool:
    """Whether a link leads to what is copied too: by no path from the root, and not above it.

    Behind a name `..` may lead anywhere, for that name may be a link as well.
    """
    if not target or target.startswith("/") or "\0" in target:
        return False
    parts = [part for part in target.split("/") if part not in ("", ".")]
    ups = parts.count("..")
    return ups <= depth and parts[:ups] == [".."] * ups
