"""`Sandbox`: a container made at run time, in which commands of any image are run.

    sandbox = volant.Sandbox.create(app=app)           # idles; with arguments it runs a program
    process = sandbox.exec("python", "-c", "print(6 * 7)")
    print(process.stdout.read())
    sandbox.terminate()

It lives until it is terminated, its program ends, its time is over or its app is stopped; and so
on when this process ends. Nothing in it can ask anything of Volant.
"""

from __future__ import annotations

from _weakref import ref

from volant import ids
from volant.errors import ClientClosed, InvalidError
from volant.sdk.calls.logs import Logs
from volant.sdk.naming import check_environment, check_id, check_name, checked_tags
from volant.sdk.objects.asking import ask, both
from volant.sdk.objects.named import check_client
from volant.sdk.planned import Planned
from volant.sdk.ports.tunnels import Tunnel
from volant.sdk.sandboxes import checked, creating, outbound
from volant.sdk.sandboxes.asking import AskForDescriptors, both_of_class
from volant.sdk.sandboxes.connecting import ConnectCredentials
from volant.sdk.sandboxes.listing import Listing
from volant.sdk.sandboxes.process import ContainerProcess
from volant.sdk.sandboxes.streams import KeptSource, StreamReader, StreamType, StreamWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from volant.sdk.app import App
    from volant.sdk.images.image import Image
    from volant.sdk.objects.asking import Steps
    from volant.sdk.sandboxes.files.filesystem import SandboxFilesystem
    from volant.sdk.sandboxes.outbound import OutboundPolicy
    from volant.sdk.sandboxes.probe import Probe

READY_TIMEOUT_S = 300
TUNNELS_TIMEOUT_S = 50
SNAPSHOT_TIMEOUT_S = 55
#: 30 days.
SNAPSHOT_TTL_S = 30 * 86400


class Sandbox:
    """A handle on one sandbox."""

    reload_volumes = Planned("Sandbox.reload_volumes")
    snapshot_directory = Planned("Sandbox.snapshot_directory")
    mount_image = Planned("Sandbox.mount_image")
    unmount_image = Planned("Sandbox.unmount_image")
    get_dashboard_url = Planned("Sandbox.get_dashboard_url")
    client = Planned("Sandbox.client")
    list = Listing()

    def __init__(self, sandbox_id: str) -> None:
        """Made by `create`, `from_id`, `from_name` and `list`."""
        self._sandbox_id = sandbox_id
        self._code: int | None = None
        self._detached = False
        #: Commands that may have to be let go of.
        self._processes: Any = []
        self._files: SandboxFilesystem | None = None
        self._stdin = StreamWriter(sandbox_id=sandbox_id)
        self._stdout: StreamReader[str] = _reader(sandbox_id, "stdout")
        self._stderr: StreamReader[str] = _reader(sandbox_id, "stderr")

    def __repr__(self) -> str:
        return f"<volant.Sandbox {self._sandbox_id!r}>"

    def __reduce__(self) -> tuple[object, ...]:
        return Sandbox, (self._sandbox_id,)

    # -- finding and making

    @both_of_class
    @staticmethod
    def create(
        *args: str,
        app: App | None = None,
        name: str | None = None,
        tags: dict[str, str] | None = None,
        image: Image | None = None,
        env: Mapping[str, str] | None = None,
        secrets: Sequence[object] | None = None,
        timeout: float = 300,
        idle_timeout: float | None = None,
        workdir: str | None = None,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        volumes: Mapping[str, object] | None = None,
        pty: bool = False,
        block_network: bool = False,
        outbound_cidr_allowlist: Sequence[str] | None = None,
        outbound_domain_allowlist: Sequence[str] | None = None,
        _experimental_outbound_policy: OutboundPolicy | None = None,
        inbound_cidr_allowlist: Sequence[str] | None = None,
        encrypted_ports: Sequence[int] = (),
        h2_ports: Sequence[int] = (),
        unencrypted_ports: Sequence[int] = (),
        readiness_probe: Probe | None = None,
        verbose: bool = False,
        client: None = None,
        environment_name: str | None = None,
        **planned: object,
    ) -> Steps[Sandbox]:
        """Make a sandbox, and begin to start it.

        Args:
            args: its program and arguments, at most 64 KiB; without any it idles.
            app: whose it is; in a container that container's app by default.
            name: unique among the sandboxes of the app that have not finished.
            image: what its commands see; the app's by default. It needs no Python.
            env: variables of all its commands.
            secrets: more of them, shown nowhere.
            timeout: seconds until it is ended, whatever runs.
            idle_timeout: seconds without a command that was run by `exec`, until it is ended.
            workdir: where its commands work, an absolute path; made if it is not there.
            cpu: cores, or (request, limit).
            memory: MiB, or (request, limit).
            pty: give its program a terminal.
            block_network: no network but its own loopback.
            outbound_cidr_allowlist: networks that it may reach by TCP, and nothing else.
            outbound_domain_allowlist: domains that it may reach by HTTPS and HTTP, and nothing
                else: `api.example.com`, or `*.example.com` for all below it.
            _experimental_outbound_policy: headers that its requests get outside of it.
            inbound_cidr_allowlist: networks from which its tunnels and `create_connect_token` are
                reached; everywhere by default.
            encrypted_ports: ports that `tunnels` tells addresses of; `h2_ports` likewise.
            unencrypted_ports: the same, whose tunnels have a `tcp_socket` as well.
            readiness_probe: what `wait_until_ready` waits for.
            verbose: changes nothing: the daemon always logs starts and ends.
            planned: what is not there yet, and says so.

        Raises:
            InvalidError: for what makes no sense, and without an app.
            AlreadyExistsError: when the app has a sandbox of this name.
            ImageBuildError: when its image cannot be built.
            UnimplementedError: for an argument whose feature is not there yet.
        """
        check_client(client)
        if environment_name is not None:
            raise InvalidError("a sandbox is in the environment of its app: leave the name out")
        checked.refuse_planned(planned)
        reached = outbound.checked(
            block_network, outbound_cidr_allowlist, outbound_domain_allowlist,
            _experimental_outbound_policy,
        )  # fmt: skip
        ports = checked.checked_ports(encrypted_ports, h2_ports, unencrypted_ports)
        app_id, image = creating.place_of(app, image)
        wire = checked.described(
            words=args, name=name, tags=tags, env=env, secrets=secrets, timeout=timeout,
            idle_timeout=idle_timeout, workdir=workdir, cpu=cpu, memory=memory, volumes=volumes,
            pty=pty, block_network=block_network, ports=ports, probe=readiness_probe,
            outbound=reached,
            inbound=outbound.checked_networks("inbound_cidr_allowlist", inbound_cidr_allowlist),
        )  # fmt: skip
        sandbox = Sandbox(ids.new_id("sb"))
        yield from creating.create(sandbox._sandbox_id, app_id, image, wire)
        return sandbox

    @both_of_class
    @staticmethod
    def from_id(sandbox_id: str, client: None = None) -> Steps[Sandbox]:
        """The sandbox of an id, finished or not.

        Raises:
            NotFoundError: when there is none, or it ended long ago.
        """
        check_id("a sandbox", sandbox_id, "sb-")
        check_client(client)
        yield ask("sandbox_show", sandbox_id=sandbox_id)
        return Sandbox(sandbox_id)

    @both_of_class
    @staticmethod
    def from_name(
        app_name: str, name: str, *, environment_name: str | None = None,
        include_terminated: bool = False, client: None = None,
    ) -> Steps[Sandbox]:  # fmt: skip
        """The sandbox that has a name in an app.

        Args:
            app_name: or the id of the app.
            include_terminated: also one that has finished, if none lives.

        Raises:
            NotFoundError: when there is none.
        """
        check_name("an app", app_name)
        check_name("a sandbox", name)
        check_environment(environment_name)
        check_client(client)
        reply = yield ask(
            "sandbox_find", app=app_name, name=name, with_finished=bool(include_terminated),
            environment=environment_name,
        )  # fmt: skip
        return Sandbox(reply["sandbox_id"])

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
        from volant.errors import SandboxTerminatedError, SandboxTimeoutError

        reply = yield from self._ask("sandbox_wait", wait=True)
        result = reply["result"]
        self._code = result["code"]
        text = f"sandbox {self._sandbox_id} has ended: {result['reason']}"
        if result["ending"] == "timed_out":
            raise SandboxTimeoutError(text, hint="Sandbox.create(timeout=...) gives it more time")
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

    def detach(self) -> None:
        """Close this handle and its streams; the sandbox goes on. May come twice."""
        self._detached = True
        processes = [one() for one in self._processes]
        for one in (self._stdin, self._stdout, self._stderr, *filter(None, processes)):
            one._let_go()
        self._processes = []
        if self._files is not None:
            self._files._let_go()

    # -- whom it may reach

    @both
    def set_outbound_policy(
        self,
        *,
        block_network: bool = False,
        outbound_cidr_allowlist: Sequence[str] | None = None,
        outbound_domain_allowlist: Sequence[str] | None = None,
        policy: OutboundPolicy | None = None,
    ) -> Steps[None]:
        """Change whom it may reach; returns when that is in force.

        Connections that are allowed no more end. What is given takes the place of all that was
        given before; nothing given means the whole internet.

        Raises:
            InvalidError: for what makes no sense; for a sandbox that was created with neither a
                list nor `block_network`; for headers in one that was created without a policy.
            ExecutionError: when it has finished.
        """
        told = outbound.checked(
            block_network, outbound_cidr_allowlist, outbound_domain_allowlist, policy
        )  # fmt: skip
        if told is None:
            nobody: Sequence[str] | None = () if block_network else None
            told = {"networks": nobody, "domains": nobody, "replacements": []}
        yield from self._ask("sandbox_set_outbound", outbound=told)

    _experimental_set_outbound_network_policy = set_outbound_policy

    # -- what is known of it

    @both
    def wait_until_ready(self, *, timeout: float = READY_TIMEOUT_S) -> Steps[None]:
        """Return when its probe has said that it is ready.

        Raises:
            InvalidError: for a sandbox without a probe.
            TimeoutError: after `timeout` seconds.
            SandboxTerminatedError: when it has finished before.
        """
        seconds = checked.checked_seconds("timeout", timeout)
        reply = yield from self._ask("sandbox_ready", timeout_s=seconds)
        if reply["result"] is not None:
            from volant.errors import SandboxTerminatedError

            raise SandboxTerminatedError(f"sandbox {self._sandbox_id} ended before it was ready")

    @both
    def tunnels(self, timeout: float = TUNNELS_TIMEOUT_S) -> Steps[dict[int, Tunnel]]:
        """Where the ports that it was created with are reached from this machine.

        Raises:
            TimeoutError: when they are not open after `timeout` seconds.
        """
        seconds = checked.checked_seconds("timeout", timeout)
        reply = yield from self._ask("sandbox_tunnels", timeout_s=seconds)
        return {
            port: Tunnel(host, at, host, at) if is_plain else Tunnel(host, at)
            for port, host, at, is_plain in reply["tunnels"]
        }

    @both
    def create_connect_token(
        self, user_metadata: str | dict[str, Any] | None = None, port: int = 8080
    ) -> Steps[ConnectCredentials]:
        """An address of a port, and a token that lets requests in until the sandbox ends.

        The token is shown as `Authorization: Bearer ...`, as `?_volant_connect_token=...`, or in
        a cookie of that name. The program behind the port sees `X-Verified-User-Data`.

        Args:
            user_metadata: what that says, less than 512 characters; a dict is sent as JSON.
            port: at which a program of the sandbox speaks HTTP.

        Raises:
            InvalidError: for what makes no sense.
            ExecutionError: when it has finished.
        """
        metadata = checked.checked_metadata(user_metadata)
        checked.checked_ports((port,), (), ())
        reply = yield from self._ask("sandbox_connect", port=port, metadata=metadata)
        return ConnectCredentials(reply["url"], reply["token"])

    @both
    def get_tags(self) -> Steps[dict[str, str]]:
        """Its tags."""
        reply = yield from self._ask("sandbox_show")
        tags: dict[str, str] = reply["tags"]
        return tags

    @both
    def set_tags(self, tags: dict[str, str], *, client: None = None) -> Steps[None]:
        """Replace its tags.

        Raises:
            InvalidError: for what are none.
        """
        check_client(client)
        yield from self._ask("sandbox_set_tags", tags=checked_tags(tags))

    @both
    def snapshot_filesystem(
        self, timeout: float = SNAPSHOT_TIMEOUT_S, *, ttl: float | None = SNAPSHOT_TTL_S
    ) -> Steps[Image]:
        """An image of what it sees now; the sandbox goes on. Not what is in its volumes.

        Args:
            timeout: seconds, for all of it.
            ttl: seconds that the image is kept; None for as long as nobody removes it.

        Raises:
            InvalidError: when its image is `Image.host()`.
            SnapshotCreationError: when it takes too long, or cannot be written.
        """
        from volant.sdk.images.image import Image

        reply = yield from self._ask(
            "sandbox_snapshot", timeout_s=checked.checked_seconds("timeout", timeout),
            ttl_s=None if ttl is None else checked.checked_seconds("ttl", ttl),
        )  # fmt: skip
        image = Image.from_id(reply["image_id"])
        image._object_id = reply["image_id"]
        return image

    @property
    def filesystem(self) -> SandboxFilesystem:
        """Its files: read, written, listed and watched from outside."""
        if self._files is None:
            from volant.sdk.sandboxes.files.filesystem import SandboxFilesystem

            self._files = SandboxFilesystem(self._sandbox_id, self._check)
        return self._files

    @property
    def logs(self) -> Logs:
        """What its program printed: `logs.tail()`, `logs.fetch(since=...)`, `logs.stream()`."""
        return Logs("sandbox", lambda: {"sandbox": self._sandbox_id})


def _reader(sandbox_id: str, stream: str) -> StreamReader[str]:
    return StreamReader(KeptSource(sandbox_id, stream), is_text=True)
