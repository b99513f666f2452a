"""Root directories of templates and containers: overlays of an image's layers, or of this machine.

    of a built image      upper ─ lower ─ layers
    of this machine       upper ─ lower ─ [layers] ─ curated /etc     at each tree: upper ─ tree
    with layers over it                                               upper ─ layers' parts ─ tree

"Lower" has the sources and places to mount at. A layer over this machine has what was changed in a
tree below the tree's own path.
"""

from __future__ import annotations

import os

from volant.runner import linux
from volant.runner.view.places import (
    BASE_DIR,
    LOWER_DIR,
    NEW_ROOT,
    SCRATCH_DIR,
    TREES_DIR,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from volant.runner.isolate import Plan


def mount_container(plan: Plan, scratch: str) -> None:
    """Overlay the template's root and trees at NEW_ROOT, for one container."""
    os.mkdir(scratch, 0o700)
    _mount_root(plan.layers, scratch, plan.lower, plan.changes)
    _mount_trees(plan.trees, plan.changes, scratch)
    _hold(plan.read_only)  # also of what is mounted in the trees


def enter_image(layers: list[str], held: Iterable[str]) -> None:
    """For a template of a built image: make an overlay of its layers the root directory.

    Args:
        layers: where they are mounted, the highest first.
        held: mounts of the present root that the new one has in the same places.
    """
    scratch = _scratch_of_template()
    _mount_root(layers, scratch)
    _hold(held)
    enter(NEW_ROOT)


def enter_changed(changes: list[str], trees: Sequence[str], held: Iterable[str]) -> None:
    """For a template of this machine with layers over it: make both together the root directory.

    Args:
        changes: where the layers are mounted, the highest first.
        trees: those that the layers may have changed.
        held: as for `enter_image`.
    """
    scratch = _scratch_of_template()
    _mount_root([], scratch, changes=changes)
    _mount_trees(trees, changes, scratch)
    _hold(held)
    enter(NEW_ROOT)


def enter(root: str) -> None:
    """Make the mount at `root` the root directory and let go of everything above it."""
    os.chdir(root)
    linux.pivot_root(".", ".")  # the old root is now stacked on the new one
    linux.umount(".", linux.MNT_DETACH)
    os.chdir("/")


def _scratch_of_template() -> str:
    scratch = f"{SCRATCH_DIR}/template"
    os.mkdir(scratch, 0o700)
    return scratch


def _hold(paths: Iterable[str]) -> None:
    for path in paths:
        linux.mount(path, NEW_ROOT + path, "", linux.MS_BIND | linux.MS_REC)


def _mount_root(
    layers: list[str], scratch: str, lower: str = LOWER_DIR, changes: Sequence[str] = ()
) -> None:
    """The root of a container: sources and mount points, then its image, or the curated /etc."""
    upper = _overlay_dirs(scratch, "root")
    os.mkdir(upper + "/etc", 0o755)
    for name in ("hosts", "resolv.conf") if layers else ("hosts",):
        with open(f"{BASE_DIR}/etc/{name}", "rb") as source:
            content = source.read()
        with open(f"{upper}/etc/{name}", "wb") as target:
            target.write(content)
    _mount_overlay([lower, *(layers or [*changes, BASE_DIR])], scratch, "root", NEW_ROOT)


def _mount_trees(trees: Iterable[str], changes: Sequence[str], scratch: str) -> None:
    for index, path in enumerate(trees):
        _overlay_dirs(scratch, str(index))
        changed = [layer + path for layer in changes if os.path.isdir(layer + path)]
        _mount_overlay([*changed, TREES_DIR + path], scratch, str(index), NEW_ROOT + path)


def _overlay_dirs(scratch: str, name: str) -> str:
    upper = f"{scratch}/{name}"
    os.mkdir(upper, 0o755)
    os.mkdir(upper + "-work", 0o700)
    return upper


def _mount_overlay(lower: Sequence[str], scratch: str, name: str, target: str) -> None:
    # volatile: nothing of a container survives it, so nothing has to reach the disk.
    upper = f"{scratch}/{name}"
    names = ":".join(map(linux.escaped, lower))
    options = f"lowerdir={names},upperdir={upper},workdir={upper}-work,volatile,userxattr"
    linux.mount("overlay", target, "overlay", linux.MS_NOSUID | linux.MS_NODEV, options)
