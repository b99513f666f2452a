"""Sidecars: containers beside a sandbox, with files of their own, in its network.

    database = sandbox.sidecars.create("postgres", name="database", image=image)
    database.exec("createdb", "work").wait()
    sandbox.exec("psql", "--host=127.0.0.1", "work")

A sidecar ends with its sandbox, at the latest.
"""

from __future__ import annotations

from volant import ids
from volant.errors import UnimplementedError
from volant.sdk.naming import check_name
from volant.sdk.objects.asking import ask, both
from volant.sdk.sandboxes import checked, creating, outbound
from volant.sdk.sandboxes.abilities.handle import Handle
from volant.sdk.sandboxes.abilities.running import Running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from volant.sdk.images.image import Image
    from volant.sdk.objects.asking import Steps

    Handles = list["SidecarContainer"]

CREATE = "sidecars.create"


class SidecarContainer(Running):
    """A handle on one sidecar: commands, files, images and volumes as of a `Sandbox`."""

    def __init__(self, sandbox_id: str, name: str) -> None:
        """Made by `create`, `get` and `list` of a sandbox's `sidecars`."""
        super().__init__(sandbox_id)
        self._name = name

    def __repr__(self) -> str:
        return f"<volant.types.SidecarContainer {self._name!r}>"

    def __reduce__(self) -> tuple[object, ...]:
        return SidecarContainer, (self._sandbox_id, self._name)

    @property
    def name(self) -> str:
        """Its name in its sandbox."""
        return self._name


class SidecarManager:
    """The sidecars of one sandbox."""

    def __init__(self, sandbox: Handle) -> None:
        """`sandbox`: whose they are."""
        self._sandbox = sandbox

    @both
    def create(
        self,
        /,
        *args: str,
        name: str,
        image: Image | None = None,
        env: Mapping[str, str] | None = None,
        secrets: Sequence[object] | None = None,
        workdir: str | None = None,
        volumes: Mapping[str, object] | None = None,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        outbound_cidr_allowlist: Sequence[str] | None = None,
        outbound_domain_allowlist: Sequence[str] | None = None,
        pty: bool = False,
        **planned: object,
    ) -> Steps[SidecarContainer]:
        """Start a container beside the sandbox; returns when it has started.

        What one of them serves at 127.0.0.1 the other reaches there, and tunnels of the sandbox
        lead to both. Without a list of its own, it may reach whom the sandbox may.

        Args:
            args: its program and arguments, at most 64 KiB; without any it idles.
            name: unique among the sidecars of the sandbox that have not finished.
            image: what its commands see; the sandbox's by default.
            env: variables of all its commands.
            secrets: more of them, shown nowhere.
            workdir: where its commands work, an absolute path; made if it is not there.
            volumes: as of `Sandbox.create`.
            cpu: cores, or (request, limit), of its own.
            memory: MiB, or (request, limit), of its own.
            outbound_cidr_allowlist: networks that it may reach, whomever the sandbox may; an empty
                list blocks outside traffic only, and what listens at loopback is still reached.
            outbound_domain_allowlist: domains, likewise.
            pty: give its program a terminal.
            planned: what means nothing here, and says so.

        Raises:
            InvalidError: for what makes no sense, and a list for a sidecar whose sandbox has
                neither a list nor `block_network`.
            AlreadyExistsError: when the sandbox has a sidecar of this name.
            ResourceExhaustedError: when it has as many as there may be.
            ImageBuildError: when its image cannot be built.
            ExecutionError: when the sandbox has finished, or it cannot be started.
        """
        self._sandbox._check()
        if planned.pop("experimental_memory_reserve_consume_mib", None) is not None:
            raise UnimplementedError(
                "a sidecar's memory is its own here, and reserves none of its sandbox's",
                hint="memory=(request, limit) limits it",
            )
        checked.refuse_planned(planned, CREATE)
        check_name("a sidecar", name)
        reached = outbound.checked(False, outbound_cidr_allowlist, outbound_domain_allowlist, None)
        wire = checked.described(
            where=CREATE, words=args, name=name, tags=None, env=env, secrets=secrets, cpu=cpu,
            memory=memory, gpu=None, ephemeral_disk=None, timeout=checked.TIMEOUT_MAX_S,
            idle_timeout=None, workdir=workdir, volumes=volumes, pty=pty, block_network=False,
            ports=[], probe=None, outbound=reached, inbound=None, exit_snapshot=False,
            verbose=False, runtime=None,
        )  # fmt: skip
        wire["image"], described = (None, None) if image is None else creating.image_of(image)
        sidecar = SidecarContainer(ids.new_id("sb"), name)
        made, of = sidecar.object_id, self._sandbox._sandbox_id
        asked = ask("sidecar_create", sandbox_id=made, of=of, sandbox=wire)
        yield from creating.send(asked, made, described)
        yield ask("sandbox_started", sandbox_id=made)
        return sidecar

    @both
    def get(self, name: str, *, include_terminated: bool = False) -> Steps[SidecarContainer]:
        """The sidecar of a name.

        Args:
            name: as `create` was told.
            include_terminated: also one that has finished, if none lives.

        Raises:
            NotFoundError: when there is none.
        """
        check_name("a sidecar", name)
        row = yield from self._sandbox._ask(
            "sidecar_find", name=name, with_finished=bool(include_terminated)
        )
        return SidecarContainer(row["sandbox_id"], row["name"])

    @both
    def list(self, *, include_terminated: bool = False) -> Steps[Handles]:
        """Its sidecars, the newest last.

        Args:
            include_terminated: also those that have finished, as long as they are remembered.
        """
        reply = yield from self._sandbox._ask(
            "sidecar_list", with_finished=bool(include_terminated)
        )
        return [SidecarContainer(row["sandbox_id"], row["name"]) for row in reply["sandboxes"]]


class Sidecars(Handle):
    """A part of `Sandbox`."""

    @property
    def sidecars(self) -> SidecarManager:
        """Its sidecars: made, found and listed."""
        return SidecarManager(self)

    # As the programming model calls them, now and once.
    _experimental_sidecars = _experimental_containers = sidecars
