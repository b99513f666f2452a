"""Where packages are looked for: what a step says, else what this machine's uv and pip are told.

What a machine is told is neither in a step nor in a key, and may hold passwords: it reaches uv by
its environment, where no list of processes shows it. Directories of the machine that serve as an
index are shown to the step under other names.
"""

from __future__ import annotations

import hashlib
import os
import re
import ssl
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from volant.errors import ImageBuildError
from volant.runner.view.places import OWN_DIR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

INDEXES_DIR = OWN_DIR + "/indexes"
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
#: Where distributions keep them all in one file; a Python may know of a directory alone.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem",
)  # fmt: skip
_CERTIFICATES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_CREDENTIALS = re.compile(r"://([^/@\s]+)@")
#: Shorter words are no passwords; to hide them would garble what a step says.
_HIDDEN_CHARS_MIN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexes:
    """Where packages are looked for.

    Attributes:
        default: the index, None for PyPI.
        extra: further ones.
        links: pages and directories with archives.
        trusted: hosts whose certificates are not checked.
    """

    default: str | None = None
    extra: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()

    def variables(self) -> dict[str, str]:
        """How uv is told of them."""
        found = {
            "UV_DEFAULT_INDEX": self.default or "", "UV_INDEX": " ".join(self.extra),
            "UV_FIND_LINKS": ",".join(self.links), "UV_INSECURE_HOST": " ".join(self.trusted),
        }  # fmt: skip
        return {name: value for name, value in found.items() if value}

    def beside(self, other: Indexes) -> Indexes:
        """These before others; the others not at all when these have an index of their own."""
        if self.default is not None:
            return self
        return Indexes(
            default=other.default,
            extra=self.extra + other.extra,
            links=self.links + other.links,
            trusted=self.trusted + other.trusted,
        )

    def over(self, other: Indexes) -> Indexes:
        """These, and of others what these say nothing of."""
        return Indexes(
            default=self.default or other.default,
            extra=self.extra or other.extra,
            links=self.links or other.links,
            trusted=self.trusted or other.trusted,
        )


NOTHING = Indexes()


def of_step(step: Mapping[str, Any]) -> Indexes:
    """What the fields of a step say."""
    return Indexes(
        default=step.get("index_url"),
        extra=tuple((step.get("extra_index_url") or "").split()),
        links=tuple(filter(None, [step.get("find_links")])),
    )


def of_variables(environ: Mapping[str, str]) -> Indexes:
    """What environment variables of uv say, or of pip when those say nothing."""
    said = _of_uv_variables(environ)
    return _of_pip_variables(environ) if said == NOTHING else said


def of_machine(environ: Mapping[str, str] = os.environ) -> Indexes:
    """What this machine's uv is told, or its pip when that is told nothing.

    Raises:
        ImageBuildError: for a file that cannot be read.
    """
    said = _of_uv_variables(environ).over(_of_uv_files(environ))
    if said != NOTHING:
        return said
    return _of_pip_variables(environ).over(_of_pip_files(environ))


def _of_uv_variables(environ: Mapping[str, str]) -> Indexes:
    default = environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL")
    extra = environ.get("UV_INDEX") or environ.get("UV_EXTRA_INDEX_URL", "")
    return Indexes(
        default=default or None,
        extra=tuple(extra.split()),
        links=tuple(filter(None, environ.get("UV_FIND_LINKS", "").split(","))),
        trusted=tuple(environ.get("UV_INSECURE_HOST", "").split()),
    )


def _of_pip_variables(environ: Mapping[str, str]) -> Indexes:
    return Indexes(
        default=environ.get("PIP_INDEX_URL") or None,
        extra=tuple(environ.get("PIP_EXTRA_INDEX_URL", "").split()),
        links=tuple(environ.get("PIP_FIND_LINKS", "").split()),
        trusted=tuple(environ.get("PIP_TRUSTED_HOST", "").split()),
    )


def _directories(environ: Mapping[str, str]) -> list[str]:
    """Where settings lie, those of the machine first."""
    home = os.path.expanduser("~")
    shared = environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    own = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    return [*reversed(shared.split(":")), "/etc", own]


def _of_uv_files(environ: Mapping[str, str]) -> Indexes:
    paths = [f"{directory}/uv/uv.toml" for directory in _directories(environ)]
    fields: dict[str, Any] = {}
    for path in [environ.get("UV_CONFIG_FILE")] if environ.get("UV_CONFIG_FILE") else paths:
        fields |= _toml(path or "")
    fields |= fields.get("pip", {})
    listed = [entry for entry in fields.get("index", ()) if not entry.get("explicit")]
    defaults = [entry["url"] for entry in listed if entry.get("default")]
    return Indexes(
        default=next(iter(defaults), fields.get("index-url")),
        extra=(
            *(entry["url"] for entry in listed if not entry.get("default")),
            *fields.get("extra-index-url", ()),
        ),
        links=tuple(fields.get("find-links", ())),
        trusted=tuple(fields.get("allow-insecure-host", ())),
    )


def _toml(path: str) -> dict[str, Any]:
    import tomllib

    try:
        with open(path, "rb") as source:
            return tomllib.load(source)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _of_pip_files(environ: Mapping[str, str]) -> Indexes:
    import configparser

    paths = [f"{directory}/pip/pip.conf" for directory in _directories(environ)]
    paths += ["/etc/pip.conf", os.path.expanduser("~/.pip/pip.conf"), f"{sys.prefix}/pip.conf"]
    chosen = environ.get("PIP_CONFIG_FILE")
    if chosen:
        paths = [] if chosen == os.devnull else [*paths, chosen]
    parser = configparser.RawConfigParser(strict=False)
    for path in paths:
        try:
            parser.read(path, "utf-8")
        except (OSError, ValueError, configparser.Error) as error:
            raise _unreadable(path, error) from error
    fields: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            fields |= {name.replace("_", "-"): value for name, value in parser.items(section)}
    return Indexes(
        default=fields.get("index-url"),
        extra=tuple(fields.get("extra-index-url", "").split()),
        links=tuple(fields.get("find-links", "").split()),
        trusted=tuple(fields.get("trusted-host", "").split()),
    )


def _unreadable(path: str, error: Exception) -> ImageBuildError:
    return ImageBuildError(
        f"the settings of this machine in {path} cannot be read: {error}",
        hint="they say where packages are looked for; correct the file or remove it",
    )


def shown(indexes: Indexes) -> tuple[Indexes, dict[str, str]]:
    """The indexes of a machine as a step sees them, and the directories that it is shown.

    Returns:
        And a map from a place in the step to a directory of this machine.
    """
    places: dict[str, str] = {}

    def show(url: str) -> str:
        name, equals, rest = url.partition("=")
        if equals and name.replace("-", "").isalnum():  # uv's form for an index with a name
            return f"{name}={show(rest)}"
        path = _local(url)
        if path is None or not os.path.isdir(path):
            return url
        # The pages of a simple index lead to archives that lie beside it.
        top = os.path.dirname(path) if os.path.basename(path) == "simple" else path
        if top == "/":
            top = path
        place = f"{INDEXES_DIR}/{hashlib.sha256(top.encode()).hexdigest()[:16]}"
        places[place] = top
        inside = place + path[len(top) :]
        return f"file://{inside}" if url.startswith("file:") else inside

    changed = replace(
        indexes,
        default=None if indexes.default is None else show(indexes.default),
        extra=tuple(map(show, indexes.extra)),
        links=tuple(map(show, indexes.links)),
    )
    return changed, places


def _local(url: str) -> str | None:
    """The directory that a URL or path names, None for one that is elsewhere."""
    path = unquote(urlsplit(url).path) if url.startswith("file:") else url
    return os.path.normpath(path) if path.startswith("/") else None


def way_out(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables by which this machine reaches others, but for those of packages alone."""
    return {name: environ[name] for name in _either_case() if environ.get(name)}


def _either_case() -> Iterator[str]:
    for name in _PROXIES:
        yield name
        yield name.upper()


def certificates(environ: Mapping[str, str] = os.environ) -> str | None:
    """The file of the authorities that this machine trusts; None when there is none."""
    given = [environ.get(name) for name in _CERTIFICATES]
    paths = [*given, ssl.get_default_verify_paths().cafile, *_BUNDLES]
    return next((path for path in paths if path and os.path.isfile(path)), None)


def credentials(texts: Iterable[str], secrets: Iterable[str] = ()) -> tuple[str, ...]:
    """What nobody may read: secrets, names and passwords in URLs, the passwords also alone."""
    found = set(secrets)
    for text in texts:
        for pair in _CREDENTIALS.findall(text):
            password = pair.partition(":")[2]
            found |= {pair, password, unquote(password)}
    return tuple(sorted(one for one in found if len(one) >= _HIDDEN_CHARS_MIN))
