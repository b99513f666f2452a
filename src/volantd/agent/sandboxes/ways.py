"""Ways in to sandboxes, for the gateway: sockets that lead to their ports.

gateway ─► <run>/web/<sandbox>.<port>.sock ─► relay ─► the port, in the sandbox's network
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING

from volant.errors import ExecutionError
from volantd.runtime.ports.relays import RelayFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.agent.bare import Machine
    from volantd.runtime.containers.forked import ForkedContainer

#: Connections that wait to be taken.
BACKLOG = 128


class Ways:
    """All of this machine's."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._paths: dict[str, dict[int, asyncio.Task[str]]] = {}

    async def open(
        self, sandbox_id: str, container: ForkedContainer, port: int,
        on_use: Callable[[bool], None],
    ) -> str:  # fmt: skip
        """The socket that leads to a port of a sandbox, made when it is first wanted.

        Args:
            sandbox_id: the sandbox.
            container: its.
            port: its port.
            on_use: told when there are connections, and when there are none any more.

        Raises:
            ExecutionError: when there can be none.
        """
        ports = self._paths.setdefault(sandbox_id, {})
        task = ports.get(port)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            making = self._make(sandbox_id, container, port, on_use)
            task = ports[port] = asyncio.get_running_loop().create_task(making)
        return await asyncio.shield(task)

    async def _make(
        self, sandbox_id: str, container: ForkedContainer, port: int,
        on_use: Callable[[bool], None],
    ) -> str:  # fmt: skip
        launcher = self._machine.launcher
        directory = os.path.join(launcher.run_dir, "web")
        path = os.path.join(directory, f"{sandbox_id}.{port}.sock")
        try:
            with _listen(directory, os.path.basename(path)) as listener:
                relay = launcher.relays.open(listener, container, port, on_use=on_use)
            await relay.wait()
        except (OSError, RelayFailedError) as error:
            _remove(path)
            raise ExecutionError(f"no way to port {port} of {sandbox_id}: {error}") from error
        container.exited.add_done_callback(lambda _: relay.end())
        return path

    def close(self, sandbox_id: str) -> None:
        """Remove those of a sandbox that has ended."""
        for task in self._paths.pop(sandbox_id, {}).values():
            if task.done() and not task.cancelled() and task.exception() is None:
                _remove(task.result())
            task.cancel()


def _listen(directory: str, name: str) -> socket.socket:
    os.makedirs(directory, mode=0o700, exist_ok=True)
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(f"/proc/self/fd/{fd}/{name}")
        os.chmod(os.path.join(directory, name), 0o600)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    finally:
        os.close(fd)
    return listener


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):  # the run of the launcher has ended
        os.unlink(path)
