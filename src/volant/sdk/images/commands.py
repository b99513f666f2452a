"""Steps that run something in a build, and steps that set how containers of an image work."""

from __future__ import annotations

from volant.errors import InvalidError
from volant.sdk.images import checks
from volant.sdk.images.chain import Chain, Step
from volant.sdk.images.patterns import AUTO_DOCKERIGNORE
from volant.sdk.options import checked_environment, checked_resources, refuse_planned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from volant.sdk.images.chain import Reading
    from volant.sdk.images.image import Image
    from volant.sdk.images.patterns import AutoDockerignore, Ignore

BUILD_TIMEOUT_DEFAULT_S = 3600


class Commands(Chain):
    """The methods of `Image` that run something, or say how its containers work."""

    __slots__ = ()

    def run_commands(
        self,
        *commands: str | list[str],
        env: dict[str, str] | None = None,
        secrets: Sequence[object] | None = None,
        volumes: Mapping[str, object] | None = None,
        gpu: object = None,
        force_build: bool = False,
    ) -> Image:
        """Run shell commands in the image, one after the other.

        Args:
            commands: commands, or lists of them.
            env: environment variables of this step alone.
            secrets: secrets whose variables this step sees.
            volumes: by the paths at which this step has them; what it writes there is committed.
            force_build: build this step and those after it anew.

        Raises:
            InvalidError: for what is no command.
            UnimplementedError: for `gpu`, and for buckets.

        Example:
            >>> Image.debian_slim("3.12").run_commands("mkdir /data", "echo ready > /data/state")
            <volant.Image of debian_slim and 1 step>
        """
        readings = _mounted("run_commands", volumes)
        words = checks.flattened("run_commands", commands)
        fields = {"commands": words, **checks.surroundings("run_commands", env, secrets, gpu)}
        self._refuse_host("run_commands")
        if not words:
            return self._made(self._steps, self._attached)
        step = Step("run", fields, is_forced=force_build, readings=readings)
        return self._then("run_commands", step)

    def dockerfile_commands(
        self,
        *dockerfile_commands: str | list[str],
        context_files: Mapping[str, str | Path] | None = None,
        env: dict[str, str] | None = None,
        secrets: Sequence[object] | None = None,
        gpu: object = None,
        context_dir: str | Path | None = None,
        force_build: bool = False,
        ignore: Ignore | AutoDockerignore = AUTO_DOCKERIGNORE,
        build_args: Mapping[str, str] | None = None,
    ) -> Image:
        """Follow instructions of a Dockerfile.

        Args:
            dockerfile_commands: instructions, or lists of them; one may have several lines.
            context_files: path in the context -> local path, of files outside `context_dir`.
            env: environment variables of this step alone.
            secrets: secrets whose variables this step sees.
            context_dir: what `COPY` copies from; the working directory by default.
            force_build: build this step and those after it anew.
            ignore: files of the context that stay here; by default, those that its
                `.dockerignore` names.
            build_args: values of `ARG`s.

        Raises:
            InvalidError: for what is no instruction, and for ONBUILD, STOPSIGNAL, VOLUME and FROM.
            NotFoundError: when a file to copy is not there.

        Example:
            >>> Image.debian_slim("3.12").dockerfile_commands("ENV A=1", "COPY more.txt /more.txt")
            <volant.Image of debian_slim and 1 step>
        """
        from volant.sdk.images import dockerfile

        where = "dockerfile_commands"
        lines = [
            line for word in checks.flattened(where, dockerfile_commands)
            for line in word.splitlines()
        ]  # fmt: skip
        if any(one.name == "FROM" for one in dockerfile.instructions(where, lines)):
            raise InvalidError(
                f"{where}: FROM would begin another image", hint="use Image.from_dockerfile"
            )
        context = dockerfile.Context(
            where, lines=lines, dockerfile=None, directory=context_dir, ignore=ignore,
            files=context_files or {},
        )  # fmt: skip
        fields = {"commands": lines, **checks.surroundings(where, env, secrets, gpu)}
        if build_args:
            fields["build_args"] = checked_environment(build_args, f"{where}: build_args")
        self._refuse_host(where)
        if not lines:
            return self._made(self._steps, self._attached)
        step = Step("dockerfile", fields, is_forced=force_build, readings={"files": context})
        return self._then(where, step)

    def run_function(
        self,
        raw_f: Callable[..., Any],
        *,
        env: dict[str, str] | None = None,
        secrets: Sequence[object] | None = None,
        volumes: Mapping[str, object] | None = None,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        gpu: object = None,
        timeout: float = BUILD_TIMEOUT_DEFAULT_S,
        cloud: str | None = None,
        region: object = None,
        force_build: bool = False,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        include_source: bool = True,
    ) -> Image:
        """Call a function in the image and keep what it writes.

        It runs again when its source changes, an argument, or the value of a global that it uses,
        directly or through functions and classes of yours.

        Args:
            raw_f: a plain function at the top of a module.
            env: environment variables of this step alone.
            secrets: secrets whose variables this step sees.
            volumes: by the paths at which this step has them; what it writes there is committed.
            cpu: cores, or (request, limit).
            memory: MiB, or (request, limit).
            timeout: seconds that it may run.
            force_build: build this step and those after it anew.
            args: its arguments.
            kwargs: the same, by name.
            include_source: send the module or package that defines it.

        Raises:
            InvalidError: for a lambda, a nested function, a method or a generator function.
            UnimplementedError: for `gpu`, and for buckets.

        Example:
            >>> def download(model: str) -> None: ...
            >>> Image.debian_slim("3.12").run_function(download, args=("small",))
            <volant.Image of debian_slim and 1 step>
        """
        from volant.sdk.images.functions import BuildCall, ModuleName

        where = "run_function"
        readings = _mounted(where, volumes)
        refuse_planned({"cloud": cloud, "region": region}, where)
        fields = checks.surroundings(where, env, secrets, gpu)
        options = checked_resources(cpu=cpu, memory=memory, timeout=timeout)
        if not isinstance(args, (list, tuple)) or not isinstance(kwargs or {}, dict):
            raise InvalidError(
                f"{where}: args must be a tuple and kwargs a dict, got {args!r} and {kwargs!r}",
                hint='for example args=("small",), kwargs={"retry": True}',
            )
        call = BuildCall(
            raw_f, tuple(args), dict(kwargs or {}), options, brings_source=include_source
        )
        fields |= {"qualname": raw_f.__qualname__, "is_async": call.is_async}
        step = Step(
            "function", fields, is_forced=force_build,
            readings={**readings, "module": ModuleName(raw_f), "digest": call},
        )  # fmt: skip
        return self._then(where, step)

    def env(self, vars: dict[str, str]) -> Image:  # noqa: A002 - the programming model's name
        """Set environment variables, for the steps that follow and for containers.

        Args:
            vars: strings to strings.

        Raises:
            InvalidError: for a value that is no string.

        Example:
            >>> Image.debian_slim("3.12").env({"HF_HOME": "/models"})
            <volant.Image of debian_slim and 1 step>
        """
        variables = checked_environment(vars, "env")
        if not variables:
            self._refuse_host("env")
            return self._made(self._steps, self._attached)
        return self._then("env", Step("env", {"variables": variables}))

    def workdir(self, path: str | Path) -> Image:
        """Set the working directory, of the steps that follow and of containers.

        Relative paths of files that later steps add lie in it; without it, in `/root`.

        Args:
            path: in the container; a relative one lies in the working directory so far.

        Raises:
            InvalidError: for what is no path.

        Example:
            >>> Image.debian_slim("3.12").workdir("/app")
            <volant.Image of debian_slim and 1 step>
        """
        self._refuse_host("workdir")
        place = checks.container_path("workdir", path, self._workdir)
        return self._then("workdir", Step("workdir", {"path": place}))

    def shell(self, shell_commands: list[str]) -> Image:
        """Set what runs the commands of later steps.

        Args:
            shell_commands: a program and its options; the command comes behind them.

        Raises:
            InvalidError: for what is no list of strings, or an empty one.

        Example:
            >>> Image.debian_slim("3.12").shell(["/bin/bash", "-c"])
            <volant.Image of debian_slim and 1 step>
        """
        words = checks.strings("shell", shell_commands)
        if not words:
            raise InvalidError("shell needs a program", hint='for example ["/bin/bash", "-c"]')
        return self._then("shell", Step("shell", {"words": words}))

    def entrypoint(self, entrypoint_commands: list[str]) -> Image:
        """Set the program that starts first in containers; it has to run its arguments at its end.

        Args:
            entrypoint_commands: a program and its arguments; none to start without one.

        Raises:
            InvalidError: for what is no list of strings.

        Example:
            >>> Image.debian_slim("3.12").entrypoint(["/usr/bin/env", "--"])
            <volant.Image of debian_slim and 1 step>
        """
        words = checks.strings("entrypoint", entrypoint_commands)
        return self._then("entrypoint", Step("entrypoint", {"words": words}))

    def cmd(self, cmd: list[str]) -> Image:
        """Set the program of sandboxes that name none.

        Args:
            cmd: a program and its arguments.

        Raises:
            InvalidError: for what is no list of strings.

        Example:
            >>> Image.debian_slim("3.12").cmd(["python", "-m", "http.server"])
            <volant.Image of debian_slim and 1 step>
        """
        return self._then("cmd", Step("cmd", {"words": checks.strings("cmd", cmd)}))


def _mounted(where: str, volumes: Mapping[str, object] | None) -> dict[str, Reading]:
    """The field of a step that says which volumes it has; steps without them have none."""
    if not volumes:
        return {}
    from volant.sdk.volumes.given import Mounted

    return {"volumes": Mounted(where, volumes)}
