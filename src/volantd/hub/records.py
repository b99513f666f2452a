"""What the hub knows: versions of apps, their functions, and calls with their inputs.

Plain records; the rules are in `hub.py` and in the pure core.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from struct import unpack_from
from time import monotonic_ns, time
from typing import TYPE_CHECKING, Any

from volant.wire import values
from volantd.hub.durable.kept import Kept
from volantd.hub.environments.record import MAIN, Environment
from volantd.hub.timings import Timings
from volantd.hub.web import checked
from volantd.images import described
from volantd.images.redaction import HIDDEN_CHARS_MIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from volantd.hub.durable.backlog import HeldHere
    from volantd.hub.durable.kept import Made
    from volantd.hub.link import ContainerLink
    from volantd.hub.peer import Peer
    from volantd.hub.session import Session

#: Inputs that the user code of one container has handed in: bytes of frames, and memory files.
HELD_BYTES_MAX = 64 << 20
HELD_FDS_MAX = 64
#: Functions whose names are kept of an app that has ended.
FUNCTIONS_KEPT = 100


#: How a call may be debugged: from the first line of its function on, or when it has raised.
DEBUG_WAYS = ("first-line", "post-mortem")


class Held:
    """What one session has handed in and the hub keeps: beyond a limit it is not read from.

    For user code in containers, which must not fill the memory of the daemon, that no control
    group limits. A client of the machine's user bounds what it sends ahead by itself, and is
    always read from, so that its end is noticed.
    """

    __slots__ = ("_bytes", "_fds", "_peer")

    def __init__(self, peer: Peer | None) -> None:
        """`peer`: whom to stop reading from; None for no limit."""
        self._peer = peer
        self._bytes = 0
        self._fds = 0

    def add(self, size: int, *, fd: bool) -> None:
        """Take inputs in."""
        self._bytes += size
        self._fds += fd
        if self._peer is not None and not self._fits():
            self._peer.pause()

    def drop(self, size: int, *, fd: bool) -> None:
        """Let inputs go."""
        self._bytes -= size
        self._fds -= fd
        if self._peer is not None and self._peer.paused and self._fits():
            self._peer.resume()

    def _fits(self) -> bool:
        return self._bytes <= HELD_BYTES_MAX and self._fds <= HELD_FDS_MAX


class InputItems:
    """The items section of one SUBMIT frame, cut to pieces only when a batch was split."""

    __slots__ = ("_held", "_offsets", "count", "fd", "lent", "queued_ns", "section")

    def __init__(self, section: bytes, count: int, fd: int | None, held: Held | HeldHere) -> None:
        self.section = section
        self._held = held
        held.add(len(section), fd=fd is not None)
        self.count = count
        self.fd = fd
        #: When the hub put them into their queue.
        self.queued_ns = monotonic_ns()
        #: Whether a container has had the file before.
        self.lent = False
        self._offsets: list[int] | None = None

    def cut(self, offset: int, count: int) -> bytes:
        """The section of `count` items from `offset` on."""
        if offset == 0 and count == self.count:
            return self.section
        if self._offsets is None:
            at = 4 * self.count
            self._offsets = [at]
            for head in unpack_from(f"<{self.count}I", self.section):
                at += head & 0x0FFFFFFF
                self._offsets.append(at)
        heads = self.section[4 * offset : 4 * (offset + count)]
        return heads + self.section[self._offsets[offset] : self._offsets[offset + count]]

    def open(self) -> int | None:
        """The file that goes along, if there is one; it stays ours."""
        return self.fd

    def __del__(self) -> None:
        self._held.drop(len(self.section), fd=self.fd is not None)
        if self.fd is not None:
            os.close(self.fd)


#: Keys of versions are seen by others, and must not tell whether somebody has guessed a secret.
_SALT = os.urandom(16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What a zygote is made of: image, sources, entry, environment. Equal keys share zygotes."""

    key: str
    image: dict[str, Any]
    entry: dict[str, Any]
    #: [path below root, mode, sha256, size]
    files: tuple[tuple[str, int, str, int], ...]
    env: dict[str, str]
    #: where what those name is, if they do not say
    environment: Environment = MAIN
    #: layers of secrets of which some are stored, completed when it is about to be used
    stored: list[dict[str, Any]] = field(default_factory=list)
    #: values of secrets that are not to be read in what its containers print
    hidden: tuple[str, ...] = ()
    #: the key of the version that this one completes
    completes: str = ""
    block_network: bool
    #: whether its zygote imports the program; for a shell it does not
    imports: bool
    #: of a class: `function`, `parameters` and `timeout_s` of the instance that its zygote keeps
    snapshot: dict[str, Any] | None = None

    @staticmethod
    def of(
        description: dict[str, Any], function: dict[str, Any], environment: Environment = MAIN
    ) -> Version:
        """The version that a described function of a described app needs."""
        image, options = description["images"][function["image"]], function["options"]
        files = [*description["files"], *described.attached(image)]
        entry = _with_web(description) if description["imports"] else description["entry"]
        return Version._made(
            image, entry, files, options, imports=description["imports"], environment=environment
        )

    def with_snapshot(self, spec: dict[str, Any], parameters: bytes, timeout_s: float) -> Version:
        """The version of a class whose zygote keeps an instance with these parameters."""
        snapshot = {"function": spec, "parameters": parameters}
        digest = hashlib.sha256(self.key.encode() + values.encode(snapshot)).hexdigest()
        return replace(self, key=digest[:32], snapshot={**snapshot, "timeout_s": timeout_s})

    @property
    def told_key(self) -> str:
        """The key by which functions know it."""
        return self.completes or self.key

    def with_options(self, options: dict[str, Any]) -> Version:
        """The version of a function that is the same but for its options, without a snapshot."""
        return Version._made(
            self.image, self.entry, self.files, options,
            imports=self.imports, environment=self.environment,
        )  # fmt: skip

    def with_secrets(self, variables: dict[str, str]) -> Version:
        """The version with what its stored secrets mean now."""
        env = {**variables, **self.env}
        digest = hashlib.sha256(_SALT + self.key.encode() + values.encode(env)).hexdigest()
        hidden = (*_hidden({**variables, **dict.fromkeys(self.env, "")}), *self.hidden)
        return replace(
            self, key=digest[:32], env=env, hidden=hidden, stored=[], completes=self.key
        )  # fmt: skip

    @staticmethod
    def _made(
        image: dict[str, Any], entry: dict[str, Any], files: Iterable[Sequence[Any]],
        options: dict[str, Any], *, imports: bool, environment: Environment,
    ) -> Version:  # fmt: skip
        env = {**options["secrets"], **options["env"]}
        parts = {
            "image": described.identity(image),
            "entry": entry,
            "files": [list(file) for file in files],
            "env": env,
            "stored": _placed(options.get("stored", []), environment),
            "block_network": options["block_network"],
            "imports": imports,
        }
        return Version(
            key=hashlib.sha256(_SALT + values.encode(parts)).hexdigest()[:32],
            image=image,
            entry=entry,
            files=tuple(tuple(file) for file in files),
            env=env,
            stored=options.get("stored", []),
            environment=environment,
            hidden=_hidden(options["secrets"]),
            block_network=options["block_network"],
            imports=imports,
        )


def _placed(layers: list[dict[str, Any]], environment: Environment) -> list[Any]:
    """Layers of secrets, with what tells those of one environment from those of another."""
    named = [layer for layer in layers if "values" not in layer and layer["environment"] is None]
    return [*layers, environment.environment_id] if named else layers


def _hidden(variables: dict[str, str]) -> tuple[str, ...]:
    """Of values of secrets those that are long enough to be told from other text."""
    return tuple(value for value in variables.values() if len(value) >= HIDDEN_CHARS_MIN)


def _with_web(description: dict[str, Any]) -> dict[str, Any]:
    """The entry of an app, with how its functions answer to the web, if one does.

    The zygote of such an app imports what serves them as well.
    """
    specs = description["functions"]
    kinds = {form["kind"] for spec in specs for form in checked.forms_of(spec).values()}
    return {**description["entry"], **({"web": sorted(kinds)} if kinds else {})}


@dataclass(slots=True, kw_only=True, eq=False)
class Function:
    """One version of a function of a running app; its pool in the core has the same id."""

    function_id: str
    name: str
    app: App
    version: Version
    #: what its containers prove by that an answer is theirs to give; empty: no express lane
    express_token: bytes
    #: what the runner needs to find it
    spec: dict[str, Any]
    options: dict[str, Any]
    #: those of the autoscaler that were changed since
    scaling: dict[str, Any] = field(default_factory=dict)
    #: what the instances of a class are made with; only its containers know what it means
    parameters: bytes = b""
    #: of a pool beside that of a function: in what its options differ
    changes: dict[str, Any] = field(default_factory=dict)
    #: what users know it by, the same in all versions; its own id where there is only one
    object_id: str = ""
    #: the later version that has taken its place
    successor: Function | None = None
    #: what its client was last told of how it stands, and when
    told: dict[str, Any] = field(default_factory=dict)
    told_at: float = 0.0
    #: something may have changed since
    change_noted: bool = False
    #: its client knows that this machine has no GPU for it
    lack_told: bool = False

    def __post_init__(self) -> None:
        self.object_id = self.object_id or self.function_id

    def described_variant(self) -> bytes | None:
        """What tells a pool beside that of a function from it; None for the function's own."""
        if not self.changes and not self.parameters:
            return None
        return values.encode({"changes": self.changes, "parameters": self.parameters})

    def shown_name(self, method: int) -> str:
        """Its name, with that of a method if it is a class."""
        methods = self.spec["methods"]
        return f"{self.name}.{methods[method]['name']}" if methods else self.name

    def latest(self) -> Function:
        """The version that calls go to."""
        found = self
        while found.successor is not None:
            found = found.successor
        return found

    def keep_instance(self) -> None:
        """Have the zygote keep the instance that hooks of `enter(snap=True)` have prepared."""
        if self.options["snapshot"] and self.spec["methods"]:
            self.version = self.version.with_snapshot(
                self.spec, self.parameters, self.options["startup_timeout_s"]
            )


@dataclass(slots=True, kw_only=True, eq=False)
class App:
    """One running app."""

    app_id: str
    name: str
    environment: Environment = MAIN
    #: what tells it from other versions of a deployed app that run beside it
    key: str = ""
    #: of a deployed app
    version: int = 0
    #: of a deployed app: when this version was, from when on periods of schedules count
    deployed_at: float = 0.0
    tags: dict[str, str] = field(default_factory=dict)
    detach: bool
    output: bool
    #: Its client's terminal can be joined to its containers.
    interactive: bool
    session: Session | None
    #: ephemeral, detached, deployed, stopped; staged for a deployment; pinned: a version that is
    #: called by its number
    state: str = "ephemeral"
    #: of an app that user code in a container has opened or deployed: the name of the app that the
    #: machine's user has started, in which or below which it did; "" for the user's own
    sponsor: str = ""
    stop_reason: str = ""
    #: of one that runs a call again: the id of that
    replays: str = ""
    #: how its inputs are debugged: one of `DEBUG_WAYS`, empty for not at all
    debug: str = ""
    created_at: float = field(default_factory=time)
    #: as they were described, whatever functions have them
    images: list[dict[str, Any]] = field(default_factory=list)
    #: as its client described it
    description: dict[str, Any] | None = None
    #: of an app without functions: versions that only have its images, to be built
    alone: list[Version] = field(default_factory=list)
    functions: dict[str, Function] = field(default_factory=dict)
    #: pools beside those of functions: with other options, or of classes with parameters
    variants: dict[bytes, Function] = field(default_factory=dict)
    variants_bytes: int = 0
    #: keys of those of them that only requests have asked for, the one asked for last at the end
    requested: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    #: pools of functions of earlier versions, until their last calls are finished
    fading: list[Function] = field(default_factory=list)
    #: where its functions answer to the web: name, method of a class or None, address
    urls: list[list[str | None]] = field(default_factory=list)
    #: labels of its that a later app has claimed, until that gives them up
    lost_labels: set[str] = field(default_factory=set)
    #: number on the owner's connection -> function
    numbers: dict[int, Function] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)
    call_count: int = 0
    timings: Timings = field(default_factory=Timings)

    def __post_init__(self) -> None:
        self.key = self.key or self.app_id

    def pools(self) -> list[Function]:
        """All its pools."""
        return [*self.functions.values(), *self.variants.values(), *self.fading]

    def row(self, containers_count: int) -> dict[str, Any]:
        """The app as lists of apps show it."""
        return {
            "app_id": self.app_id, "name": self.name, "environment": self.environment.name,
            "tags": self.tags, "state": self.state,
            "created_at": self.created_at, "functions": sorted(self.functions),
            "version": self.version,
            "containers": containers_count, "calls": self.call_count,
        }  # fmt: skip

    def last_row(self) -> dict[str, Any]:
        """`row` of an app that has ended, cut to what may be kept of one by a hostile container."""
        row = self.row(0)
        return {**row, "functions": row["functions"][:FUNCTIONS_KEPT]}


_NOT_KEPT = Kept()


class Call:
    """One invocation. The latest results of a retained call are here as well as on the disk."""

    __slots__ = (
        "accepted_ns", "call_id", "carrier", "closed", "death", "finished", "function", "inputs",
        "kept", "made", "method", "number", "on_end", "results", "retain", "sent_ns", "session",
        "single", "stream", "streamed", "watchers",
    )  # fmt: skip

    def __init__(
        self, call_id: str, number: int, function: Function, session: Session | None,
        *, method: int, retain: bool, stream: bool, single: bool, origin: str = "",
    ) -> None:  # fmt: skip
        self.call_id = call_id
        self.number = number
        self.function = function
        #: Of a class: which of its methods.
        self.method = method
        self.session = session
        self.retain = retain
        #: Of one that is retained: what of it is written. (Others have none, and nobody looks.)
        self.kept = Kept(origin) if retain else _NOT_KEPT
        #: Of one that is not: how the call that made it remembers it, if that one is kept.
        self.made: Made | None = None
        self.stream = stream
        #: One input and one result, which the client waits for.
        self.single = single
        #: The container that may answer it by the express lane.
        self.carrier: ContainerLink | None = None
        self.accepted_ns = monotonic_ns()
        #: When an input of it was last sent to a container; 0: never.
        self.sent_ns = 0
        self.inputs = 0
        self.closed = False
        self.finished = False
        #: Values of this generator call were delivered, so it cannot be begun again.
        self.streamed = False
        #: How the last container that ran it has died.
        self.death = ""
        #: input index -> (kind, payload, descriptor)
        self.results: dict[int, tuple[int, bytes, int | None]] = {}
        #: input index -> sessions that wait for it, with the number they wait under
        self.watchers: dict[int, list[tuple[Session, int]]] = {}
        #: Of an errand: who is told when it has ended.
        self.on_end: Callable[[Call], None] | None = None
