"""Steps that install packages: of Python with pip, uv, Poetry and conda, of Debian with apt."""

from __future__ import annotations

from volant.errors import InvalidError
from volant.sdk.images import checks
from volant.sdk.images.chain import Chain, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from volant.sdk.images.chain import Reading
    from volant.sdk.images.image import Image


def _index_fields(
    where: str,
    find_links: str | None,
    index_url: str | None,
    extra_index_url: str | None,
    pre: bool,
    extra_options: str,
) -> dict[str, object]:
    """Where and how packages are looked for, checked."""
    return {
        "find_links": checks.optional_text(f"{where}: find_links", find_links),
        "index_url": checks.optional_text(f"{where}: index_url", index_url),
        "extra_index_url": checks.optional_text(f"{where}: extra_index_url", extra_index_url),
        "pre": bool(pre),
        "extra_options": checks.text(f"{where}: extra_options", extra_options).strip(),
    }


class Installing(Chain):
    """The methods of `Image` that install packages."""

    __slots__ = ()

    def _pip(
        self,
        method: str,
        packages: list[str],
        fields: dict[str, object],
        *,
        force_build: bool,
        readings: dict[str, Reading] | None = None,
    ) -> Image:
        """A step of packages for Python; all of them are installed by uv."""
        asked: dict[str, object] = {"packages": packages, "requirements": None, **fields}
        asked["installer"] = "uv"
        return self._then(method, Step("pip", asked, is_forced=force_build, readings=readings))

    def _unchanged(self, method: str) -> Image:
        """The image itself, for a step that has nothing to do."""
        self._refuse_host(method)
        return self._made(self._steps, self._attached)

    def pip_install(
        self,
        *packages: str | list[str],
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        env: dict[str, str] | None = None,
        secrets: Sequence[object] | None = None,
        gpu: object = None,
    ) -> Image:
        """Install packages for Python.

        Args:
            packages: requirements such as `"numpy"` or `"torch>=2"`, or lists of them; their
                order means nothing.
            find_links: a page or directory with archives.
            index_url: the index to use instead of PyPI.
            extra_index_url: an index to use beside it.
            pre: take pre-releases as well.
            extra_options: further options of the installer, as on its command line.
            force_build: build this step and those after it anew.
            env: environment variables of this step alone.
            secrets: secrets whose variables this step sees.

        Raises:
            InvalidError: for what is no package, and for options among them.

        Example:
            >>> Image.debian_slim("3.12").pip_install("numpy", "pandas>=2")
            <volant.Image of debian_slim and 1 step>
        """
        names = checks.package_names("pip_install", packages)
        fields = _index_fields(
            "pip_install", find_links, index_url, extra_index_url, pre, extra_options
        )
        fields |= checks.surroundings("pip_install", env, secrets, gpu)
        if not names:
            return self._unchanged("pip_install")
        return self._pip("pip_install", names, fields, force_build=force_build)

    def uv_pip_install(
        self,
        *packages: str | list[str],
        requirements: list[str] | None = None,
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        uv_version: str | None = None,
        force_build: bool = False,
        env: dict[str, str] | None = None,
        secrets: Sequence[object] | None = None,
        gpu: object = None,
    ) -> Image:
        """Install packages for Python, also those of requirements files.

        Args:
            packages: as those of `pip_install`, which has the other arguments as well.
            requirements: local requirements files; files that they include are sent with them.
            uv_version: version of uv that installs; the daemon's own by default.

        Raises:
            InvalidError: for what is no package, and for lines that only this machine could
                follow, such as an editable package.
            NotFoundError: when a requirements file is not there.

        Example:
            >>> Image.debian_slim("3.12").uv_pip_install("fastapi", requirements=["more.txt"])
            <volant.Image of debian_slim and 1 step>
        """
        from volant.sdk.images.local import local_path
        from volant.sdk.images.requirements import Requirements

        where = "uv_pip_install"
        names = checks.package_names(where, packages)
        fields = _index_fields(where, find_links, index_url, extra_index_url, pre, extra_options)
        fields |= _version("uv_version", where, uv_version)
        fields |= checks.surroundings(where, env, secrets, gpu)
        files = checks.strings(f"{where}: requirements", requirements or [])
        if not files:
            if not names:
                return self._unchanged(where)
            return self._pip(where, names, fields, force_build=force_build)
        paths = [local_path(f"{where}: requirements", path) for path in files]
        readings: dict[str, Reading] = {"requirements": Requirements(paths)}
        return self._pip(where, names, fields, force_build=force_build, readings=readings)

    def pip_install_from_requirements(
        self,
        requirements_txt: str | Path,
        find_links: str | None = None,
        *,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        env: dict[str, str] | None = None,
        secrets: Sequence[object] | None = None,
        gpu: object = None,
    ) -> Image:
        """Install the packages of a local requirements file.

        Args:
            requirements_txt: the file; files that it includes are sent with it.
            find_links: this and what follows is as in `pip_install`.

        Raises:
            InvalidError: for lines that only this machine could follow.
            NotFoundError: when the file is not there.

        Example:
            >>> Image.debian_slim("3.12").pip_install_from_requirements("more.txt")
            <volant.Image of debian_slim and 1 step>
        """
        from volant.sdk.images.local import local_path
        from volant.sdk.images.requirements import Requirements

        where = "pip_install_from_requirements"
        fields = _index_fields(where, find_links, index_url, extra_index_url, pre, extra_options)
        fields |= checks.surroundings(where, env, secrets, gpu)
        read = Requirements([local_path(where, requirements_txt)])
        return self._pip(
            where, [], fields, force_build=force_build, readings={"requirements": read}
        )

    def pip_install_from_pyproject(
        self,
        pyproject_toml: str | Path,
        optional_dependencies: Sequence[str] = (),
        *,
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        env: dict[str, str] | None = None,
        secrets: Sequence[object] | None = None,
        gpu: object = None,
    ) -> Image:
        """Install the dependencies that a local `pyproject.toml` lists, not the project itself.

        Args:
            pyproject_toml: the file.
            optional_dependencies: names of its optional groups to install as well.
            find_links: this and what follows is as in `pip_install`.

        Raises:
            InvalidError: when it lists no dependencies or lacks a group.
            NotFoundError: when the file is not there.

        Example:
            >>> Image.debian_slim("3.12").pip_install_from_pyproject("pyproject.toml", ["web"])
            <volant.Image of debian_slim and 1 step>
        """
        from volant.sdk.images.local import local_path
        from volant.sdk.images.requirements import PyprojectPackages

        where = "pip_install_from_pyproject"
        groups = checks.strings(f"{where}: optional_dependencies", optional_dependencies)
        fields = _index_fields(where, find_links, index_url, extra_index_url, pre, extra_options)
        fields |= checks.surroundings(where, env, secrets, gpu)
        read = PyprojectPackages(local_path(where, pyproject_toml), groups)
        return self._pip(where, [], fields, force_build=force_build, readings={"packages": read})

    def pip_install_private_repos(
        self,
        *repositories: str,
        git_user: str,
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        env: dict[str, str] | None = None,
        secrets: Sequence[object] | None = None,
        gpu: object = None,
    ) -> Image:
        """Install packages from private repositories of GitHub or GitLab.

        Args:
            repositories: as `github.com/owner/name@reference`.
            git_user: whose token it is.
            find_links: this and what follows is as in `pip_install`.
            secrets: one with `GITHUB_TOKEN` or `GITLAB_TOKEN`.

        Raises:
            InvalidError: for what is no such repository, and without a secret.

        Example:
            Image.debian_slim().pip_install_private_repos(
                "github.com/owner/tools@main", git_user="owner", secrets=[token]
            )
        """
        where = "pip_install_private_repos"
        names = sorted(checks.repository_name(word) for word in repositories)
        fields: dict[str, object] = {"repositories": names}
        fields["git_user"] = checks.text(f"{where}: git_user", git_user)
        fields |= _index_fields(where, find_links, index_url, extra_index_url, pre, extra_options)
        fields |= checks.surroundings(where, env, secrets, gpu)
        if not secrets:
            raise InvalidError(
                f"{where} needs a secret with the token of {git_user!r}",
                hint="one with GITHUB_TOKEN or GITLAB_TOKEN, as secrets=[...]",
            )
        if not names:
            return self._unchanged(where)
        return self._then(where, Step("private_repos", fields, is_forced=force_build))

    def uv_sync(
        self,
        uv_project_dir: str | Path = "./",
        *,
        force_build: bool = False,
        groups: list[str] | None = None,
        extras: list[str] | None = None,
        frozen: bool = True,
        extra_options: str = "",
        uv_version: str | None = None,
        env: dict[str, str] | None = None,
        secrets: Sequence[object] | None = None,
        gpu: object = None,
    ) -> Image:
        """Install what a local project of uv has locked, not the project itself.

        Args:
            uv_project_dir: the directory of its `pyproject.toml` and `uv.lock`.
            force_build: build this step and those after it anew.
            groups: dependency groups to install as well.
            extras: optional dependencies to install as well.
            frozen: take the lock file as it is; without one, versions are looked for.
            extra_options: further options of `uv sync`.
            uv_version: version of uv that installs; the daemon's own by default.
            env: environment variables of this step alone.
            secrets: secrets whose variables this step sees.

        Raises:
            InvalidError: for a workspace of several packages.
            NotFoundError: when there is no `pyproject.toml`.

        Example:
            >>> Image.debian_slim("3.12").uv_sync(groups=["serving"])
            <volant.Image of debian_slim and 1 step>
        """
        import os

        from volant.sdk.images.local import local_path
        from volant.sdk.images.requirements import uv_project

        directory = local_path("uv_sync", uv_project_dir, is_directory=True)
        pyproject, lock = uv_project(os.fspath(directory))
        fields: dict[str, object] = {
            "lock": None,
            "groups": sorted(checks.strings("uv_sync: groups", groups or [])),
            "extras": sorted(checks.strings("uv_sync: extras", extras or [])),
            "frozen": bool(frozen),
            "extra_options": checks.text("uv_sync: extra_options", extra_options).strip(),
        }
        fields |= _version("uv_version", "uv_sync", uv_version)
        fields |= checks.surroundings("uv_sync", env, secrets, gpu)
        readings: dict[str, Reading] = {"pyproject": pyproject}
        if lock is not None:
            readings["lock"] = lock
        step = Step("uv_sync", fields, is_forced=force_build, readings=readings)
        return self._then("uv_sync", step)

    def poetry_install_from_file(
        self,
        poetry_pyproject_toml: str | Path,
        poetry_lockfile: str | Path | None = None,
        *,
        ignore_lockfile: bool = False,
        force_build: bool = False,
        with_: Sequence[str] = (),
        without: Sequence[str] = (),
        only: Sequence[str] = (),
        poetry_version: str | None = "latest",
        old_installer: bool = False,
        env: dict[str, str] | None = None,
        secrets: Sequence[object] | None = None,
        gpu: object = None,
    ) -> Image:
        """Install the dependencies of a local project of Poetry, not the project itself.

        Args:
            poetry_pyproject_toml: its `pyproject.toml`.
            poetry_lockfile: its lock file; the `poetry.lock` beside it by default.
            ignore_lockfile: look for versions anew.
            force_build: build this step and those after it anew.
            with_: optional groups to install as well.
            without: groups to leave out.
            only: the only groups to install.
            poetry_version: version of Poetry; None for the one that the image has.
            old_installer: install with Poetry's older installer.
            env: environment variables of this step alone.
            secrets: secrets whose variables this step sees.

        Raises:
            NotFoundError: when one of the files is not there.

        Example:
            >>> image = Image.debian_slim("3.12")
            >>> image.poetry_install_from_file("pyproject.toml", ignore_lockfile=True)
            <volant.Image of debian_slim and 1 step>
        """
        from volant.sdk.images.local import Content, local_path
        from volant.sdk.images.requirements import poetry_lock

        where = "poetry_install_from_file"
        pyproject = local_path(where, poetry_pyproject_toml)
        lock = poetry_lock(pyproject, poetry_lockfile, is_ignored=ignore_lockfile)
        fields: dict[str, object] = {
            "lock": None,
            "with": sorted(checks.strings(f"{where}: with_", with_)),
            "without": sorted(checks.strings(f"{where}: without", without)),
            "only": sorted(checks.strings(f"{where}: only", only)),
            "poetry_version": checks.optional_text(f"{where}: poetry_version", poetry_version),
            "old_installer": bool(old_installer),
        }
        fields |= checks.surroundings(where, env, secrets, gpu)
        readings: dict[str, Reading] = {"pyproject": Content(pyproject)}
        if lock is not None:
            readings["lock"] = lock
        return self._then(where, Step("poetry", fields, is_forced=force_build, readings=readings))

    def micromamba_install(
        self,
        *packages: str | list[str],
        spec_file: str | Path | None = None,
        channels: Sequence[str] = (),
        force_build: bool = False,
        env: dict[str, str] | None = None,
        secrets: Sequence[object] | None = None,
        gpu: object = None,
    ) -> Image:
        """Install packages of conda.

        Args:
            packages: specifications such as `"pytorch=2"`, or lists of them.
            spec_file: a local file that lists further ones.
            channels: where they are looked for, the first one first.
            force_build: build this step and those after it anew.
            env: environment variables of this step alone.
            secrets: secrets whose variables this step sees.

        Raises:
            InvalidError: for what is no package.
            NotFoundError: when the file is not there.

        Example:
            >>> Image.micromamba("3.12").micromamba_install("gdal", channels=["conda-forge"])
            <volant.Image of micromamba and 1 step>
        """
        from volant.sdk.images.local import Content, local_path

        where = "micromamba_install"
        names = checks.package_names(where, packages)
        fields: dict[str, object] = {
            "packages": names,
            "spec_file": None,
            "channels": checks.strings(f"{where}: channels", channels),
            **checks.surroundings(where, env, secrets, gpu),
        }
        readings: dict[str, Reading] = {}
        if spec_file is not None:
            readings["spec_file"] = Content(local_path(f"{where}: spec_file", spec_file))
        if not names and not readings:
            return self._unchanged(where)
        return self._then(
            where, Step("micromamba_install", fields, is_forced=force_build, readings=readings)
        )

    def apt_install(
        self,
        *packages: str | list[str],
        force_build: bool = False,
        env: dict[str, str] | None = None,
        secrets: Sequence[object] | None = None,
        gpu: object = None,
    ) -> Image:
        """Install packages of Debian.

        Args:
            packages: names, or lists of them; their order means nothing.
            force_build: build this step and those after it anew.
            env: environment variables of this step alone.
            secrets: secrets whose variables this step sees.

        Raises:
            InvalidError: for what is no package.

        Example:
            >>> Image.debian_slim("3.12").apt_install("git", "ffmpeg")
            <volant.Image of debian_slim and 1 step>
        """
        names = checks.package_names("apt_install", packages)
        fields = {"packages": names, **checks.surroundings("apt_install", env, secrets, gpu)}
        if not names:
            return self._unchanged("apt_install")
        return self._then("apt_install", Step("apt", fields, is_forced=force_build))


def _version(name: str, where: str, given: object) -> dict[str, object]:
    """A field for the version of an installer, none when it is left to the daemon."""
    return {} if given is None else {name: checks.text(f"{where}: {name}", given)}
