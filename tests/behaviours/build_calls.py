"""Functions that builds of images call, in a module that needs nothing but Python."""

from __future__ import annotations


def prepare(name: str, *, text: str) -> None:
    import os

    os.makedirs("/srv/prepared")
    with open(f"/srv/prepared/{name}", "w") as file:
        file.write(text + TAIL)
    with open("beside", "w") as file:  # where sources lie
        file.write(os.getcwd())


TAIL = "!"


def keep(name: str, *, fails: bool = False) -> None:
    """Note in a volume what is there, and try to write to another one."""
    import os

    seen = sorted(os.listdir("/kept"))
    with open(f"/kept/{name}", "w") as file:
        file.write(" ".join(seen))
    os.chmod(f"/kept/{name}", 0o640)
    if fails:
        raise ValueError("after it was written")
    try:
        os.mkdir("/only-read/x")
    except OSError as error:
        print(f"it says: {error.strerror}")


async def prepare_later() -> None:
    import asyncio

    await asyncio.sleep(0)
    prepare("later", text="awaited")


def fail_to_prepare() -> None:
    raise ValueError("nothing to prepare")


def wait() -> None:
    import signal

    signal.pause()


def forget(limit: int) -> None:
    held = bytearray(limit)
    print(len(held))


def close() -> None:
    """Leave what nobody may read, and a program with its owner's rights."""
    from pathlib import Path

    place = Path("/closed/in")
    place.mkdir(parents=True)
    for path, mode in ((Path("/program"), 0o4755), (place / "file", 0)):
        path.touch()
        path.chmod(mode)
    place.chmod(0o500)
    place.parent.chmod(0o100)
