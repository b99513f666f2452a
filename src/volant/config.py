"""Settings, read once: flag > environment > file > default, each with its origin.

The file is `config.toml` in the home directory of Volant; environment variables are
`VOLANT_<SETTING>`. An unknown setting in either is an error that names the nearest known one.
"""

from __future__ import annotations

import os
import sys

from volant.errors import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

#: Every setting with its default, kind and meaning; `docs/reference/config.md` lists them.
SETTINGS: dict[str, tuple[object, str, str]] = {
    "home": ("~/.volant", "path", "directory of the daemon's socket, sources, logs and scratch"),
    "database_url": ("", "address", "PostgreSQL for what outlives the daemon, as in "
                     "postgresql://user@host/database; empty: a file in its home"),
    "environment": ("main", "name", "environment in which names are looked up, and apps run "
                    "and are deployed"),
    "isolation": ("auto", "rung", "rung of the isolation ladder: auto, container or process"),
    "idle_timeout_s": (1800.0, "seconds", "the daemon stops after this long without an app"),
    "zygote_count_max": (8, "count", "zygotes kept for later runs, least recently used go first"),
    "spare_containers": (1, "count", "containers forked ahead of demand for each zygote"),
    "late_imports": (True, "switch", "what functions begin with importing is imported ahead of "
                     "their next containers"),
    "memory_limit_mib": (0, "MiB", "memory of all containers together, 0 for 90 % of the machine"),
    "memory_reserve_mib": (512, "MiB", "free memory below which idle zygotes are ended"),
    "disk_reserve_mib": (2048, "MiB", "free disk below which the largest writer is stopped"),
    "bucket_timeout_s": (10.0, "seconds", "a request to a mounted bucket's store is given up when "
                         "nothing comes for so long"),
    "image_store_limit_mib": (0, "MiB", "disk of all images together, 0 for a quarter of the disk"),
    "result_retention_s": (7 * 86400.0, "seconds", "results of spawned calls are kept this long "
                           "after these have finished"),
    "force_build": (False, "switch", "build all steps of images anew, and keep what comes of it"),
    "ignore_cache": (False, "switch", "build images anew, and leave what is there as it is"),
    "log_bytes_max": (16 << 20, "bytes", "log kept for each app; the oldest half goes first"),
    "image_conda_channel": ("", "channel", "where packages of conda are looked for by default, and "
                            "by its address micromamba itself; empty: conda-forge"),
    "image_debian_mirror": ("", "addresses", "mirror of Debian, and of its security updates, for "
                            "images; empty: as apt of this machine has it"),
    "image_debian_reference": ("", "image", "image of a registry that debian_slim begins with "
                               "instead of packages of a mirror"),
    "image_python_dirs": ("", "paths", "where Pythons for images are looked for, with `:` between; "
                          "empty: where pyenv and uv have them, and /usr/local"),
    "verbose": (False, "switch", "show all that steps of images print, and not only that of one "
                "that fails"),
    "serve_timeout": (0.0, "seconds", "`volant serve` ends after this long, 0 for never"),
    "tunnel_host": ("127.0.0.1", "address", "address of this machine at which tunnels of "
                    "`volant.forward` are reached"),
    "sandbox_block_network": (False, "switch", "sandboxes have no network unless their creator "
                              "says whom they may reach"),
    "criu_path": ("", "path", "directory in which CRIU was unpacked with its libraries, by which "
                  "sandboxes are forked; empty: as installed"),
    "sandboxes_ahead": (2, "count", "sandboxes made ahead of demand of each of the two images used "
                        "last, 0 for nothing ahead"),
    "sandboxes_ahead_s": (300.0, "seconds", "what was made ahead for sandboxes ends when nobody "
                          "has wanted one for so long"),
    "sandbox_runtime": ("auto", "runtime", "what sandboxes run on whose creator does not say it: "
                        "gvisor, a kernel of their own, container, or auto: gvisor where that is "
                        "installed"),
    "gateway_host": ("127.0.0.1", "address", "where web functions are reached; another than one of "
                     "this machine alone lets others in"),
    "gateway_port": (8400, "port", "the port of that; another one is taken when it is not free"),
    "gateway_tls_cert": ("", "path", "certificate of the gateway and of tunnels, with its "
                         "chain; empty: no TLS"),
    "gateway_tls_key": ("", "path", "private key of that certificate"),
    "gateway_trusted_fronts": ("", "addresses", "proxies in front of the gateway that are believed "
                               "where a request came from, with spaces between"),
    "gateway_body_bytes_max": (4 << 30, "bytes", "largest body of a request to a web function"),
    "without_gpus": (False, "switch", "functions and sandboxes run without the GPUs that their "
                     "program asks for, to try it on a machine that has none"),
    "traceback": (False, "switch", "show Volant's own frames in tracebacks"),
}  # fmt: skip
#: How an address of a database begins.
_DATABASES = ("postgresql://", "postgresql+psycopg://")
#: Characters of the name of an environment.
NAME_CHARS_MAX = 64
RUNGS = ("auto", "container", "process")
#: What sandboxes run on.
RUNTIMES = ("container", "gvisor")
#: Variables that begin with VOLANT_ and are no settings: what a container is told of itself, and
#: what tells the daemon which processes are its own.
_NOT_SETTINGS = frozenset({
    "VOLANT_APP_ID", "VOLANT_CLOUD_PROVIDER", "VOLANT_CONTAINER_ID", "VOLANT_IMAGE_ID",
    "VOLANT_IS_REMOTE", "VOLANT_REGION", "VOLANT_RUN_ID", "VOLANT_SANDBOX_ID", "VOLANT_TASK_ID",
})  # fmt: skip


class Config:
    """Effective settings. `values[name]` is the value, `origins[name]` where it came from."""

    __slots__ = ("origins", "values")

    def __init__(self, values: dict[str, object], origins: dict[str, str]) -> None:
        self.values = values
        self.origins = origins

    @property
    def home(self) -> str:
        """Absolute path of Volant's directory."""
        return os.path.abspath(os.path.expanduser(str(self.values["home"])))

    def text(self, name: str) -> str:
        """A setting as text."""
        return str(self.values[name])

    def shown(self, name: str) -> object:
        """A setting as anybody may see it: without a password."""
        if name == "home":
            return self.home
        return without_password(self.text(name)) if name == "database_url" else self.values[name]

    def number(self, name: str) -> float:
        """A setting as a number."""
        value = self.values[name]
        assert isinstance(value, (int, float)), name
        return value


def without_password(url: str) -> str:
    """An address of a database as anybody may see it; nothing of it where it may be misread."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return ""
    credentials, at, place = rest.rpartition("@")
    user, colon, password = credentials.partition(":")
    place = place.partition("?")[0]
    if "?" in credentials or "/" in user or "pass" in rest.partition("?")[2].lower():
        return f"{scheme}://..."
    hidden = ":***" if colon and password else ""
    return f"{scheme}://{user}{hidden}{at}{place}"


def load(
    environ: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
) -> Config:
    """Read the settings.

    Raises:
        InvalidError: for an unknown setting or a value that does not fit, naming both.
    """
    environ = os.environ if environ is None else environ
    values = {name: default for name, (default, _, _) in SETTINGS.items()}
    origins = dict.fromkeys(SETTINGS, "default")
    given = _from_environment(environ)
    home = given.get("home", values["home"])
    path = os.path.join(os.path.abspath(os.path.expanduser(str(home))), "config.toml")
    for origin, layer in (
        (path, _from_file(path)),
        ("environment", given),
        ("flag", dict(flags or {})),
    ):
        for name, value in layer.items():
            values[name] = _checked(name, value, origin)
            origins[name] = origin
    return Config(values, origins)


def choose_environment(name: str) -> None:
    """Have this process, and those that it starts, be in an environment from now on.

    To be called before it has connected.

    Raises:
        InvalidError: for what cannot be the name of one.
    """
    _checked("environment", name, "flag")
    os.environ["VOLANT_ENVIRONMENT"] = name


def present_environment() -> str:
    """The environment of this process: what a container was told, whatever else is set there.

    Raises:
        InvalidError: when the settings cannot be read.
    """
    told = _from_environment(os.environ).get("environment")
    return load().text("environment") if told is None else str(told)


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    given: dict[str, object] = {}
    if environ.get("MODAL_SERVE_TIMEOUT"):  # what programs of the programming model know
        given["serve_timeout"] = environ["MODAL_SERVE_TIMEOUT"]
    if environ.get("MODAL_ENVIRONMENT"):
        given["environment"] = environ["MODAL_ENVIRONMENT"]
    return given | {
        key[7:].lower(): value
        for key, value in environ.items()
        if key.startswith("VOLANT_") and key not in _NOT_SETTINGS and value
    }


def _from_file(path: str) -> dict[str, object]:
    if not os.path.exists(path):
        return {}
    if sys.version_info < (3, 11):
        raise InvalidError(f"{path} is read by Python 3.11 and later")
    import tomllib  # type: ignore[import-not-found,unused-ignore]  # not in 3.10

    try:
        with open(path, "rb") as file:
            settings: dict[str, object] = tomllib.load(file)
            return settings
    except tomllib.TOMLDecodeError as error:
        raise InvalidError(f"{path} is not valid TOML: {error}") from error


def _checked(name: str, value: object, origin: str) -> object:
    if name not in SETTINGS:
        import difflib

        near = difflib.get_close_matches(name, SETTINGS, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(SETTINGS)}"
        raise InvalidError(f"unknown setting `{name}` ({origin})", hint=hint)
    default = SETTINGS[name][0]
    try:
        if isinstance(default, bool):
            return value if isinstance(value, bool) else _switch(str(value))
        if isinstance(default, (int, float)):
            number = type(default)(str(value))
            if number < 0:
                raise ValueError(value)
            return number
    except ValueError:
        raise InvalidError(f"setting `{name}` cannot be {value!r} ({origin})") from None
    if name == "database_url" and value and not str(value).startswith(_DATABASES):
        raise InvalidError(  # the value is not shown: it may hold a password
            f"setting `database_url` is no address that begins with {_DATABASES[0]} ({origin})",
            hint="postgresql://user@host:5432/database",
        )
    if name == "environment":
        letters = str(value).translate({ord(sign): "x" for sign in "-._"})
        if not 0 < len(letters) <= NAME_CHARS_MAX or not (letters.isascii() and letters.isalnum()):
            raise InvalidError(
                f"setting `environment` cannot be {value!r} ({origin})",
                hint=f"1 to {NAME_CHARS_MAX} letters, digits, `-`, `.` or `_`",
            )
    if name == "sandbox_runtime" and value not in ("auto", *RUNTIMES):
        raise InvalidError(
            f"setting `{name}` cannot be {value!r} ({origin})",
            hint=f"it is one of auto, {', '.join(RUNTIMES)}",
        )
    if name == "isolation" and value not in RUNGS:
        raise InvalidError(
            f"setting `isolation` cannot be {value!r} ({origin})",
            hint=f"it is one of {', '.join(RUNGS)}",
        )
    return value


def _switch(value: str) -> bool:
    if value.lower() in ("1", "true", "yes", "on"):
        return True
    if value.lower() in ("0", "false", "no", "off", ""):
        return False
    raise ValueError(value)
