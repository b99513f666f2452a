"""`Sandbox.list`: the sandboxes that have not finished."""

from __future__ import annotations

from volant.sdk.naming import checked_tags
from volant.sdk.objects.asking import ask, awaited, blocking
from volant.sdk.objects.handle import check_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from volant.sdk.objects.asking import Steps
    from volant.sdk.objects.client import Client
    from volant.sdk.sandboxes.sandbox import Sandbox


class Listing:
    """`Sandbox.list(...)` to iterate over, and its `.aio` for `async for`."""

    def __call__(
        self, *, app_id: str | None = None, tags: dict[str, str] | None = None,
        client: Client | None = None,
    ) -> Iterator[Sandbox]:  # fmt: skip
        """The sandboxes that have not finished, the newest last.

        Args:
            app_id: only those of an app.
            tags: only those that have all of these.
            client: of no need: a process has one.

        Raises:
            InvalidError: for what are no tags.
        """
        yield from blocking(_listed(app_id, tags, client))

    async def aio(
        self, *, app_id: str | None = None, tags: dict[str, str] | None = None,
        client: Client | None = None,
    ) -> AsyncIterator[Sandbox]:  # fmt: skip
        """The same, for `async for`."""
        for one in await awaited(_listed(app_id, tags, client)):
            yield one


def _listed(
    app_id: str | None, tags: dict[str, str] | None, client: Client | None
) -> Steps[list[Sandbox]]:
    from volant.sdk.sandboxes.sandbox import Sandbox

    check_client(client)
    wanted = checked_tags(tags or {})
    reply = yield ask("sandbox_list", app_id=app_id, tags=wanted, with_finished=False)
    rows = [row for row in reply["sandboxes"] if not row["sidecar_of"]]
    return [Sandbox(row["sandbox_id"]) for row in rows]
