"""What may change or go without notice, and is named so: names, headers, usage, last files."""

from __future__ import annotations

from volant.errors import InvalidError
from volant.sdk.objects.asking import both
from volant.sdk.sandboxes import checked, outbound
from volant.sdk.sandboxes.abilities.contents import image_of
from volant.sdk.sandboxes.abilities.handle import Handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from volant.sdk.images.image import Image
    from volant.sdk.objects.asking import Steps
    from volant.sdk.sandboxes.outbound import OutboundPolicy

#: What `_experimental_stats` tells of.
USAGE = ("cpu_s", "memory_bytes", "processes", "disk_bytes")


class Trials(Handle):
    """The experimental methods of a sandbox."""

    @both
    def _experimental_set_name(self, name: str | None) -> Steps[None]:
        """Give it another name, or none.

        Raises:
            InvalidError: for what cannot be a name.
            AlreadyExistsError: when the app has another sandbox of this name that lives.
        """
        yield from self._ask("sandbox_set_name", name=checked.checked_name(name))

    @both
    def _experimental_update_outbound_policy(self, policy: OutboundPolicy) -> Steps[None]:
        """Change the headers that its requests get; whom it may reach stays as it is.

        Raises:
            InvalidError: for what is no policy, and for a sandbox that was created without one.
            ExecutionError: when it has finished.
        """
        told = outbound.checked(False, None, None, policy)
        if told is None:
            raise InvalidError("a policy is needed", hint="volant.experimental.OutboundPolicy()")
        yield from self._ask("sandbox_set_headers", replacements=told["replacements"])

    @both
    def _experimental_stats(self) -> Steps[dict[str, float]]:
        """What it uses now.

        Returns:
            `cpu_s`, seconds of processor time of what runs and of the commands that have ended;
            `memory_bytes` that its processes have for themselves; how many `processes` there are,
            with the two that hold it; `disk_bytes` that it has written.

        Raises:
            ExecutionError: when it has finished.
        """
        reply = yield from self._ask("sandbox_stats")
        return {name: reply[name] for name in USAGE}

    @both
    def _experimental_get_exit_snapshot(self) -> Steps[Image]:
        """The image of its files as they were at its end, for which this waits.

        Raises:
            InvalidError: when it was not created with `{"exit_snapshot": True}`.
            NotFoundError: when it ended before there could be one, as with its daemon.
        """
        reply = yield from self._ask("sandbox_exit_image")
        return image_of(reply["image_id"])
