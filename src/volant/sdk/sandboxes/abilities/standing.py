"""What stands still: a sandbox that is paused, and one of which copies are made."""

from __future__ import annotations

from volant import ids
from volant.errors import InvalidError
from volant.sdk.naming import check_name
from volant.sdk.objects.asking import ask, both
from volant.sdk.objects.handle import check_client
from volant.sdk.sandboxes.abilities.handle import Handle
from volant.sdk.sandboxes.asking import both_of_class

TYPE_CHECKING = False
if TYPE_CHECKING:
    from volant.sdk.objects.asking import Steps
    from volant.sdk.objects.client import Client
    from volant.sdk.sandboxes.copies import SandboxSnapshot
    from volant.sdk.sandboxes.sandbox import Sandbox


class Standing(Handle):
    """A part of `Sandbox`."""

    @both
    def pause(self) -> Steps[None]:
        """Have nothing in it run until `resume()`: its memory stays, and its clocks stand still.

        Returns when all of it has stopped. Connections to it wait; `exec` and new handles on its
        files are refused.

        Raises:
            ExecutionError: when it has finished, or this machine cannot stop it.
        """
        yield from self._ask("sandbox_pause")

    @both
    def resume(self) -> Steps[None]:
        """Let it go on where it was paused; it may run already.

        Raises:
            ExecutionError: when it has finished.
        """
        yield from self._ask("sandbox_resume")

    @both
    def fork(self, *, name: str | None = None) -> Steps[Sandbox]:
        """A running copy of it, with the memory, processes and files of one moment; both go on.

        Connections, and streams of commands, stay the first one's. It needs CRIU on the daemon's
        machine, and a sandbox with a network of its own.

        Args:
            name: of the copy.

        Raises:
            InvalidError: for a sandbox that cannot be copied.
            AlreadyExistsError: when the app has a sandbox of this name.
            ExecutionError: when it has finished, or cannot be copied on this machine.
        """
        if name is not None:
            check_name("a sandbox", name)
        from volant.sdk.sandboxes.sandbox import Sandbox

        copy_id = ids.new_id("sb")
        yield from self._ask("sandbox_fork", copy_id=copy_id, name=name)
        return Sandbox(copy_id)

    @both
    def _experimental_snapshot(self) -> Steps[SandboxSnapshot]:
        """Keep what runs in it, as of one moment; it goes on. What `fork` needs, this needs too.

        Raises:
            InvalidError: for a sandbox that cannot be copied.
            ResourceExhaustedError: when there are as many as there may be.
            ExecutionError: when it has finished, or cannot be copied on this machine.
        """
        from volant.sdk.sandboxes.copies import SandboxSnapshot

        reply = yield from self._ask("sandbox_memory_snapshot")
        return SandboxSnapshot(reply["snapshot_id"])

    @both_of_class
    @staticmethod
    def _experimental_from_snapshot(
        snapshot: SandboxSnapshot, client: Client | None = None, *, name: str | None = None
    ) -> Steps[Sandbox]:
        """A sandbox in which that goes on which ran when a snapshot was made.

        Args:
            snapshot: of any sandbox of an app that runs.
            name: of the new sandbox.

        Raises:
            NotFoundError: when the snapshot is gone, or its app does not run.
            AlreadyExistsError: when the app has a sandbox of this name.
            ExecutionError: it cannot be restored.
        """
        from volant.sdk.sandboxes.copies import SandboxSnapshot
        from volant.sdk.sandboxes.sandbox import Sandbox

        check_client(client)
        if not isinstance(snapshot, SandboxSnapshot):
            raise InvalidError(f"a sandbox is made of a SandboxSnapshot, got {snapshot!r}")
        if name is not None:
            check_name("a sandbox", name)
        copy_id, of = ids.new_id("sb"), snapshot.object_id
        yield ask("sandbox_restore", snapshot_id=of, copy_id=copy_id, name=name)
        return Sandbox(copy_id)

    _experimental_pause = pause
    _experimental_resume = resume
