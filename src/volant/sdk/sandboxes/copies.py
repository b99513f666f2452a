"""`SandboxSnapshot`: what ran in a sandbox at one moment, from which others are made."""

from __future__ import annotations

from volant.sdk.naming import check_id
from volant.sdk.objects.asking import ask
from volant.sdk.objects.handle import Handle, check_client
from volant.sdk.sandboxes.asking import both_of_class

TYPE_CHECKING = False
if TYPE_CHECKING:
    from volant.sdk.calls.forms import Hydrate
    from volant.sdk.objects.asking import Steps
    from volant.sdk.objects.client import Client


class SandboxSnapshot(Handle):
    """A memory snapshot of a sandbox: kept for 7 days, at most until the daemon ends."""

    def __init__(self, snapshot_id: str) -> None:
        """Made by `Sandbox._experimental_snapshot` and `from_id`."""
        self._snapshot_id = snapshot_id

    def __repr__(self) -> str:
        return f"<volant.SandboxSnapshot {self._snapshot_id!r}>"

    def __reduce__(self) -> tuple[object, ...]:
        return SandboxSnapshot, (self._snapshot_id,)

    @both_of_class
    @staticmethod
    def from_id(sandbox_snapshot_id: str, client: Client | None = None) -> Steps[SandboxSnapshot]:
        """The memory snapshot of an id.

        Raises:
            NotFoundError: when there is none, or its time is over.
        """
        check_id("a memory snapshot", sandbox_snapshot_id, "sn-")
        check_client(client)
        yield ask("sandbox_memory_snapshot_show", snapshot_id=sandbox_snapshot_id)
        return SandboxSnapshot(sandbox_snapshot_id)

    @property
    def hydrate(self) -> Hydrate[SandboxSnapshot]:
        """The snapshot itself, which was asked for when it was found: `snapshot.hydrate()`."""
        from volant.sdk.calls.forms import Hydrate

        return Hydrate(self, lambda: None)

    @property
    def object_id(self) -> str:
        """Its id (`sn-…`)."""
        return self._snapshot_id
