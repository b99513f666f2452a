"""The files of a sandbox: `filesystem`, and the names that it had before."""

from __future__ import annotations

from volant.sdk.objects.asking import both, both_iter
from volant.sdk.sandboxes.abilities.handle import Handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from volant.sdk.objects.asking import Steps, Values
    from volant.sdk.sandboxes.files.filesystem import SandboxFilesystem
    from volant.sdk.sandboxes.files.info import FileWatchEvent, FileWatchEventType
    from volant.sdk.sandboxes.files.opened import FileIO


class Files(Handle):
    """What reads and writes files of a sandbox from outside."""

    _files: SandboxFilesystem | None = None

    @property
    def filesystem(self) -> SandboxFilesystem:
        """Its files: read, written, listed and watched from outside."""
        if self._files is None:
            from volant.sdk.sandboxes.files.filesystem import SandboxFilesystem

            self._files = SandboxFilesystem(self._sandbox_id, self._check)
        return self._files

    @both
    def open(self, path: str, mode: str = "r") -> Steps[FileIO]:
        """Open a file as `open` does, for programs that do; `filesystem` needs one step instead.

        Args:
            path: of the sandbox, absolute.
            mode: `r`, `w`, `a` or `x`, with `+` and `b`.

        Raises:
            InvalidError: for a mode that there is not, and a path that is not absolute.
            SandboxFilesystemError: it cannot be opened.
        """
        from volant.sdk.sandboxes.files import filesystem, opened

        return (yield from opened.opened(self.filesystem, filesystem.checked_path(path), mode))

    @both
    def ls(self, path: str) -> Steps[list[str]]:
        """Names in a directory, in order; raises as `filesystem.list_files`."""
        files = self.filesystem
        found = yield from type(files).list_files._steps(files, path)
        return [one.name for one in found]

    @both
    def mkdir(self, path: str, parents: bool = False) -> Steps[None]:
        """Make a directory; as `filesystem.make_directory`, but for the default."""
        files = self.filesystem
        yield from type(files).make_directory._steps(files, path, create_parents=parents)

    @both
    def rm(self, path: str, recursive: bool = False) -> Steps[None]:
        """Remove a file or directory; as `filesystem.remove`."""
        files = self.filesystem
        yield from type(files).remove._steps(files, path, recursive=recursive)

    @both_iter
    def watch(
        self, path: str, filter: Sequence[FileWatchEventType] | None = None,  # noqa: A002
        recursive: bool = False, timeout: float | None = None,
    ) -> Values[FileWatchEvent]:  # fmt: skip
        """What happens to a file, or in a directory; as `filesystem.watch`."""
        files = self.filesystem
        yield from type(files).watch._steps(
            files, path, filter=filter, recursive=recursive, timeout=timeout
        )
