"""How a fork of a zygote begins to hold a sandbox: on this machine's kernel, or on its own."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from volant.runner.isolate import Plan


def settle_imports(plan: Plan) -> None:
    """Import what can be found in no sandbox."""
    import volant.runner.sandboxes.holding

    if plan.runs_gvisor:
        import volant.runner.sandboxes.gvisor  # noqa: F401


def hold(plan: Plan, channel_fd: int, limits: dict[str, Any]) -> NoReturn:
    """In a fork that has entered its cell: hold the sandbox until the agent closes the channel."""
    if plan.runs_gvisor:
        from volant.runner.sandboxes import gvisor

        gvisor.boot(plan, channel_fd, limits)
    from volant.runner.sandboxes import holding

    holding.serve(channel_fd)
