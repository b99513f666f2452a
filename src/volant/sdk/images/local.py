"""The local files of an image: found when a step is described, read when its app runs.

    LocalFile, LocalTree ─► file_list() ─► [path in the container, mode, sha256, size], sorted
                                       └─► Gathered.contents: sha256 -> path or bytes, to send

What is sent depends on content alone, never on where or when: paths are those in the container,
and the permission bits lose what a umask decides (writing by group and others). Empty directories
do not travel. Links are followed to files, and to directories inside the added one; any other link
to a directory, a broken one, and what is neither file nor directory is refused, so that nothing
is left out unnoticed. In a container there are no local files, so nothing is looked for there.
"""

from __future__ import annotations

import os
import stat

from volant.errors import InvalidError, NotFoundError
from volant.sdk.ambient import is_local
from volant.sdk.images.host import is_below
from volant.sdk.sources import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, Protocol

    from volant.sdk.images.patterns import Ignored

    class Choice(Protocol):
        """Which files below a directory are not sent; paths are relative to it."""

        def leaves_out(self, path: str) -> bool:
            """True for a file that is not sent."""

        def leaves_out_all(self, directory: str) -> bool:
            """True if there is no need to look into a directory."""


#: Most local files of one image: beyond, something was added that nobody meant.
FILES_MAX = 100_000
#: Permission bits that travel. A umask, which differs between machines, decides on the others.
_MODE_BITS = 0o755
_PIECE_BYTES = 1 << 20


class Gathered:
    """What reading the steps of an image brings together, beside their own fields."""

    __slots__ = ("calls", "contents", "files_count", "secrets", "sizes", "step", "stored")

    def __init__(self) -> None:
        #: sha256 -> where the content is: a local path, or the content itself
        self.contents: dict[str, str | bytes] = {}
        #: digest of a step that runs a function -> what its call needs and its key does not
        self.calls: dict[str, dict[str, object]] = {}
        #: sha256 -> size in bytes, of what no list of files names
        self.sizes: dict[str, int] = {}
        self.files_count = 0
        #: index of the step that is read
        self.step = 0
        #: index of a step -> its field -> values of the variables that secrets give it
        self.secrets: dict[str, dict[str, dict[str, str]]] = {}
        #: the same of secrets that are stored, in layers
        self.stored: dict[str, dict[str, list[dict[str, Any]]]] = {}

    def add_bytes(self, content: bytes) -> str:
        """Have a content sent; returns its digest."""
        digest: str = sha256(content).hexdigest()
        self.contents[digest] = content
        self.sizes[digest] = len(content)
        return digest

    def add_file(self, path: str) -> tuple[int, str, int]:
        """Have a local file sent; returns its mode, digest and size.

        Raises:
            InvalidError: when it cannot be read, is no file, or is one too many.
        """
        self.files_count += 1
        if self.files_count > FILES_MAX:
            raise InvalidError(
                f"more than {FILES_MAX} local files in an image, the last is {path}",
                hint="leave some out with ignore=, or copy a smaller directory",
            )
        digest, size = sha256(), 0
        try:
            with open(path, "rb", buffering=0, opener=_open_at_once) as file:
                mode = os.fstat(file.fileno()).st_mode
                if not stat.S_ISREG(mode):
                    raise _no_file(path)
                while piece := file.read(_PIECE_BYTES):
                    digest.update(piece)
                    size += len(piece)
        except OSError as error:
            raise _unreadable(path, error) from error
        name: str = digest.hexdigest()
        self.contents[name] = path
        return mode & _MODE_BITS, name, size


def _open_at_once(path: str, flags: int) -> int:
    """Open a path, without waiting for the other end if it is a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


class LocalFile:
    """A local file and where it will be in the container."""

    __slots__ = ("local", "remote")

    def __init__(self, local: str, remote: str) -> None:
        self.local = local
        self.remote = remote

    def pairs(self) -> Iterator[tuple[str, str]]:
        """(path in the container, local path) of each file."""
        yield self.remote, self.local


class LocalTree:
    """A local directory and where it will be in the container."""

    __slots__ = ("ignored", "local", "remote")

    def __init__(self, local: str, remote: str, ignored: Ignored) -> None:
        self.local = local
        self.remote = remote
        self.ignored = ignored

    def pairs(self) -> Iterator[tuple[str, str]]:
        """(path in the container, local path) of each file that is not ignored.

        Raises:
            InvalidError: for a directory that cannot be read, and for links that lead nowhere or
                to a directory elsewhere.
        """
        remote = self.remote.rstrip("/")
        for below, path in walk(self.local, self.ignored):
            yield f"{remote}/{below}" if remote or self.remote else below, path


def walk(root: str, ignored: Choice) -> Iterator[tuple[str, str]]:
    """(relative path, path) of each file below a directory that is not ignored, sorted.

    Raises:
        InvalidError: as `LocalTree.pairs`.
    """
    waiting: list[tuple[str, str, tuple[str, ...]]] = [("", root, (os.path.realpath(root),))]
    while waiting:
        prefix, directory, above = waiting.pop()
        try:
            with os.scandir(directory) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            raise _unreadable(directory, error) from error
        for entry in entries:
            below = prefix + entry.name
            if entry.is_dir():
                if ignored.leaves_out_all(below):
                    continue
                real = os.path.realpath(entry.path)
                if entry.is_symlink():
                    if ignored.leaves_out(below):
                        continue
                    _check_link(entry.path, real, above)
                waiting.append((f"{below}/", entry.path, (*above, real)))
            elif not ignored.leaves_out(below):
                if not entry.is_file():
                    raise _no_file(entry.path)
                yield below, entry.path


def _check_link(path: str, real: str, above: tuple[str, ...]) -> None:
    """Refuse a link to a directory outside the added one, or to one that it is in itself."""
    if real in above:
        raise InvalidError(
            f"{path} is a link to a directory that it lies in", hint="leave it out with ignore="
        )
    if not is_below(real, above[0]):
        raise InvalidError(
            f"{path} is a link to directory {real}, outside {above[0]}",
            hint="leave it out with ignore=, and add that directory in a step of its own",
        )


def file_list(
    added: Iterable[LocalFile | LocalTree],
    gathered: Gathered,
) -> list[list[object]]:
    """Files as a step lists them: [path, mode, digest, size], sorted; the last of a path counts.

    Raises:
        InvalidError: for files that cannot be read, and for one that is in the way of others.
    """
    found: dict[str, str] = {}
    for one in added:
        found.update(one.pairs())
    for path in found:
        above = path
        while above := above.rpartition("/")[0]:
            if above in found:
                raise InvalidError(f"{path} and {above} cannot both be files of an image")
    return [[path, *gathered.add_file(found[path])] for path in sorted(found)]


class FileList:
    """The files of a step, read when its app runs."""

    __slots__ = ("added",)

    def __init__(self, added: tuple[LocalFile | LocalTree, ...]) -> None:
        self.added = added

    def read(self, gathered: Gathered) -> list[list[object]]:
        """The list, for the wire."""
        return file_list(self.added, gathered)


class Content:
    """The content of one file, read when its app runs."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self, gathered: Gathered) -> str:
        """Its digest, for the wire."""
        _, digest, size = gathered.add_file(self.path)
        gathered.sizes[digest] = size
        return digest


def local_path(where: str, given: object, *, is_directory: bool = False) -> str:
    """An existing local path, absolute; a relative one lies in the caller's working directory.

    Raises:
        InvalidError: for what is no path, and for the wrong kind of thing there.
        NotFoundError: when nothing is there.
    """
    if not isinstance(given, (str, os.PathLike)) or not isinstance(os.fspath(given), str):
        raise InvalidError(f"{where} must be a path, got {given!r}")
    path = os.path.abspath(os.path.expanduser(os.fspath(given)))
    if not is_local() or (os.path.isdir(path) if is_directory else os.path.isfile(path)):
        return path
    if not os.path.exists(path):
        raise NotFoundError(f"{where}: there is no {path}", hint=_where_it_may_be(path))
    if is_directory:
        raise InvalidError(f"{where}: {path} is no directory", hint="for a file: add_local_file")
    if os.path.isdir(path):
        raise InvalidError(f"{where}: {path} is a directory", hint="use add_local_dir for one")
    raise _no_file(path)


def read_text(path: str) -> str:
    """A text file.

    Raises:
        InvalidError: when it cannot be read or is no text.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise InvalidError(f"{path} is not UTF-8 text") from error


def _unreadable(path: str, error: OSError) -> InvalidError:
    return InvalidError(f"cannot read {path}: {error.strerror}")


def _no_file(path: str) -> InvalidError:
    what = "a broken link" if os.path.islink(path) and not os.path.exists(path) else "no file"
    return InvalidError(
        f"{path} is {what}, so it cannot be added", hint="leave it out with ignore="
    )


def _where_it_may_be(path: str) -> str:
    """What to say about a path that leads nowhere: what is called nearly so, or where it begins."""
    import difflib

    directory, name = os.path.split(path)
    try:
        near = difflib.get_close_matches(name, os.listdir(directory), n=1, cutoff=0.75)
    except OSError:
        near = []
    if near:
        return f"did you mean {os.path.join(directory, near[0])}?"
    return f"relative paths begin in the working directory, which is {os.getcwd()}"
