"""Images: what a container sees as its file system and its Python.

`Image.host()`, the default, is the caller's own interpreter, virtual environment and packages,
plus the system directories they need, read-only under an overlay. Nothing is built. Home
directories, keys and `VOLANT_HOME` are not part of it.
"""

from __future__ import annotations

import os
import sys

from volant.sdk.planned import Planned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volant.sdk.generics import T

#: What a Python installation calls the directories that packages are installed into.
PACKAGE_DIRECTORIES = ("site-packages", "dist-packages")
#: Part of every host image already.
_SYSTEM_TREE = "/usr"


class Image:
    """An immutable description of a container's file system; made by `Image.host()`."""

    __slots__ = ("_spec",)

    def __init__(self, spec: dict[str, object]) -> None:
        self._spec = spec

    @staticmethod
    def host() -> Image:
        """The caller's own Python and packages, read-only under an overlay; builds nothing."""
        return Image({"kind": "host"})

    def pipe(self, recipe: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """`recipe(image, *args, **kwargs)`, for recipes between the steps of a chain."""
        return recipe(self, *args, **kwargs)

    def to_wire(self) -> dict[str, object]:
        """The image as a control message carries it."""
        return {
            "kind": "host",
            "python": sys.executable,
            "prefix": sys.prefix,
            "base_prefix": sys.base_prefix,
            "trees": host_trees(),
            "series": f"{sys.version_info[0]}.{sys.version_info[1]}",
        }

    def __repr__(self) -> str:
        return "Image.host()"


def host_trees() -> list[str]:
    """Directories outside /usr that this interpreter and its packages live in, outermost only."""
    found = {sys.prefix, sys.base_prefix, sys.exec_prefix}
    found.update(
        entry
        for entry in sys.path
        if os.path.basename(entry.rstrip("/")) in PACKAGE_DIRECTORIES and os.path.isdir(entry)
    )
    found.update([os.path.realpath(entry) for entry in found])
    trees: list[str] = []
    for tree in sorted(os.path.abspath(entry) for entry in found):
        if not any(is_below(tree, other) for other in (_SYSTEM_TREE, *trees)):
            trees.append(tree)
    return trees


def is_below(path: str, directory: str) -> bool:
    """True if `path` is `directory` or inside it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


for _name in (
    "debian_slim", "from_registry", "from_dockerfile", "micromamba", "from_scratch", "from_id",
    "from_name", "pip_install", "uv_pip_install", "uv_sync", "pip_install_from_requirements",
    "pip_install_from_pyproject", "pip_install_private_repos", "poetry_install_from_file",
    "micromamba_install", "apt_install", "run_commands", "dockerfile_commands", "run_function",
    "env", "workdir", "shell", "entrypoint", "cmd", "add_local_file", "add_local_dir",
    "add_local_python_source", "imports", "build", "publish", "logs", "hydrate", "object_id",
    "client", "get_dashboard_url",
):  # fmt: skip
    setattr(Image, _name, Planned(f"Image.{_name}"))
