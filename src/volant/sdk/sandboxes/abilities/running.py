"""What runs: a program, commands beside it, their streams, and how it all ends."""

from __future__ import annotations

from _weakref import ref

from volant.errors import InvalidError
from volant.sdk.calls.logs import Logs
from volant.sdk.objects.asking import both
from volant.sdk.sandboxes import checked, creating
from volant.sdk.sandboxes.abilities.contents import Contents
from volant.sdk.sandboxes.abilities.files import Files
from volant.sdk.sandboxes.asking import AskForDescriptors
from volant.sdk.sandboxes.process import ContainerProcess
from volant.sdk.sandboxes.streams import KeptSource, StreamReader, StreamType, StreamWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from volant.errors import Error
    from volant.sdk.objects.asking import Steps


class Running(Contents, Files):
    """What a sandbox and a sidecar have in common."""

    def __init__(self, sandbox_id: str) -> None:
        """Made by what makes and finds them."""
        super().__init__(sandbox_id)
        self._code: int | None = None
        #: Commands that may have to be let go of.
        self._processes: Any = []
        self._stdin = StreamWriter(sandbox_id=sandbox_id)
        self._stdout: StreamReader[str] = _reader(sandbox_id, "stdout")
        self._stderr: StreamReader[str] = _reader(sandbox_id, "stderr")

    # -- commands

    @both
    def exec(
        self,
        *args: str,
        stdout: int = StreamType.PIPE,
        stderr: int = StreamType.PIPE,
        timeout: float | None = None,
        workdir: str | None = None,
        env: Mapping[str, str] | None = None,
        secrets: Sequence[object] | None = None,
        text: bool = True,
        bufsize: int = -1,
        pty: bool = False,
    ) -> Steps[ContainerProcess[Any]]:
        """Run a command, as soon as the sandbox has started.

        Args:
            args: program and arguments, at most 64 KiB.
            stdout: `StreamType.PIPE`, `STDOUT` for this process's own, or `DEVNULL`.
            stderr: likewise.
            timeout: seconds until it is killed.
            workdir: where it works, an absolute path; the sandbox's own by default.
            env: variables beside the sandbox's own.
            secrets: more of them, shown nowhere.
            text: whether its output is text, or bytes.
            bufsize: -1 or 1; lines come as soon as they are printed, whichever it is.
            pty: give it a terminal.

        Raises:
            InvalidError: for what makes no sense.
            ExecutionError: when the sandbox has finished.
            ClientClosed: after `detach`.
        """
        command = checked.checked_command(
            "Sandbox.exec", args, timeout=timeout, workdir=workdir, env=env, secrets=secrets
        )
        if bufsize not in (-1, 1):
            raise InvalidError(f"bufsize is -1 or 1, got {bufsize!r}")
        for where in (stdout, stderr):
            if where not in (StreamType.PIPE, StreamType.STDOUT, StreamType.DEVNULL):
                raise InvalidError(f"an output goes to a StreamType, got {where!r}")
        self._check()
        outputs = (stdout, stderr)
        reply = yield AskForDescriptors(
            "sandbox_exec", sandbox_id=self._sandbox_id, **command,
            terminal=creating.terminal_size() if pty else None,
            piped=[True, *(one != StreamType.DEVNULL for one in outputs)],
        )  # fmt: skip
        process: ContainerProcess[Any] = ContainerProcess(
            self._sandbox_id, reply, outputs, is_text=text, has_terminal=pty
        )
        alive = [one for one in self._processes if one() is not None]
        self._processes = [*alive, ref(process)]
        return process

    @property
    def stdin(self) -> StreamWriter:
        """What its program reads."""
        return self._stdin

    @property
    def stdout(self) -> StreamReader[str]:
        """What its program prints, from the beginning on as far as that is kept."""
        return self._stdout

    @property
    def stderr(self) -> StreamReader[str]:
        """What its program prints to standard error; with a terminal, nothing."""
        return self._stderr

    # -- its end

    @both
    def wait(self, raise_on_termination: bool = True) -> Steps[int]:
        """The exit code of its program, when it has finished.

        Args:
            raise_on_termination: raise when it was ended from outside, else return 137.

        Raises:
            SandboxTimeoutError: its time was over.
            SandboxTerminatedError: it was ended by a request, or by the end of its app.
            Error: the one that kept it from starting.
        """
        from volant.errors import SandboxTerminatedError

        reply = yield from self._ask("sandbox_wait", wait=True)
        result = reply["result"]
        self._code = result["code"]
        text = f"sandbox {self._sandbox_id} has ended: {result['reason']}"
        if result["ending"] == "timed_out":
            raise _timed_out(text)
        if result["ending"] == "terminated" and raise_on_termination:
            raise SandboxTerminatedError(text)
        return int(result["code"])

    @both
    def poll(self) -> Steps[int | None]:
        """The exit code of its program, or None while it lives."""
        reply = yield from self._ask("sandbox_wait", wait=False)
        if reply["result"] is not None:
            self._code = reply["result"]["code"]
        return self._code

    @property
    def returncode(self) -> int | None:
        """What `wait` or `poll` has told: 137 when it was ended, 124 when its time was over."""
        return self._code

    @both
    def terminate(self, *, wait: bool = False) -> Steps[int | None]:
        """End it.

        Args:
            wait: until nothing of it runs any more.

        Returns:
            Its code if `wait`, else None.
        """
        reply = yield from self._ask("sandbox_terminate", wait=bool(wait))
        if not wait:
            return None
        self._code = reply["result"]["code"]
        return self._code

    @property
    def detach(self) -> Detach:
        """Close this handle and its streams: `detach()`. The sandbox goes on. May come twice."""
        return Detach(self)

    def _let_go(self) -> None:
        self._detached = True
        processes = [one() for one in self._processes]
        for one in (self._stdin, self._stdout, self._stderr, *filter(None, processes)):
            one._let_go()
        self._processes = []
        if self._files is not None:
            self._files._let_go()

    @property
    def logs(self) -> Logs:
        """What its program printed: `logs.tail()`, `logs.fetch(since=...)`, `logs.stream()`."""
        return Logs("sandbox", lambda: {"sandbox": self._sandbox_id})


class Detach:
    """`sandbox.detach()` and `sandbox.detach.aio()`; neither asks anybody."""

    __slots__ = ("_sandbox",)

    def __init__(self, sandbox: Running) -> None:
        self._sandbox = sandbox

    def __call__(self) -> None:
        self._sandbox._let_go()

    async def aio(self) -> None:
        self._sandbox._let_go()


def _timed_out(text: str) -> Error:
    from volant.errors import SandboxTimeoutError

    return SandboxTimeoutError(text, hint="Sandbox.create(timeout=...) gives it more time")


def ended_early(sandbox_id: str, result: dict[str, Any]) -> Error:
    """What is raised for one that ended before its probe said that it is ready, and why it did."""
    from volant.errors import SandboxTerminatedError

    why = result["reason"] or f"its program ended with code {result['code']}"
    text = f"sandbox {sandbox_id} ended before it was ready: {why}"
    return _timed_out(text) if result["ending"] == "timed_out" else SandboxTerminatedError(text)


def _reader(sandbox_id: str, stream: str) -> StreamReader[str]:
    return StreamReader(KeptSource(sandbox_id, stream), is_text=True)
