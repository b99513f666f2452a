"""Steps that add local files: into a layer of the image, or into containers when they start."""

from __future__ import annotations

import os

from volant.errors import InvalidError
from volant.sdk.ambient import is_local
from volant.sdk.images import checks
from volant.sdk.images.chain import WORKDIR_DEFAULT, Chain
from volant.sdk.images.local import LocalFile, LocalTree, local_path
from volant.sdk.images.patterns import NON_PYTHON_FILES, Ignored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from volant.sdk.images.image import Image
    from volant.sdk.images.patterns import Ignore


class Adding(Chain):
    """The methods of `Image` that add local files."""

    __slots__ = ()

    def add_local_file(
        self, local_path: str | Path, remote_path: str, *, copy: bool = False
    ) -> Image:
        """Add a local file, as it is when the app runs.

        Args:
            local_path: relative to the working directory of the caller; `~` is the home.
            remote_path: in the container; a relative one lies in the image's working directory,
                and one that ends with `/` is the directory for the file.
            copy: write it into a layer, so that later steps see it. Without, containers get it
                when they start, a change rebuilds nothing, and no other step may follow.

        Raises:
            InvalidError: for a directory; after files that were added without `copy`.
            NotFoundError: when there is no such file.

        Example:
            >>> Image.debian_slim("3.12").add_local_file("more.txt", "/etc/more.txt")
            <volant.Image of debian_slim and 1 added>
        """
        where = "add_local_file"
        path = _local_path(where, local_path)
        self._refuse_host(where)
        target = checks.container_path(f"{where}: remote_path", remote_path, self._workdir)
        if os.fspath(remote_path).endswith("/"):
            target = f"{target.rstrip('/')}/{os.path.basename(path)}"
        if target == "/":
            raise InvalidError(
                f"{where}: {remote_path!r} cannot be a file", hint="write the whole path"
            )
        return self._attaching(where, [LocalFile(path, target)], copy)

    def add_local_dir(
        self,
        local_path: str | Path,
        remote_path: str,
        *,
        copy: bool = False,
        ignore: Ignore = (),
    ) -> Image:
        """Add the files of a local directory, as they are when the app runs.

        Links are followed to files and to directories inside it; a link to a directory elsewhere
        is an error, and so is a broken one. Empty directories are not added.

        Args:
            local_path: relative to the working directory of the caller; `~` is the home.
            remote_path: in the container; a relative one lies in the image's working directory.
            copy: as in `add_local_file`.
            ignore: files to leave out: patterns in the syntax of `.dockerignore`, a
                `volant.FilePatternMatcher`, or a callable that is given each path. All see paths
                relative to `local_path`.

        Raises:
            InvalidError: for a file; after files that were added without `copy`.
            NotFoundError: when there is no such directory.

        Example:
            >>> Image.debian_slim("3.12").add_local_dir("site", "/site", ignore=["**/*.tmp"])
            <volant.Image of debian_slim and 1 added>
        """
        where = "add_local_dir"
        path = _local_path(where, local_path, is_directory=True)
        ignored = Ignored(ignore)
        self._refuse_host(where)
        target = checks.container_path(f"{where}: remote_path", remote_path, self._workdir)
        return self._attaching(where, [LocalTree(path, target, ignored)], copy)

    def add_local_python_source(
        self, *modules: str, copy: bool = False, ignore: Ignore = NON_PYTHON_FILES
    ) -> Image:
        """Add local modules and packages, so that containers can import them.

        Args:
            modules: names as in an `import`, found as Python finds them here; that imports the
                packages which they lie in, if any.
            copy: as in `add_local_file`.
            ignore: files of packages to leave out, as in `add_local_dir`; by default all but
                Python sources.

        Raises:
            InvalidError: for what is no name; after files that were added without `copy`.
            ModuleNotMountable: for a module that is not found here, or has no source.

        Example:
            >>> Image.debian_slim("3.12").add_local_python_source("tools")
            <volant.Image of debian_slim and 1 added>
        """
        where = "add_local_python_source"
        ignored = Ignored(ignore)
        added: list[LocalFile | LocalTree] = []
        for name in checks.flattened(where, modules):
            added += _of_module(name, ignored)
        self._refuse_host(where)
        if not added:
            return self._made(self._steps, self._attached)
        return self._attaching(where, added, copy)


#: The methods have arguments of this name.
_local_path = local_path


def _of_module(name: str, ignored: Ignored) -> Iterator[LocalFile | LocalTree]:
    """A module's file, or the directories of a package."""
    from importlib import util

    from volant.errors import ModuleNotMountable

    if not all(part.isidentifier() for part in name.split(".")):
        raise InvalidError(
            f"add_local_python_source: {name!r} is not the name of a module",
            hint="write it as in an import; for a path use add_local_file or add_local_dir",
        )
    remote = f"{WORKDIR_DEFAULT}/{name.replace('.', '/')}"
    if not is_local():
        yield LocalFile(remote, remote)  # nothing is read here: images are built elsewhere
        return
    try:
        spec = util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise ModuleNotMountable(
            f"there is no module {name!r} here, so it cannot be added to an image",
            hint="check its spelling and sys.path",
        )
    if spec.submodule_search_locations is not None:
        for directory in spec.submodule_search_locations:
            yield LocalTree(directory, remote, ignored)
    elif spec.origin is not None and spec.origin.endswith(".py"):
        yield LocalFile(spec.origin, f"{remote}.py")
    else:
        raise ModuleNotMountable(
            f"module {name!r} has no Python source, so it cannot be added to an image",
            hint="install it in the image, for example with pip_install",
        )
