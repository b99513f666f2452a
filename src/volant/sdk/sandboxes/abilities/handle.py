"""What all abilities of a handle have in common: which sandbox is meant, and how it is asked."""

from __future__ import annotations

from volant.errors import ClientClosed
from volant.sdk.objects.asking import ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from volant.sdk.objects.asking import Steps


class Handle:
    """A sandbox by its id, until it is detached."""

    def __init__(self, sandbox_id: str) -> None:
        self._sandbox_id = sandbox_id
        self._detached = False

    @property
    def object_id(self) -> str:
        """Its id (`sb-…`)."""
        return self._sandbox_id

    def _check(self) -> None:
        if self._detached:
            raise ClientClosed(
                f"sandbox {self._sandbox_id} was detached", hint="Sandbox.from_id finds it again"
            )

    def _ask(self, op: str, **fields: object) -> Steps[dict[str, Any]]:
        self._check()
        reply: dict[str, Any] = yield ask(op, sandbox_id=self._sandbox_id, **fields)
        return reply
