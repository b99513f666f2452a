"""Functions with volumes."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import volant

if TYPE_CHECKING:
    from collections.abc import Iterator

app = volant.App("volumes")
volume = volant.Volume.from_name("behaviours", create_if_missing=True)
other = volant.Volume.from_name("behaviours-other", create_if_missing=True)
third = volant.Volume.from_name("behaviours-third", create_if_missing=True)


@app.function(volumes={"/data": volume}, max_containers=1)
def write(files: dict[str, str], *, commit: bool = True, remove: tuple[str, ...] = ()) -> list[str]:
    for name, text in files.items():
        os.makedirs(os.path.dirname(f"/data/{name}"), exist_ok=True)
        with open(f"/data/{name}", "w") as file:
            file.write(text)
    for name in remove:
        os.unlink(f"/data/{name}")
    if commit:
        volume.commit()
    return tree("/data")


@app.function(volumes={"/data": volume}, max_containers=1)
def look(*, reload: bool = False) -> dict[str, str]:
    """What another container sees."""
    if reload:
        volume.reload()
    found = {}
    for name in tree("/data"):
        if os.path.isfile(f"/data/{name}"):
            with open(f"/data/{name}") as file:
                found[name] = file.read()
    return found


@app.function(volumes={"/data": volume}, single_use_containers=True)
def run(what: str, **given: Any) -> Any:
    return globals()[what](**given)


@app.function(volumes={"/ro": volume.with_mount_options(read_only=True)})
def write_read_only() -> tuple[list[str], str]:
    try:
        with open("/ro/new", "w"):
            return [], "written"
    except OSError as error:
        return tree("/ro"), error.strerror or ""


@app.function(volumes={"/part": volume.with_mount_options(sub_path="some/part")})
def write_part(name: str) -> list[str]:
    with open(f"/part/{name}", "w") as file:
        file.write("part")
    volume.commit()
    return tree("/part")


@app.function(volumes={"/data": volume, "/data/inner": other, "/elsewhere/deep": third})
def several() -> list[str]:
    for place in ("/data", "/data/inner", "/elsewhere/deep"):
        with open(f"{place}/who", "w") as file:
            file.write(place)
    volume.commit()
    return sorted(os.listdir("/data/inner"))


alone = volant.App("volumes-alone", volumes={"/data": volume})


@alone.cls()
class Alone:
    @volant.enter()
    def load(self) -> None:
        with open("/data/entered", "w") as file:
            file.write("entered")

    @volant.method()
    def names(self) -> Iterator[str]:
        yield from tree("/data")

    @volant.exit()
    def leave(self) -> None:
        with open("/data/exited", "w") as file:
            file.write("exited")


def tree(top: str) -> list[str]:
    found = []
    for directory, directories, files in os.walk(top):
        found += [os.path.relpath(f"{directory}/{one}", top) for one in (*directories, *files)]
    return sorted(found)


def fail() -> None:
    with open("/data/failed", "w") as file:
        file.write("before it failed")
    raise ValueError("on purpose")


def die() -> None:
    with open("/data/died", "w") as file:
        file.write("before it died")
    os.kill(os.getpid(), signal.SIGKILL)


def keep_open(how: str) -> str:
    with open("/data/held", "w") as file:
        file.write("held")
    kept: Any = None
    before = os.getcwd()
    if how == "open":
        kept = open("/data/held")  # noqa: SIM115
    else:
        os.mkdir("/data/working")
        os.chdir("/data/working")
    try:
        volume.reload()
    except volant.Error as error:
        said = f"{type(error).__name__}: {error}"
    else:
        said = "reloaded"
    if kept is not None:
        kept.close()
    os.chdir(before)
    volume.reload()
    return said


def files_of_all_kinds() -> None:
    os.makedirs("/data/kinds/dir", exist_ok=True)
    os.chmod("/data/kinds/dir", 0o700)
    with open("/data/kinds/file", "wb") as file:
        file.write(b"x" * 200_000)
    os.chmod("/data/kinds/file", 0o751)
    os.setxattr("/data/kinds/file", "user.note", b"kept")
    os.link("/data/kinds/file", "/data/kinds/same")
    os.symlink("file", "/data/kinds/link")
    os.mkfifo("/data/kinds/pipe")
    with open("/data/kinds/sparse", "wb") as file:
        file.truncate(20 << 30)


def look_at_kinds() -> dict[str, Any]:
    info = os.stat("/data/kinds/file")
    with open("/data/kinds/same", "rb") as file:
        size = len(file.read())
    return {
        "names": sorted(os.listdir("/data/kinds")),
        "modes": (info.st_mode & 0o7777, os.stat("/data/kinds/dir").st_mode & 0o7777),
        "owner": (info.st_uid, info.st_gid),
        "xattr": os.getxattr("/data/kinds/file", "user.note"),
        "link": os.readlink("/data/kinds/link"),
        "size": size,
        "sparse": (os.stat("/data/kinds/sparse").st_size, os.stat("/data/kinds/sparse").st_blocks),
    }


def rename_directory() -> list[str]:
    os.makedirs("/data/old/inner", exist_ok=True)
    with open("/data/old/inner/file", "w") as file:
        file.write("moved")
    volume.commit()
    volume.reload()  # now the directory lies below, and is not this container's own
    os.rename("/data/old", "/data/new")
    volume.commit()
    return tree("/data/new")


def travel(handle: volant.Volume) -> list[str]:
    return [entry.path for entry in handle.listdir("/")]
