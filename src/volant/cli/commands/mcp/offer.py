"""What a client of `volant mcp` may ask for: images, packages, a network, memory.

Pure. Whoever started the server has said what is allowed; a client, which may have been talked
into anything by what it read, can choose among that and no more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from volant.errors import InvalidError
from volant.sdk.images.image import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Packages of one image.
PACKAGES_MAX = 50
#: A name with extras and versions. No option, address or path: these would have the builder, which
#: has a network, fetch from wherever a client says.
_PACKAGE = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(\[[A-Za-z0-9._,-]{1,100}\])?"
    r"((==|~=|!=|<=|>=|<|>)[A-Za-z0-9.*+!_-]{1,40}(,(?=[<>=!~])|$)){0,4}"
)
#: The internet, by names too; no private network, and nothing that listens on this machine.
_INTERNET = ("0.0.0.0/0",)
#: How a published image is told from one of a registry.
_PUBLISHED = "name:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What sandboxes may be.

    Attributes:
        images: as `--image` has them, the default first.
        allows_network: whether a sandbox may reach the internet.
        domains: what a sandbox may reach without that.
        sandboxes_max: sandboxes that live at once.
        memory_max_mib: what a sandbox has, and the most that it may ask for.
    """

    images: tuple[str, ...]
    allows_network: bool
    domains: tuple[str, ...]
    sandboxes_max: int
    memory_max_mib: int

    def image(self, name: str | None, python_version: str | None, packages: Sequence[str]) -> Image:
        """The image of a sandbox.

        Raises:
            InvalidError: for what is not offered, and for what makes no sense.
        """
        name = self.images[0] if name is None else name
        if name not in self.images:
            raise InvalidError(
                f"image {name!r} is not offered", hint=f"choose one of {', '.join(self.images)}"
            )
        if python_version is not None and name != "debian":
            raise InvalidError(
                f"the Python of image {name!r} is its own", hint="leave python_version out"
            )
        return self.with_packages(_base(name, python_version), packages)

    def with_packages(self, image: Image, packages: Sequence[str]) -> Image:
        """An image with packages that are installed by name.

        Raises:
            InvalidError: for what is no name, and for too many.
        """
        if len(packages) > PACKAGES_MAX:
            raise InvalidError(f"{len(packages)} packages, at most {PACKAGES_MAX}")
        for package in packages:
            if not _PACKAGE.fullmatch(package):
                raise InvalidError(
                    f"{package!r} is no package", hint="write names, as `numpy` or `numpy==2.1.0`"
                )
        return image.uv_pip_install(*packages) if packages else image

    def memory(self, asked_mib: int | None) -> tuple[int, int]:
        """Request and limit of a sandbox, in MiB; the request books nothing.

        Raises:
            InvalidError: for more than is offered.
        """
        limit = self.memory_max_mib if asked_mib is None else asked_mib
        if not 1 <= limit <= self.memory_max_mib:
            raise InvalidError(f"memory_mib is from 1 to {self.memory_max_mib}, got {limit}")
        return min(64, limit), limit

    def network(self, *, is_blocked: bool) -> dict[str, Any]:
        """What `Sandbox.create` is told of the network of a sandbox.

        Raises:
            InvalidError: for a network where none is offered.
        """
        if is_blocked:
            return {"block_network": True}
        if self.allows_network:
            return {"outbound_cidr_allowlist": _INTERNET}
        if self.domains:
            return {"outbound_domain_allowlist": self.domains}
        raise InvalidError(
            "sandboxes of this server have no network",
            hint="leave block_network out; packages= of create_sandbox installs packages;"
            " whoever runs the server could start it with --allow-network or --allow-domain",
        )


def _base(name: str, python_version: str | None) -> Image:
    if name == "debian":
        return Image.debian_slim(python_version)
    if name == "host":
        return Image.host()
    if name.startswith(_PUBLISHED):
        return Image.from_name(name.removeprefix(_PUBLISHED))
    return Image.from_registry(name)
