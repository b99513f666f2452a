"""`volant volume`: trees of files that outlive containers."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING, Any

import click

from volant.cli.commands.objects import every
from volant.cli.commands.root import Group
from volant.cli.failures import Refused
from volant.cli.shared import show
from volant.cli.shared.counting import Progress
from volant.errors import InvalidError
from volant.sdk.volumes.entries import FileEntryType
from volant.sdk.volumes.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Iterator

    from volant.sdk.volumes.entries import FileEntry

_LETTERS = {FileEntryType.FILE: "-", FileEntryType.DIRECTORY: "d", FileEntryType.SYMLINK: "l"}
_KINDS = {FileEntryType.FILE: "file", FileEntryType.DIRECTORY: "directory",
          FileEntryType.SYMLINK: "link"}  # fmt: skip


#: What helps against an error of Python about a path.
_HINTS: dict[type[OSError], str] = {
    FileExistsError: "--force replaces it",
    IsADirectoryError: "-r takes a directory with all that is in it",
    FileNotFoundError: "`volant volume ls NAME -r` shows what there is",
}


class VolumeGroup(Group):
    """A group whose commands say in one line what is wrong with a path."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except OSError as error:
            what = f"{error.strerror}: {shown(str(error.filename))}"
            raise Refused(what, hint=_HINTS.get(type(error), "")) from error


@click.group(cls=VolumeGroup, epilog="\b\nExample:\n  volant volume put models weights.bin /v1/")
def group() -> None:
    """Volumes: trees of files that outlive containers."""


def _class() -> type[Volume]:
    return Volume


every.add_commands(group, "volume", _class, creates=False)


@group.command("create", epilog="\b\nExample:\n  volant volume create NAME")
@click.argument("name")
@click.option("--version", type=click.IntRange(1, 2), help="1 or 2, which are the same here.")
@every.environment_option
def create(name: str, version: int | None, environment: str | None) -> None:
    """Make a volume called NAME."""
    Volume.objects.create(name, version=version, environment_name=environment)
    click.echo(f"created volume {name}")


def _find(name: str, environment: str | None) -> Volume:
    every.need_server()
    return Volume.from_name(name, environment_name=environment)


@group.command("ls", epilog="\b\nExample:\n  volant volume ls models /checkpoints")
@click.argument("name")
@click.argument("path", default="/")
@click.option("-r", "--recursive", is_flag=True, help="Also what is in directories.")
@show.json_option
@every.environment_option
def ls(name: str, path: str, recursive: bool, as_json: bool, environment: str | None) -> None:
    """List what is in a directory of a volume."""
    entries = _find(name, environment).listdir(path, recursive=recursive)
    if as_json:
        show.print_json([
            {
                "path": shown(entry.path), "type": _KINDS[entry.type], "size": entry.size,
                "mode": entry.mode, "uid": entry.uid, "gid": entry.gid, "mtime": entry.mtime,
                "target": shown(entry.target),
            }
            for entry in entries
        ])  # fmt: skip
        return
    table = [
        {
            "mode": _LETTERS[entry.type] + stat.filemode(entry.mode)[1:],
            "owner": f"{entry.uid}:{entry.gid}",
            "size": entry.size if entry.type == FileEntryType.FILE else None,
            "changed": show.age(entry.mtime),
            "path": shown(entry.path) + (f" -> {shown(entry.target)}" if entry.target else ""),
        }
        for entry in entries
    ]  # fmt: skip
    show.print_table(table, ("mode", "owner", "size", "changed", "path"), "nothing is in there")


@group.command("put", epilog="\b\nExample:\n  volant volume put models weights.bin /v1/")
@click.argument("name")
@click.argument("local", type=click.Path(exists=True))
@click.argument("remote", default="/")
@click.option("-f", "--force", is_flag=True, help="Replace files that are there already.")
@every.environment_option
def put(name: str, local: str, remote: str, force: bool, environment: str | None) -> None:
    """Put a file or directory into a volume.

    A path that ends with a slash is a directory, into which a file goes under its own name.
    """
    progress = Progress("sent")
    volume = Volume.from_name(name, environment_name=environment)
    with volume.batch_upload(force=force) as batch:
        batch.tell(progress.add)
        if os.path.isdir(local):
            batch.put_directory(local, remote)
        else:
            to = remote + os.path.basename(local) if remote.endswith("/") else remote
            batch.put_file(local, to)
    progress.end()


@group.command("get", epilog="\b\nExample:\n  volant volume get models /v1/weights.bin .")
@click.argument("name")
@click.argument("remote")
@click.argument("local", default=".")
@click.option("--force", is_flag=True, help="Replace files that are there already.")
@every.environment_option
def get(name: str, remote: str, local: str, force: bool, environment: str | None) -> None:
    """Get a file or directory out of a volume; `-` stands for standard output."""
    volume = _find(name, environment)
    if local == "-":
        for piece in volume.read_file(remote):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    progress = Progress("got")
    try:
        for entry, path in _wanted(volume, remote, local):
            _get(volume, entry, path, force=force)
            progress.add(1, entry.size if entry.type == FileEntryType.FILE else 0)
    finally:
        progress.end()


def _wanted(volume: Volume, remote: str, local: str) -> Iterator[tuple[FileEntry, str]]:
    """What is to be got, and where it goes; directories ahead of what is in them."""
    top = "/".join(part for part in remote.split("/") if part not in ("", "."))
    own = os.path.basename(top) or volume.name or "volume"
    target = os.path.join(local, own) if os.path.isdir(local) else local
    for entry in volume.iterdir(remote):
        if entry.path == top:
            yield entry, target
            return
        os.makedirs(target, exist_ok=True)
        yield entry, os.path.join(target, os.path.relpath(entry.path, top or "."))


def _get(volume: Volume, entry: FileEntry, path: str, *, force: bool) -> None:
    if entry.type == FileEntryType.DIRECTORY:
        os.makedirs(path, exist_ok=True)
        return
    if os.path.lexists(path):
        if not force:
            raise InvalidError(f"{shown(path)} exists", hint="--force replaces it")
        os.unlink(path)
    if entry.type == FileEntryType.SYMLINK:
        os.symlink(entry.target, path)
        return
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        volume.read_file_into_fileobj(entry.path, file)
        os.fchmod(file.fileno(), entry.mode & 0o777)
    os.utime(path, (entry.mtime, entry.mtime))


@group.command("cp", epilog="\b\nExample:\n  volant volume cp models /v1/weights.bin /best.bin")
@click.argument("name")
@click.argument("paths", nargs=-1, required=True)
@click.option("-r", "--recursive", is_flag=True, help="Also directories.")
@every.environment_option
def cp(name: str, paths: tuple[str, ...], recursive: bool, environment: str | None) -> None:
    """Copy files within a volume: one to a path, or several into a directory."""
    if len(paths) < 2:
        raise click.UsageError("give the paths to copy, and the one to copy to")
    Volume.from_name(name, environment_name=environment).copy_files(
        list(paths[:-1]), paths[-1], recursive=recursive
    )


@group.command("rm", epilog="\b\nExample:\n  volant volume rm models /v1 -r")
@click.argument("name")
@click.argument("path")
@click.option("-r", "--recursive", is_flag=True, help="Also a directory, with all in it.")
@every.environment_option
def rm(name: str, path: str, recursive: bool, environment: str | None) -> None:
    """Remove a file or directory from a volume."""
    Volume.from_name(name, environment_name=environment).remove_file(path, recursive=recursive)


@group.command("rename", epilog="\b\nExample:\n  volant volume rename models old-models")
@click.argument("old")
@click.argument("new")
@every.yes_option
@every.environment_option
def rename(old: str, new: str, yes: bool, environment: str | None) -> None:
    """Give a volume another name; programs that mean the old one no longer find it."""
    every.confirm(f"rename volume `{old}` to `{new}`?", yes=yes)
    Volume.rename(old, new, environment_name=environment)


@group.command("history", epilog="\b\nExample:\n  volant volume history models")
@click.argument("name")
@click.option("-n", "--max", "most", type=click.IntRange(1), help="States that are shown.")
@show.json_option
@every.environment_option
def history(name: str, most: int | None, as_json: bool, environment: str | None) -> None:
    """List the states that a volume has had, the latest first."""
    states = _find(name, environment).history(max_states=most)
    rows: list[dict[str, Any]] = [
        {
            "number": state.number, "created_at": state.created_at.timestamp(),
            "made_by": state.made_by, "action": shown(state.action), "entries": state.entries,
        }
        for state in states
    ]  # fmt: skip
    if as_json:
        show.print_json(rows)
        return
    table = [{**row, "made": show.age(row["created_at"])} for row in rows]
    columns = ("number", "made", "made_by", "entries", "action")
    show.print_table(table, columns, "nothing was committed yet")


@group.command("restore", epilog="\b\nExample:\n  volant volume restore models 3")
@click.argument("name")
@click.argument("number", type=click.IntRange(1))
@every.environment_option
def restore(name: str, number: int, environment: str | None) -> None:
    """Have a volume contain what it contained in an earlier state; that is a new state."""
    Volume.from_name(name, environment_name=environment).restore(number)
    print(f"volume {name} is as it was in state {number}", file=sys.stderr)


def shown(name: str) -> str:
    """A name that a stranger chose, for a terminal."""
    return name if name.isprintable() else ascii(name)[1:-1]
