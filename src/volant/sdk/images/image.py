"""Images: what a container sees as its file system and its Python, as an immutable chain.

    image = volant.Image.debian_slim("3.12").apt_install("git").uv_pip_install("numpy")

The first method chooses a base; every other one returns a new image with one more step. Wrong
arguments raise where they are written. Nothing is built before an app runs, or `build` is called.
"""

from __future__ import annotations

from volant import _context
from volant.errors import InvalidError
from volant.sdk.images import checks
from volant.sdk.images.adding import Adding
from volant.sdk.images.chain import Step
from volant.sdk.images.commands import Commands
from volant.sdk.images.installing import Installing
from volant.sdk.images.patterns import AUTO_DOCKERIGNORE
from volant.sdk.naming import check_environment
from volant.sdk.objects.handle import Handle, at_once, check_client
from volant.sdk.options import checked_environment
from volant.sdk.planned import former

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Any

    from volant.sdk.generics import T
    from volant.sdk.images.built.building import Build, HydrateImage, Publish
    from volant.sdk.images.built.logs import Logs
    from volant.sdk.images.chain import Reading, SecretVariables
    from volant.sdk.images.patterns import AutoDockerignore, Ignore
    from volant.sdk.objects.client import Client


@former(
    conda="Image.micromamba()",
    conda_install="image.micromamba_install(...)",
    copy_local_dir="image.add_local_dir(..., copy=True)",
    copy_local_file="image.add_local_file(..., copy=True)",
    copy_mount="image.add_local_dir(..., copy=True)",
)
class Image(Installing, Commands, Adding, Handle):
    """An immutable description of a container's file system and Python, begun by its base.

    Bases: `host` (the default), `debian_slim`, `from_registry`, `from_dockerfile`, `micromamba`,
    `from_scratch`, `from_id`, `from_name`.
    """

    __slots__ = ()

    @staticmethod
    def host() -> Image:
        """The caller's own Python and packages, read-only under an overlay; builds nothing.

        Example:
            >>> Image.host()
            Image.host()
        """
        return Image((Step("host"),))

    @staticmethod
    def debian_slim(python_version: str | None = None, force_build: bool = False) -> Image:
        """Debian with a Python and little else.

        Args:
            python_version: its series, such as `"3.12"`; that of this process by default.
            force_build: build everything anew.

        Raises:
            InvalidError: for a series that images cannot have.

        Example:
            >>> Image.debian_slim("3.12")
            <volant.Image of debian_slim>
        """
        series = checks.python_series(python_version, "debian_slim: python_version")
        return Image((Step("debian_slim", {"python": series}, is_forced=force_build),))

    @staticmethod
    def micromamba(python_version: str | None = None, force_build: bool = False) -> Image:
        """Debian with micromamba and a Python of conda, for `micromamba_install`.

        Args:
            python_version: its series; that of this process by default.
            force_build: build everything anew.

        Raises:
            InvalidError: for a series that images cannot have.

        Example:
            >>> Image.micromamba("3.11")
            <volant.Image of micromamba>
        """
        series = checks.python_series(python_version, "micromamba: python_version")
        return Image((Step("micromamba", {"python": series}, is_forced=force_build),))

    @staticmethod
    def from_registry(
        tag: str,
        secret: object = None,
        *,
        setup_dockerfile_commands: Sequence[str] = (),
        force_build: bool = False,
        add_python: str | None = None,
    ) -> Image:
        """An image of a registry for containers, which has Python or is given one.

        Args:
            tag: its name, such as `"python:3.12-slim"` or `"ghcr.io/owner/image:tag"`.
            secret: what the registry wants to see, for a private image: `REGISTRY_USERNAME` and
                `REGISTRY_PASSWORD`, or Google's `SERVICE_ACCOUNT_JSON`.
            setup_dockerfile_commands: instructions to follow first, as in `dockerfile_commands`.
            force_build: build everything anew.
            add_python: series of Python to add.

        Raises:
            InvalidError: for what is no name, and for a series that images cannot have.

        Example:
            >>> Image.from_registry("ubuntu:24.04", add_python="3.12")
            <volant.Image of registry>
        """
        fields = {
            "reference": checks.registry_reference(tag),
            "add_python": _added_python("from_registry", add_python),
            "auth": _auth("from_registry", secret),
        }
        image = Image((Step("registry", fields, is_forced=force_build),))
        commands = checks.strings(
            "from_registry: setup_dockerfile_commands", setup_dockerfile_commands
        )
        return image.dockerfile_commands(commands) if commands else image

    from_aws_ecr = from_registry
    from_gcp_artifact_registry = from_registry

    @staticmethod
    def from_dockerfile(
        path: str | Path,
        *,
        force_build: bool = False,
        context_dir: str | Path | None = None,
        env: dict[str, str] | None = None,
        secrets: Sequence[object] | None = None,
        gpu: object = None,
        add_python: str | None = None,
        build_args: Mapping[str, str] | None = None,
        ignore: Ignore | AutoDockerignore = AUTO_DOCKERIGNORE,
        registry_secret: object = None,
    ) -> Image:
        """The image that a local Dockerfile describes.

        Args:
            path: the Dockerfile, read when the app runs.
            force_build: build everything anew.
            context_dir: what `COPY` copies from; the working directory by default.
            env: environment variables of this step alone.
            secrets: secrets whose variables this step sees.
            add_python: series of Python to add.
            build_args: values of `ARG`s.
            ignore: files of the context that stay here; by default, those that the
                `.dockerignore` of the Dockerfile names, or that of the context.
            registry_secret: what the registry wants to see, for a private base.

        Raises:
            InvalidError: for what is no instruction, and for ONBUILD, STOPSIGNAL and VOLUME.
            NotFoundError: when there is no Dockerfile, or a file to copy is not there.

        Example:
            >>> Image.from_dockerfile("Dockerfile")
            <volant.Image of dockerfile>
        """
        from volant.sdk.images.dockerfile import Context, DockerfileLines
        from volant.sdk.images.local import local_path

        where = "from_dockerfile"
        file = local_path(where, path)
        context = Context(
            where, lines=None, dockerfile=file, directory=context_dir, ignore=ignore, files={}
        )
        fields = {
            "add_python": _added_python(where, add_python),
            "auth": _auth(where, registry_secret),
            **checks.surroundings(where, env, secrets, gpu),
        }
        if build_args:
            fields["build_args"] = checked_environment(build_args, f"{where}: build_args")
        readings: dict[str, Reading] = {"commands": DockerfileLines(file), "files": context}
        return Image((Step("dockerfile", fields, is_forced=force_build, readings=readings),))

    @staticmethod
    def from_scratch(*, force_build: bool = False) -> Image:
        """An empty image.

        Args:
            force_build: build the steps that follow anew.

        Example:
            >>> Image.from_scratch()
            <volant.Image of scratch>
        """
        return Image((Step("scratch", {}, is_forced=force_build),))

    @at_once
    @staticmethod
    def from_id(image_id: str, client: Client | None = None) -> Image:
        """An image that was built before, by its id; asks nobody until it is used.

        Args:
            image_id: as `im-…`.

        Raises:
            InvalidError: for what cannot be an id.

        Example:
            >>> Image.from_id("im-6f1c2a9be07d4412aa93ce")
            <volant.Image of id>
        """
        check_client(client)
        return Image((Step("id", {"image_id": checks.image_id(image_id)}),))

    @staticmethod
    def from_name(
        name: str, *, environment_name: str | None = None, client: Client | None = None
    ) -> Image:
        """An image that was published, by its name; asks nobody until it is used.

        Args:
            name: `name` or `name:tag`; the tag is `latest` by default.
            environment_name: where it was published; by default where the app is that has it.

        Raises:
            InvalidError: for what cannot be such a name.

        Example:
            >>> Image.from_name("base:2")
            <volant.Image of name>
        """
        check_client(client)
        word, tag = checks.published_name(name)
        where = {} if environment_name is None else {"environment": environment_name}
        check_environment(environment_name)
        return Image((Step("name", {"name": word, "tag": tag, **where}),))

    def pipe(self, recipe: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """`recipe(image, *args, **kwargs)`, for recipes between the steps of a chain.

        Example:
            >>> def with_tools(image: Image, *more: str) -> Image:
            ...     return image.apt_install("git", *more)
            >>> Image.debian_slim("3.12").pipe(with_tools, "curl")
            <volant.Image of debian_slim and 1 step>
        """
        return recipe(self, *args, **kwargs)

    def imports(self) -> ImportsOfImage:
        """A block for imports of packages that this image has and other places need not have.

        Elsewhere an `ImportError` in the block is passed over, and any other exception becomes a
        warning. In a container of this image either is raised, when its function is loaded.

        Example:
            >>> with Image.debian_slim("3.12").pip_install("faraway").imports():
            ...     import faraway
        """
        return ImportsOfImage(self)

    @property
    def object_id(self) -> str | None:
        """Its id (`im-…`) once it was built, hydrated or used by an app that runs; else None.

        Example:
            >>> Image.debian_slim("3.12").object_id is None
            True
        """
        return self._object_id

    @property
    def build(self) -> Build:
        """Build the image now, as far as it is not there: `image.build(app=None)`.

        Returns the image. What its steps print is shown where output is enabled.

        Args (when called):
            app: whose name the build is shown under.

        Raises (when called):
            ImageBuildError: with the last lines of the step that failed.

        Example:
            >>> Image.host().build()
            Image.host()
        """
        from volant.sdk.images.built.building import Build

        return Build(self)

    @property
    def publish(self) -> Publish:
        """Give the image a name, and build it if it is not there: `image.publish("name:tag")`.

        The name lasts until it is deleted, and so does the image. Publishing another one under it
        moves it.

        Raises (when called):
            InvalidError: for what cannot be such a name, and for `Image.host()`.
            ImageBuildError: when it cannot be built.

        Example:
            image.publish("base:2")
        """
        from volant.sdk.images.built.building import Publish

        return Publish(self)

    @property
    def hydrate(self) -> HydrateImage:
        """Look up an image of `from_id` or `from_name`, so that it has an id; builds nothing.

        Raises (when called):
            ExecutionError: for an image with steps that was not built yet.
            NotFoundError: when there is no such image.

        Example:
            >>> Image.host().hydrate()
            Image.host()
        """
        from volant.sdk.images.built.building import HydrateImage

        return HydrateImage(self)

    @property
    def logs(self) -> Logs:
        """What its steps printed: `image.logs.fetch(...)` and `image.logs.tail(...)`.

        Example:
            for entry in image.build().logs.tail(20):
                print(entry.message)
        """
        from volant.sdk.images.built.logs import Logs

        return Logs(self)

    def __repr__(self) -> str:
        if self._is_host:
            return "Image.host()"
        parts = [f"<volant.Image of {self._steps[0].kind}"]
        if len(self._steps) > 1:
            parts.append(f"{len(self._steps) - 1} step{'s' * (len(self._steps) > 2)}")
        if self._attached:
            parts.append(f"{len(self._attached)} added")
        return " and ".join(parts) + ">"


class ImportsOfImage:
    """The block of `image.imports()`."""

    __slots__ = ("_image",)

    def __init__(self, image: Image) -> None:
        self._image = image

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if not isinstance(value, Exception):
            return False
        if not isinstance(value, ImportError):
            import warnings

            warnings.warn(f"{value!r} in a block of image.imports() was passed over", stacklevel=2)
        if _context.in_container() and self._image._missed is None:
            self._image._missed = value  # which image this container has shows later
        return True


def _added_python(where: str, series: str | None) -> str | None:
    return None if series is None else checks.python_series(series, f"{where}: add_python")


def _auth(where: str, secret: object) -> SecretVariables | None:
    """What opens a registry."""
    if secret is None:
        return None
    if isinstance(secret, (list, tuple, str)):
        raise InvalidError(f"{where}: one volant.Secret is needed, got {secret!r}")
    return checks.secret_variables(where, [secret])
