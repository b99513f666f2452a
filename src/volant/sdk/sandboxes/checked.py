"""What `Sandbox.create` and `exec` are given, checked where it is written."""

from __future__ import annotations

from volant.config import RUNTIMES
from volant.errors import InvalidError
from volant.sdk import options
from volant.sdk.naming import check_name, checked_tags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

#: Bytes of all words of a command.
ARGUMENTS_BYTES_MAX = 64 << 10
#: Ports that lead into one sandbox.
PORTS_MAX = 16
PORT_MAX = 65535
#: Characters of what a token to connect with is made for.
METADATA_CHARS_MAX = 511
#: The longest timeout, in seconds.
TIMEOUT_MAX_S = 366 * 86400
#: What a new sandbox's terminal measures, in rows and columns.
TERMINAL_SIZE = (24, 80)

#: Known arguments whose feature is not there yet -> the value that means "not asked for".
PLANNED: dict[str, object] = {
    "network_file_systems": None, "custom_domain": None, "proxy": None, "pty_info": None,
    "include_oidc_identity_token": False,
    "_experimental_persistent": False,
}  # fmt: skip
#: Those that change nothing: whatever has a network of its own can be copied.
WITHOUT_EFFECT = frozenset({"_experimental_enable_snapshot"})

#: Of these: why they mean nothing on machines of one's own, and what does instead.
INSTEAD = {
    "network_file_systems": ("volumes took their place", "volumes={'/data': volume} keeps files"),
    "custom_domain": (
        "tunnels lead to ports of this machine, which no domain belongs to",
        "create_connect_token() gives an address at the gateway",
    ),
    "proxy": (
        "what a sandbox sends comes from this machine's own address", "leave it out",
    ),
    "include_oidc_identity_token": (
        "this server vouches for nobody elsewhere, so it issues no identity tokens",
        "secrets=[...] gives a sandbox what it logs in with",
    ),
}  # fmt: skip


def refuse_planned(given: Mapping[str, object], where: str = "Sandbox.create") -> None:
    """Raise for arguments that are unknown, or mean nothing here.

    Raises:
        UnimplementedError: naming the first argument that has no effect, and why.
        InvalidError: for an environment, which the app has.
        TypeError: for an argument that there is not.
    """
    from volant.errors import UnimplementedError
    from volant.sdk.planned import unimplemented

    for name, value in given.items():
        if name in WITHOUT_EFFECT:
            continue
        if name in options.PLACEMENT:
            options.check_place(name, value)
            continue
        if name not in PLANNED:
            raise TypeError(f"{where}() got an unexpected keyword argument {name!r}")
        if value == PLANNED[name] or value in ({}, [], ()):
            continue
        if name in INSTEAD:
            why, hint = INSTEAD[name]
            raise UnimplementedError(f"{where}({name}=...) is not there: {why}", hint=hint)
        raise unimplemented(f"{where}({name}=...)")


def leaves_image(experimental_options: Mapping[str, bool] | None) -> bool:
    """What the experimental options say; there is one, `exit_snapshot`.

    Raises:
        InvalidError: for another one.
    """
    given = dict(experimental_options or {})
    is_wanted = bool(given.pop("exit_snapshot", False))
    if given:
        shown = ", ".join(map(repr, given))
        raise InvalidError(
            f"there is no experimental option {shown} of a sandbox", hint="'exit_snapshot' is one"
        )
    return is_wanted


def judge_others(given: dict[str, Any]) -> Sequence[str] | None:
    """Warn of arguments that are called otherwise now, and raise for others that `create` lacks.

    Args:
        given: arguments by name; `cidr_allowlist` and `environment_name` are taken out of them.

    Returns:
        The networks that it names; None where it is not given.

    Raises:
        Exception: as `refuse_planned`.
    """
    warned = []
    if given.pop("environment_name", None) is not None:
        warned.append("environment_name= does nothing: a sandbox is in its app's environment")
    if "cidr_allowlist" in given:
        warned.append("cidr_allowlist= is called outbound_cidr_allowlist= now")
    if warned:
        import warnings

        from volant.errors import DeprecationError

        for words in warned:
            warnings.warn(words, DeprecationError, stacklevel=6)
    networks: Sequence[str] | None = given.pop("cidr_allowlist", None)
    refuse_planned(given)
    return networks


def checked_words(where: str, words: Sequence[object]) -> list[str]:
    """Program and arguments.

    Raises:
        InvalidError: unless they are strings, of at most `ARGUMENTS_BYTES_MAX` in all.
    """
    found: list[str] = []
    for word in words:
        if not isinstance(word, str):
            raise InvalidError(
                f"the arguments of {where} are strings, got {word!r}",
                hint=f"write {str(word)!r}" if isinstance(word, (int, float)) else None,
            )
        if "\0" in word:
            raise InvalidError(f"an argument of {where} cannot hold a null character")
        found.append(word)
    size = sum(len(word.encode("utf-8", "surrogatepass")) + 1 for word in found)
    if size > ARGUMENTS_BYTES_MAX:
        raise InvalidError(
            f"the arguments of {where} have {size} bytes, at most {ARGUMENTS_BYTES_MAX}",
            hint="write what is large to a file, or to stdin",
        )
    return found


def checked_workdir(workdir: object) -> str | None:
    """A directory to work in.

    Raises:
        InvalidError: unless it is an absolute path, or None.
    """
    if workdir is None or (isinstance(workdir, str) and workdir.startswith("/")):
        return workdir
    raise InvalidError(f"workdir must be an absolute path, got {workdir!r}")


def checked_path(where: str, path: object) -> str:
    """A directory of a sandbox.

    Raises:
        InvalidError: unless it is an absolute path.
    """
    text = str(path) if isinstance(path, str) or hasattr(path, "__fspath__") else ""
    if not text.startswith("/"):
        raise InvalidError(f"{where} takes an absolute path, got {path!r}")
    return text


def checked_seconds(name: str, value: object) -> float | None:
    """A time, or None.

    Raises:
        InvalidError: for what is none.
    """
    if value is None:
        return None
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not good or not 0.001 <= value <= TIMEOUT_MAX_S:  # type: ignore[operator]  # a number
        raise InvalidError(f"{name} must be from 0.001 to {TIMEOUT_MAX_S} seconds, got {value!r}")
    return float(value)  # type: ignore[arg-type]  # as above


def checked_ports(encrypted: Sequence[int], h2: Sequence[int], plain: Sequence[int]) -> list[Any]:
    """Ports that are reached by tunnels, as a control message carries them.

    Raises:
        InvalidError: for what is no port, and for one twice.
    """
    for name, given in (("encrypted", encrypted), ("h2", h2), ("unencrypted", plain)):
        if not isinstance(given, (list, tuple, range, set, frozenset)):
            raise InvalidError(
                f"{name}_ports must be a list of ports, got {given!r}",
                hint=f"for example {name}_ports=[8000]",
            )
    every = [(port, False) for port in (*encrypted, *h2)] + [(port, True) for port in plain]
    for port, _ in every:
        if type(port) is not int or not 1 <= port <= PORT_MAX:
            raise InvalidError(f"a port is a number from 1 to {PORT_MAX}, not {port!r}")
    numbers = [port for port, _ in every]
    twice = [port for port in numbers if numbers.count(port) > 1]
    if twice:
        raise InvalidError(f"port {twice[0]} is named twice", hint="each port has one tunnel")
    if len(every) > PORTS_MAX:
        raise InvalidError(f"{len(every)} ports of one sandbox, at most {PORTS_MAX}")
    return [{"port": port, "plain": is_plain} for port, is_plain in every]


def checked_metadata(metadata: object) -> str:
    """What a token to connect with is made for, as a header carries it.

    Raises:
        InvalidError: for what is neither text nor can be JSON, or is too long.
    """
    if metadata is None or isinstance(metadata, str):
        told = metadata or ""
    else:
        import json

        try:
            told = json.dumps(metadata)
        except (TypeError, ValueError) as error:
            raise InvalidError(f"user_metadata cannot be JSON: {error}") from None
    if len(told) > METADATA_CHARS_MAX or not (told.isascii() and told.isprintable()):
        raise InvalidError(
            f"user_metadata is at most {METADATA_CHARS_MAX} characters of ASCII to print",
            hint="a dict is sent as JSON, which can say everything",
        )
    return told


def checked_command(
    where: str, words: Sequence[object], *, timeout: object, workdir: object,
    env: Mapping[str, str] | None, secrets: Sequence[object] | None,
) -> dict[str, object]:  # fmt: skip
    """A command, as a control message carries it.

    Raises:
        InvalidError: for what makes no sense.
    """
    argv = checked_words(where, words)
    if not argv or not argv[0]:
        raise InvalidError(f"{where} needs a program", hint=f"{where}('echo', 'hello')")
    stored, values = _secrets(where, secrets)
    return {
        "argv": argv, "env": options.checked_environment(dict(env or {}), "env"),
        "stored": stored, "secrets": values, "workdir": checked_workdir(workdir),
        "timeout_s": checked_seconds("timeout", timeout),
    }  # fmt: skip


def _secrets(where: str, secrets: Sequence[object] | None) -> Any:
    """What some secrets give, as `options.given_secrets` tells it."""
    if not secrets:
        return options.given_secrets(None)
    from volant.sdk.objects.secret import given_by

    return given_by(where, secrets)


def checked_name(name: str | None) -> str | None:
    """The name of a sandbox, or None.

    Raises:
        InvalidError: for what cannot be one.
    """
    if name is not None:
        check_name("a sandbox", name)
    return name


def checked_runtime(runtime: object) -> str | None:
    """What a sandbox runs on, or None.

    Raises:
        InvalidError: for what there is not.
    """
    if runtime in (None, *RUNTIMES):
        return None if runtime is None else str(runtime)
    known = " or ".join(repr(one) for one in RUNTIMES)
    raise InvalidError(f"there is no runtime {runtime!r}", hint=f"it is {known}")


def checked_probe(probe: object) -> dict[str, object] | None:
    """A probe as a control message carries it, or None.

    Raises:
        InvalidError: for what is no probe.
    """
    from volant.sdk.sandboxes.probe import Probe

    if probe is None or isinstance(probe, Probe):
        return None if probe is None else probe._wire
    raise InvalidError(
        f"readiness_probe is no volant.Probe, got {probe!r}", hint="volant.Probe.with_tcp(8080)"
    )


def described(
    *, words: Sequence[object], name: str | None, tags: dict[str, str] | None,
    env: Mapping[str, str] | None, secrets: Sequence[object] | None, timeout: object,
    idle_timeout: object, workdir: object, cpu: Any, memory: Any, gpu: Any,
    ephemeral_disk: int | None, volumes: Mapping[str, object] | None, pty: bool,
    block_network: bool, ports: list[Any], probe: object, outbound: dict[str, Any] | None,
    inbound: list[str] | None, exit_snapshot: bool, verbose: bool, runtime: object,
    where: str = "Sandbox.create",
) -> dict[str, object]:  # fmt: skip
    """A sandbox as a control message carries it, but for its image.

    Raises:
        InvalidError: for what makes no sense.
    """
    seconds = checked_seconds("timeout", timeout)
    if seconds is None:
        raise InvalidError("a sandbox needs a timeout", hint=f"the longest is {TIMEOUT_MAX_S}")
    checked = options.checked(
        env=dict(env or {}), cpu=cpu, memory=memory, gpu=gpu, ephemeral_disk=ephemeral_disk,
        timeout=options.TIMEOUT_DEFAULT_S, startup_timeout=None, retries=None,
        min_containers=None, max_containers=None, buffer_containers=None, scaledown_window=None,
        single_use_containers=False, block_network=block_network,
        secrets=_secrets(where, secrets), volumes=options.given_volumes(volumes),
    )  # fmt: skip
    return {
        "name": checked_name(name), "tags": checked_tags(tags or {}),
        "argv": checked_words(where, words),
        "options": options.on_wire({**checked, "timeout_s": seconds}, None),
        "idle_timeout_s": checked_seconds("idle_timeout", idle_timeout),
        "workdir": checked_workdir(workdir), "terminal": list(TERMINAL_SIZE) if pty else None,
        "ports": ports, "probe": checked_probe(probe), "outbound": outbound,
        "inbound": inbound, "exit_snapshot": exit_snapshot, "verbose": bool(verbose),
        "runtime": checked_runtime(runtime),
    }  # fmt: skip
