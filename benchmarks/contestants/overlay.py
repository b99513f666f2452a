"""Mounts an overlay of some layers, as containers of images have it; prints the milliseconds."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from time import perf_counter

from volant.runner import linux


def main(count: int) -> None:
    """Mount it once, in a mount namespace that ends with this process."""
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("none", "/", "", linux.MS_REC | linux.MS_PRIVATE)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        # Layers lie on what takes them all, whatever the file system of the directory is.
        linux.mount("layers", directory, "tmpfs")
        for name in ("upper", "work", "new"):
            (root / name).mkdir()
        layers = [root / str(number) for number in range(count)]
        for layer in layers:
            layer.mkdir()
            (layer / layer.name).touch()
        lower = ":".join(map(str, layers))
        data = f"lowerdir={lower},upperdir={root}/upper,workdir={root}/work,volatile"
        begun = perf_counter()
        linux.mount("overlay", str(root / "new"), "overlay", 0, data)
        print((perf_counter() - begun) * 1e3)
        linux.umount(str(root / "new"), linux.MNT_DETACH)
        linux.umount(directory, linux.MNT_DETACH)


if __name__ == "__main__":
    main(int(sys.argv[1]))
