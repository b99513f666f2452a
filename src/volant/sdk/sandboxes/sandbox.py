"""`Sandbox`: a container made at run time, in which commands of any image are run.

    sandbox = volant.Sandbox.create(app=app)           # idles; with arguments it runs a program
    process = sandbox.exec("python", "-c", "print(6 * 7)")
    print(process.stdout.read())
    sandbox.terminate()

It lives until it is terminated, its program ends, its time is over or its app is stopped; and so
on when this process ends. Nothing in it can ask anything of Volant.
"""

from __future__ import annotations

from volant import ids
from volant.sdk.naming import check_environment, check_id, check_name, checked_tags
from volant.sdk.objects.asking import ask, both
from volant.sdk.objects.handle import Handle, check_client
from volant.sdk.ports.tunnels import Tunnel
from volant.sdk.sandboxes import checked, creating, outbound
from volant.sdk.sandboxes.abilities.running import Running, ended_early
from volant.sdk.sandboxes.abilities.sidecars import Sidecars
from volant.sdk.sandboxes.abilities.standing import Standing
from volant.sdk.sandboxes.abilities.trials import Trials
from volant.sdk.sandboxes.asking import both_of_class
from volant.sdk.sandboxes.connecting import ConnectCredentials
from volant.sdk.sandboxes.listing import Listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from volant.sdk.app import App
    from volant.sdk.calls.forms import Hydrate
    from volant.sdk.images.image import Image
    from volant.sdk.objects.asking import Steps
    from volant.sdk.objects.client import Client
    from volant.sdk.sandboxes.outbound import OutboundPolicy
    from volant.sdk.sandboxes.probe import Probe

READY_TIMEOUT_S, TUNNELS_TIMEOUT_S = 300, 50


class Sandbox(Standing, Running, Sidecars, Trials, Handle):
    """A handle on one sandbox."""

    list = Listing()

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
        gpu: str | Sequence[str] | None = None,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        ephemeral_disk: int | None = None,
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
        runtime: str | None = None,
        verbose: bool = False,
        experimental_options: Mapping[str, bool] | None = None,
        client: Client | None = None,
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
            gpu: as of `@app.function`; it waits until they are free, and has them until its end.
            cpu: cores, or (request, limit).
            memory: MiB, or (request, limit).
            ephemeral_disk: MiB that it may write; looked at each second, and above it it is ended.
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
            runtime: "gvisor" for a kernel of its own, "container" for this machine's; by
                default what the setting `sandbox_runtime` says.
            verbose: whether what its program prints is shown where its app runs as well, by
                `volant run` or `enable_output()`; its logs have it either way.
            experimental_options: `{"exit_snapshot": True}` has an image made of its files when it
                is ended, or its program ends: see `_experimental_get_exit_snapshot`.
            planned: what means nothing here, or is not there yet, and says so.

        Raises:
            InvalidError: for what makes no sense, and without an app.
            AlreadyExistsError: when the app has a sandbox of this name.
            ImageBuildError: when its image cannot be built.
            UnimplementedError: for an argument whose feature is not there yet.
        """
        check_client(client)
        networks = checked.judge_others(planned) or outbound_cidr_allowlist
        reached = outbound.checked(
            block_network, networks, outbound_domain_allowlist, _experimental_outbound_policy,
        )  # fmt: skip
        app_id, image = creating.place_of(app, image)
        wire = checked.described(
            words=args, name=name, tags=tags, env=env, secrets=secrets, timeout=timeout,
            idle_timeout=idle_timeout, workdir=workdir, cpu=cpu, memory=memory, gpu=gpu,
            ephemeral_disk=ephemeral_disk, volumes=volumes, pty=pty, block_network=block_network,
            ports=checked.checked_ports(encrypted_ports, h2_ports, unencrypted_ports),
            probe=readiness_probe, outbound=reached, runtime=runtime, verbose=verbose,
            inbound=outbound.checked_networks("inbound_cidr_allowlist", inbound_cidr_allowlist),
            exit_snapshot=checked.leaves_image(experimental_options),
        )  # fmt: skip
        sandbox = Sandbox(ids.new_id("sb"))
        yield from creating.create(sandbox._sandbox_id, app_id, image, wire)
        return sandbox

    @both_of_class
    @staticmethod
    def from_id(sandbox_id: str, client: Client | None = None) -> Steps[Sandbox]:
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
        include_terminated: bool = False, client: Client | None = None,
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
    def hydrate(self) -> Hydrate[Sandbox]:
        """The sandbox itself, which was asked for when it was found: `sandbox.hydrate()`."""
        from volant.sdk.calls.forms import Hydrate

        return Hydrate(self, self._check)

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
            SandboxTimeoutError: when its time was over before.
            SandboxTerminatedError: when it has finished before.
        """
        seconds = checked.checked_seconds("timeout", timeout)
        reply = yield from self._ask("sandbox_ready", timeout_s=seconds)
        if reply["result"] is not None:
            raise ended_early(self._sandbox_id, reply["result"])

    @both
    def tunnels(self, timeout: float = TUNNELS_TIMEOUT_S) -> Steps[dict[int, Tunnel]]:
        """Where the ports that it was created with are reached from this machine.

        Raises:
            TimeoutError: when they are not open after `timeout` seconds.
        """
        seconds = checked.checked_seconds("timeout", timeout)
        reply = yield from self._ask("sandbox_tunnels", timeout_s=seconds)
        return {
            port: Tunnel(host, at, host, at) if is_plain else Tunnel(host, at, speaks_tls=tls)
            for port, host, at, is_plain, tls in reply["tunnels"]
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
    def set_tags(self, tags: dict[str, str], *, client: Client | None = None) -> Steps[None]:
        """Replace its tags.

        Raises:
            InvalidError: for what are none.
        """
        check_client(client)
        yield from self._ask("sandbox_set_tags", tags=checked_tags(tags))
