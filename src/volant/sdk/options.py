"""The options of `@app.function`: which exist, what they mean, which are not there yet.

Every keyword of the programming model is known. One whose feature does not exist yet raises
`UnimplementedError` when it is given; none is silently ignored.
"""

from __future__ import annotations

from volant.errors import DeprecationError, InvalidError
from volant.sdk.planned import unimplemented
from volant.sdk.retries import as_retries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, TypedDict

    from volant.sdk.objects.secret import Given
    from volant.sdk.retries import Retries

    class SharedOptions(TypedDict, total=False):
        """What `with_options` and `App.cls` both take: see `App.function`."""

        env: dict[str, str] | None
        secrets: Sequence[object] | None
        gpu: str | Sequence[str] | None
        cpu: float | tuple[float, float] | None
        memory: int | tuple[int, int] | None
        volumes: dict[str, object] | None
        retries: int | Retries | None
        max_containers: int | None
        buffer_containers: int | None
        scaledown_window: float | None
        region: object
        cloud: str | None
        routing_region: str | None

    class VariantOptions(SharedOptions, total=False):
        """What `with_options` takes: see `App.function`; None leaves one as it is."""

        timeout: float | None

    class ClassSettings(SharedOptions, total=False):
        """What `App.cls` takes: see `App.function`."""

        timeout: float
        image: Any
        ephemeral_disk: int | None
        startup_timeout: float | None
        min_containers: int | None
        single_use_containers: bool
        enable_memory_snapshot: bool
        nonpreemptible: bool
        proxy: object
        block_network: bool
        restrict_modal_access: bool
        i6pn: bool | None
        serialized: bool
        include_source: bool | None
        experimental_options: dict[str, object] | None
        max_inputs: int | None

    class ServerSettings(TypedDict, total=False):
        """What `App.server` takes: see there, and `App.function`."""

        port: int
        startup_timeout: float
        unauthenticated: bool
        exit_grace_period: float
        target_concurrency: float | None
        max_concurrency: int | None
        scaleup_window: float | None
        h2_enabled: bool
        routing_region: str | None
        compute_region: object
        image: Any
        env: dict[str, str] | None
        secrets: Sequence[object] | None
        gpu: str | Sequence[str] | None
        cpu: float | tuple[float, float] | None
        memory: int | tuple[int, int] | None
        ephemeral_disk: int | None
        volumes: dict[str, object] | None
        min_containers: int | None
        max_containers: int | None
        buffer_containers: int | None
        scaledown_window: float | None
        enable_memory_snapshot: bool
        region: object
        cloud: str | None
        nonpreemptible: bool
        proxy: object
        block_network: bool
        restrict_modal_access: bool
        i6pn: bool | None
        serialized: bool
        include_source: bool | None
        experimental_options: dict[str, object] | None


#: Known keywords whose feature is not there yet -> the value that means "not asked for".
PLANNED: dict[str, object] = {"proxy": None, "i6pn": None}
#: What `experimental_options=` may ask for.
GPU_SNAPSHOT = "enable_gpu_snapshot"
#: Keywords that choose among data centres -> what each names. There is one machine, in no region:
#: they are taken, and mean nothing. No container here is ever taken from its input for another's
#: sake, which is what `nonpreemptible` asks for.
PLACEMENT = {
    "region": "a region", "cloud": "a cloud", "routing_region": "a region", "nonpreemptible": "",
}  # fmt: skip
#: Keywords of old programs -> what to write now, with the value in its place.
RENAMED = {
    "keep_warm": "min_containers={}",
    "concurrency_limit": "max_containers={}",
    "container_idle_timeout": "scaledown_window={}",
    "allow_concurrent_inputs": "the decorator `concurrent(max_inputs={})`",
}

TIMEOUT_DEFAULT_S = 300
SCALEDOWN_WINDOW_DEFAULT_S = 60
#: The shortest and the longest.
SCALEDOWN_WINDOW_LIMITS_S = (0.05, 3600)
MEMORY_DEFAULT_MIB = 128
DISK_MAX_MIB = 3 << 20


#: Options that only marks, hooks and `App.function` itself change.
_UNMARKED: dict[str, object] = {
    "max_inputs": 1, "target_inputs": None, "batch_size": 0, "batch_wait_s": 0.0,
    "has_exit": False, "cluster_size": 0, "restricted": False,
}  # fmt: skip


def refuse_planned(given: Mapping[str, object], where: str = "@app.function") -> None:
    """Raise for keywords of `where` whose feature is not there yet.

    Raises:
        UnimplementedError: naming the first such keyword.
        DeprecationError: for keywords that are others now, all at once.
        InvalidError: for a place that is no name.
    """
    old = {one: value for one, value in given.items() if one in RENAMED and value is not None}
    if old:
        pairs = [f"{one}= is now {RENAMED[one].format(value)}" for one, value in old.items()]
        raise DeprecationError(f"{where}: {'; '.join(pairs)}")
    for name, value in given.items():
        if name in PLACEMENT:
            check_place(name, value)
        elif value is not None and value is not False and value not in ([], (), {}):
            raise unimplemented(f"{where}({name}=...)")


def snapshot_holds_gpu(experimental: Mapping[str, object] | None) -> bool:
    """Whether the hooks of a snapshot use a GPU, by what `experimental_options=` says.

    Snapshots hold none here, so such hooks run in each container. Whatever else is asked for is
    not known, which a warning says.

    Raises:
        InvalidError: for what is no dict.
    """
    if experimental is None:
        return False
    if not isinstance(experimental, dict):
        raise InvalidError(f"experimental_options must be a dict, got {experimental!r}")
    unknown = [repr(name) for name in experimental if name != GPU_SNAPSHOT]
    if unknown:
        import warnings

        warnings.warn(
            f"experimental_options: {', '.join(unknown)} is not known here, and means nothing",
            stacklevel=3,
        )
    return bool(experimental.get(GPU_SNAPSHOT))


def check_place(name: str, value: object) -> None:
    """Check the value of a keyword of `PLACEMENT`; regions may be several.

    Raises:
        InvalidError: for what is no name.
    """
    if name == "nonpreemptible":
        if not isinstance(value, bool):
            raise InvalidError(f"nonpreemptible must be True or False, got {value!r}")
        return
    several = name == "region" and isinstance(value, (list, tuple))
    for one in value if several else [value]:  # type: ignore[attr-defined]  # a list, then
        if one is not None and (not isinstance(one, str) or not one):
            raise InvalidError(f"{name} must be the name of {PLACEMENT[name]}, got {one!r}")


def checked(
    *,
    env: dict[str, str] | None,
    cpu: float | tuple[float, float] | None,
    memory: int | tuple[int, int] | None,
    gpu: str | Sequence[str] | None,
    ephemeral_disk: int | None,
    timeout: float,
    startup_timeout: float | None,
    retries: Any,
    min_containers: int | None,
    max_containers: int | None,
    buffer_containers: int | None,
    scaledown_window: float | None,
    single_use_containers: bool,
    block_network: bool,
    secrets: Given,
    enable_memory_snapshot: bool = False,
    schedule: object = None,
    volumes: Sequence[dict[str, Any]] = (),
    is_part: bool = False,
) -> dict[str, object]:
    """The options as a control message carries them.

    Args:
        is_part: others complete them, so that what one needs of another is not checked.

    Raises:
        InvalidError: for a value that makes no sense, naming it.
    """
    resources = checked_resources(cpu=cpu, memory=memory, timeout=timeout)
    if startup_timeout is not None:
        _number("startup_timeout", startup_timeout, 0.001, 86400)
    low, high = _containers(min_containers, max_containers)
    if scaledown_window is not None:
        _number("scaledown_window", scaledown_window, *SCALEDOWN_WINDOW_LIMITS_S)
    options = {
        "env": checked_environment(env or {}, "env"),
        **_as_options(secrets),
        **resources,
        "startup_timeout_s": float(startup_timeout if startup_timeout is not None else timeout),
        "gpu": checked_gpus(gpu),
        "ephemeral_disk_mib": _disk(ephemeral_disk),
        "retries": as_retries(retries).to_wire(),
        "min_containers": low,
        "max_containers": high,
        "buffer_containers": _count("buffer_containers", buffer_containers or 0),
        "scaledown_window_s": float(scaledown_window or SCALEDOWN_WINDOW_DEFAULT_S),
        "single_use": bool(single_use_containers),
        "block_network": bool(block_network),
        "snapshot": bool(enable_memory_snapshot),
        "schedule": None if schedule is None else _schedule(schedule),
        "volumes": list(volumes),
        **_UNMARKED,
    }
    if not is_part:
        check_growth(options)
    return options


#: What `with_options` takes -> the fields of a control message that it decides.
_VARIANT_FIELDS = {
    "env": ("env",), "secrets": ("secrets", "stored"), "cpu": ("cpu", "cpu_limit"),
    "memory": ("memory_mib", "memory_limit_mib"), "timeout": ("timeout_s",),
    "retries": ("retries",), "max_containers": ("max_containers",), "gpu": ("gpu",),
    "buffer_containers": ("buffer_containers",), "scaledown_window": ("scaledown_window_s",),
    "volumes": ("volumes",),
}  # fmt: skip
_VARIANT_PLACEMENT = ("region", "cloud", "routing_region")


def checked_variant(before: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, object]:
    """What `with_options` changes, as a control message carries it.

    Args:
        before: the options of the function.
        given: keywords of `with_options`.

    Raises:
        InvalidError: for a value that makes no sense, naming it.
        TypeError: for a keyword that it does not take.
    """
    for name in given:
        if name not in _VARIANT_FIELDS and name not in _VARIANT_PLACEMENT:
            raise TypeError(f"with_options() got an unexpected keyword argument {name!r}")
    refuse_planned({name: given.get(name) for name in _VARIANT_PLACEMENT}, "with_options")
    timeout = given.get("timeout")
    full = checked(
        env=given.get("env"), cpu=given.get("cpu"), memory=given.get("memory"),
        gpu=given.get("gpu"), ephemeral_disk=None,
        timeout=TIMEOUT_DEFAULT_S if timeout is None else timeout, startup_timeout=None,
        retries=given.get("retries"), min_containers=None,
        max_containers=given.get("max_containers"),
        buffer_containers=given.get("buffer_containers"),
        scaledown_window=given.get("scaledown_window"), single_use_containers=False,
        block_network=False, secrets=given_secrets(given.get("secrets")),
        volumes=given_volumes(given.get("volumes"), before.get("volumes", ())), is_part=True,
    )  # fmt: skip
    added: Any = full["env"]
    full["env"] = {**before.get("env", {}), **added}
    full["stored"], full["secrets"] = given_secrets(
        given.get("secrets"), (before.get("stored", []), before.get("secrets", {}))
    )
    changes = {
        field: full[field]
        for name in given
        if given[name] is not None
        for field in _VARIANT_FIELDS.get(name, ())
    }
    if not changes.get("stored", True):
        del changes["stored"]
    check_growth({**before, **changes})
    return changes


def check_growth(options: Mapping[str, Any]) -> None:
    """Raise for memory that shall grow from no limit.

    Raises:
        InvalidError: with what is missing.
    """
    multiplier = options["retries"]["memory_multiplier"]
    if multiplier > 1 and options["memory_limit_mib"] is None:
        raise InvalidError(
            f"Retries(memory_multiplier={multiplier}) raises a limit of memory, and there is none",
            hint="give one with memory=(request, limit), counted in MiB",
        )


def checked_gpus(gpu: str | Sequence[str] | None) -> list[list[object]]:
    """What `gpu=` asks for, as a control message carries it; nothing if that is the setting.

    Raises:
        InvalidError: for what no GPU is called.
    """
    if gpu is None:
        return []
    from volant import config
    from volant.gpus import parse

    wished = parse(gpu)
    return [] if config.load().values["without_gpus"] else wished


def checked_autoscaler(given: Mapping[str, Any]) -> dict[str, object]:
    """What `autoscaler.update` changes, as a control message carries it.

    Args:
        given: those of its keywords that were given; None stands for the default.

    Raises:
        InvalidError: for a value that makes no sense, naming it.
        TypeError: for a keyword that it does not take.
    """
    changes: dict[str, object] = {}
    for name, value in given.items():
        if name == "scaledown_window":
            if value is not None:
                _number(name, value, *SCALEDOWN_WINDOW_LIMITS_S)
            changes["scaledown_window_s"] = float(value or SCALEDOWN_WINDOW_DEFAULT_S)
        elif name == "max_containers":
            changes[name] = _containers(0, value)[1]
        elif name in ("min_containers", "buffer_containers"):
            changes[name] = _count(name, value or 0)
        else:
            raise TypeError(f"update() got an unexpected keyword argument {name!r}")
    _containers(given.get("min_containers"), given.get("max_containers"))
    return changes


def given_secrets(secrets: Sequence[object] | None, before: Given = ([], {})) -> Given:
    """What some secrets give, behind those before them; later ones win.

    Raises:
        InvalidError: for what are no secrets.
    """
    if not secrets:
        return before
    from volant.sdk.objects.secret import given_by

    return given_by("a function or an app", secrets, before)


def _as_options(secrets: Given) -> dict[str, object]:
    stored, values = secrets
    return {"stored": stored, "secrets": values} if stored else {"secrets": values}


def given_volumes(
    volumes: Mapping[str, object] | None, before: Sequence[dict[str, Any]] = ()
) -> Sequence[dict[str, Any]]:
    """The volumes of a function, by their handles, with those of its app or of its original.

    Raises:
        InvalidError: for a place where none can be, what is no volume, and one volume twice.
    """
    if not volumes:
        return before
    from volant.sdk.volumes import given

    return given.checked(volumes, before)


def checked_resources(
    *,
    cpu: float | tuple[float, float] | None,
    memory: int | tuple[int, int] | None,
    timeout: float,
) -> dict[str, object]:
    """What a container may use and for how long, as a control message carries it.

    Raises:
        InvalidError: for a value that makes no sense, naming it.
    """
    _number("timeout", timeout, 0.001, 7 * 86400)
    cpu_request, cpu_limit = _request_and_limit("cpu", cpu)
    memory_request, memory_limit = _request_and_limit("memory", memory)
    return {
        "cpu": cpu_request,
        "cpu_limit": cpu_limit,
        "memory_mib": memory_request or MEMORY_DEFAULT_MIB,
        "memory_limit_mib": memory_limit,
        "timeout_s": float(timeout),
    }


def _schedule(schedule: object) -> dict[str, object]:
    from volant.sdk.objects.schedule import checked_schedule

    return checked_schedule(schedule)


def _number(name: str, value: object, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise InvalidError(f"{name} must be from {low} to {high} seconds, got {value!r}")


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidError(f"{name} must be a number of containers, got {value!r}")
    return value


def _disk(mib: object) -> int | None:
    if mib is None:
        return None
    if isinstance(mib, bool) or not isinstance(mib, int) or not 1 <= mib <= DISK_MAX_MIB:
        raise InvalidError(f"ephemeral_disk must be from 1 to {DISK_MAX_MIB} MiB, got {mib!r}")
    return mib


def _containers(low: int | None, high: int | None) -> tuple[int, int | None]:
    low = _count("min_containers", low or 0)
    if high is None:
        return low, None
    if _count("max_containers", high) < 1:
        raise InvalidError("max_containers must be at least 1, got 0")
    if low > high:
        raise InvalidError(f"min_containers ({low}) is above max_containers ({high})")
    return low, high


def _request_and_limit(name: str, value: Any) -> tuple[float | None, float | None]:
    request, limit = value if isinstance(value, tuple) and len(value) == 2 else (value, None)
    for part in (request, limit):
        good = part is None or (
            isinstance(part, (int, float)) and not isinstance(part, bool) and part > 0
        )
        if not good:
            raise InvalidError(
                f"{name} must be a number or (request, limit), got {value!r}",
                hint="cpu counts cores, memory counts MiB",
            )
    if request is not None and limit is not None and limit < request:
        raise InvalidError(f"{name} limit {limit} is below its request {request}")
    return request, limit


def checked_environment(env: Mapping[str, str], where: str) -> dict[str, str]:
    """A copy of what may be environment variables.

    Raises:
        InvalidError: unless they are strings that name variables, and strings.
    """
    if not isinstance(env, dict):
        raise InvalidError(f"{where} must be a dict of strings to strings, got {env!r}")
    for key, value in env.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise InvalidError(
                f"{where} must map strings to strings, got {key!r}: {value!r}",
                hint=f"write {str(key)!r}: {str(value)!r}",
            )
        if not key or "=" in key or "\0" in key + value:
            raise InvalidError(f"{where}: {key!r} cannot be the name of a variable")
    return dict(env)


def on_wire(options: dict[str, object], environment: str | None) -> dict[str, object]:
    """Options as a control message carries them: volumes by their ids, which may ask the hub.

    Volumes that do not say are in `environment`; None for that of this process.
    """
    if not options.get("volumes"):
        return options
    from volant.sdk.volumes import given

    return given.described(options, environment)
