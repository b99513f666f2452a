"""What a sandbox has among its files: snapshots of them, images that are mounted, volumes."""

from __future__ import annotations

from volant.errors import InvalidError
from volant.sdk.objects.asking import both
from volant.sdk.sandboxes import checked
from volant.sdk.sandboxes.abilities.handle import Handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from volant.sdk.images.image import Image
    from volant.sdk.objects.asking import Steps

SNAPSHOT_TIMEOUT_S = 55
#: 30 days.
SNAPSHOT_TTL_S = 30 * 86400
RELOAD_TIMEOUT_S = 55


class Contents(Handle):
    """Snapshots, images and volumes of a sandbox."""

    @both
    def snapshot_filesystem(
        self, timeout: float = SNAPSHOT_TIMEOUT_S, *, ttl: float | None = SNAPSHOT_TTL_S
    ) -> Steps[Image]:
        """An image of what it sees now; the sandbox goes on.

        Not what is in its volumes, and not what `mount_image` has mounted.

        Args:
            timeout: seconds, for all of it.
            ttl: seconds that the image is kept; None for as long as nobody removes it.

        Raises:
            InvalidError: when its image is `Image.host()`.
            SnapshotCreationError: when it takes too long, or cannot be written.
        """
        reply = yield from self._ask("sandbox_snapshot", **_times(timeout, ttl))
        return image_of(reply["image_id"])

    @both
    def snapshot_directory(
        self,
        path: str,
        *,
        timeout: float = SNAPSHOT_TIMEOUT_S,
        ttl: float | None = SNAPSHOT_TTL_S,
    ) -> Steps[Image]:
        """An image of one directory, to be mounted by `mount_image`; the sandbox goes on.

        All that the directory shows is copied, without what is mounted below it. It may be one of
        a volume, or of an image that is mounted.

        Args:
            path: the directory, absolute.
            timeout: seconds, for all of it.
            ttl: seconds that the image is kept; None for as long as nobody removes it.

        Raises:
            InvalidError: for what is no such path.
            ExecutionError: when there is no such directory.
            SnapshotCreationError: when it takes too long, or cannot be written.
        """
        reply = yield from self._ask(
            "sandbox_snapshot_directory", path=checked.checked_path("snapshot_directory", path),
            **_times(timeout, ttl),
        )  # fmt: skip
        return image_of(reply["image_id"])

    @both
    def mount_image(self, path: str, image: Image) -> Steps[None]:
        """Mount an image among its files, while it runs: code that is exchanged, or a state.

        What is written there does not change the image, and goes with the sandbox.

        Args:
            path: where, absolute; a directory is made if it is not there.
            image: one that is built: of `snapshot_directory`, or after `image.build()`.

        Raises:
            InvalidError: for what is no such path, an image that is not built, and when one is
                mounted there already.
            NotFoundError: when the image is gone.
            ExecutionError: when the sandbox has finished, or nothing can be mounted there.
        """
        from volant.sdk.images.image import Image

        if not isinstance(image, Image):
            raise InvalidError(f"an image is mounted, got {image!r}")
        if image.object_id is None:
            raise InvalidError(
                f"{image!r} is not built yet", hint="image.build() builds it, hydrate() looks it up"
            )
        yield from self._ask(
            "sandbox_mount_image", path=checked.checked_path("mount_image", path),
            image_id=image.object_id,
        )  # fmt: skip

    @both
    def unmount_image(self, path: str) -> Steps[None]:
        """Take an image away that `mount_image` has mounted; who has files of it open keeps them.

        Raises:
            NotFoundError: when none is mounted there.
            ExecutionError: when the sandbox has finished.
        """
        yield from self._ask(
            "sandbox_unmount_image", path=checked.checked_path("unmount_image", path)
        )

    @both
    def reload_volumes(self, *, timeout: float = RELOAD_TIMEOUT_S) -> Steps[None]:
        """Have it see what others have committed to its volumes; what it wrote is committed.

        Raises:
            ConflictError: while files of a volume are open in it.
            TimeoutError: after `timeout` seconds; the reload goes on.
            ExecutionError: when it has finished.
        """
        seconds = checked.checked_seconds("timeout", timeout)
        yield from self._ask("sandbox_reload_volumes", timeout_s=seconds)


def _times(timeout: float, ttl: float | None) -> dict[str, object]:
    return {
        "timeout_s": checked.checked_seconds("timeout", timeout),
        "ttl_s": None if ttl is None else checked.checked_seconds("ttl", ttl),
    }


def image_of(image_id: str) -> Image:
    """The image of an id that the hub has just told."""
    from volant.sdk.images.image import Image

    image = Image.from_id(image_id)
    image._object_id = image_id
    return image
