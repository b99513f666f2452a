"""The names of images: `python:3.12-slim`, `ghcr.io/a/b@sha256:...`, `localhost:5000/x:tag`.

Owns the grammar and the abbreviations of Docker Hub. It opens no connection.

Source: https://github.com/distribution/reference (the grammar that Docker uses)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from volantd.images.oci.errors import OciError, shown

#: Algorithm -> digits. Others exist in the specification, but nowhere else.
DIGEST_DIGITS = {"sha256": 64, "sha512": 128}
_DIGEST = re.compile(r"(?P<algorithm>sha256|sha512):(?P<digits>[0-9a-f]+)", re.ASCII)
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*", re.ASCII)
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = re.compile(
    rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:.]+\])(?::[0-9]{{1,5}})?", re.ASCII
)
_NAME_CHARS_MAX = 255
_DOCKER_HUB = "docker.io"
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Where an image is, in full: its registry, its repository there, and which one in it.

    Attributes:
        registry: host, with its port if it is not the usual one.
        repository: a path of lower case words.
        tag: empty when the image is named by its digest alone.
        digest: algorithm and digits; empty when it is named by a tag. If both are there, the
            digest counts.
    """

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"

    @property
    def version(self) -> str:
        """What the registry is asked for."""
        return self.digest or self.tag

    @property
    def address(self) -> str:
        """The registry's own part of a URL; without encryption on this very machine only."""
        host = "registry-1.docker.io" if self.registry == _DOCKER_HUB else self.registry
        return f"http://{host}" if is_loopback(host) else f"https://{host}"


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine."""
    return re.sub(r":[0-9]+\Z", "", host.lower()) in _LOOPBACK


def is_digest(text: str) -> bool:
    """Whether this is a digest of an algorithm that can be verified."""
    match = _DIGEST.fullmatch(text)
    return match is not None and len(match["digits"]) == DIGEST_DIGITS[match["algorithm"]]


def parse_reference(text: str) -> Reference:
    """Take the name of an image apart, with what it leaves out filled in.

    Raises:
        OciError: when it is no name of an image; it says what is wrong with which part.
    """
    name, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise _refusal(text, f"{shown(digest)} is no digest", "write `@sha256:` and 64 digits")
    if "://" in name:
        raise _refusal(text, "it has a scheme", f"leave out {shown(name.split('://')[0] + '://')}")
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or {".", ":"} & set(first)):
        registry, remainder = first, rest
    else:
        registry, remainder = _DOCKER_HUB, name
    if registry in ("index.docker.io", "registry-1.docker.io"):
        registry = _DOCKER_HUB
    _check_registry(text, registry)
    repository, colon, tag = remainder.partition(":")
    if registry == _DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    if colon and _TAG.fullmatch(tag) is None:
        hint = "a tag is up to 128 letters, digits, `_`, `.` and `-`, as in `python:3.12-slim`"
        raise _refusal(text, f"{shown(tag)} is no tag", hint)
    _check_repository(text, registry, repository)
    tag = tag or ("" if digest else "latest")
    return Reference(registry=registry, repository=repository, tag=tag, digest=digest)


def _check_registry(text: str, registry: str) -> None:
    port = registry.rpartition(":")[2] if re.search(r":[0-9]+\Z", registry) else "443"
    if _REGISTRY.fullmatch(registry) is None or not 0 < int(port) < 1 << 16:
        hint = "name a host, as in `ghcr.io/owner/name` or `localhost:5000/name`"
        raise _refusal(text, f"{shown(registry)} is no registry", hint)


def _check_repository(text: str, registry: str, repository: str) -> None:
    if len(registry) + 1 + len(repository) > _NAME_CHARS_MAX:
        raise _refusal(text, f"it is longer than {_NAME_CHARS_MAX} characters", "shorten it")
    for component in repository.split("/"):
        if _COMPONENT.fullmatch(component) is None:
            hint = "repositories are lower case words, as in `owner/name`"
            if _COMPONENT.fullmatch(component.lower()) is not None:
                hint = f"write {shown(component.lower())}: {hint}"
            raise _refusal(text, f"{shown(component)} cannot be part of a repository", hint)


def _refusal(text: str, problem: str, hint: str) -> OciError:
    return OciError(f"{shown(text)} is no reference of an image: {problem}", hint=hint)
