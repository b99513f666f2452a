"""How far each public name of the package `modal` is there, found out by asking ours for it.

`names.json` holds the names of the versions 1.4 to 1.6, as `compat/modal/record_names.py` has read
them from those. Nothing is called: what a name does is tested elsewhere.
"""

from __future__ import annotations

import importlib
import inspect
import json
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import modal
from tests.support import ROOT
from volant import App
from volant.errors import UnimplementedError
from volant.sdk import options
from volant.sdk.planned import Planned

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Members that the package's own parts call, and no program does.
_MACHINERY = frozenset({
    "_inner_server_info", "file_descriptor", "get_input_plane_metadata", "get_stub", "resolve",
    "set_env_client", "validate_partition_key", "clone", "deps", "from_local", "get_build_def",
    "local_uuid", "spec", "stub", "tag", "validate_construction_mechanism",
})  # fmt: skip
#: What programs make themselves, so that its parameters count. Fields count of records.
_CONSTRUCTED = frozenset({
    "App", "CloudBucketMount", "Cron", "FilePatternMatcher", "Period", "Retries",
})  # fmt: skip
_RECORDS = "modal.types"
#: Parameters of every class, or of every enumeration.
_OF_ALL = frozenset({
    "args", "boundary", "kwargs", "module", "names", "qualname", "start", "type", "value",
})  # fmt: skip
#: Parameters of no use to programs: which of many connections is used, there being one.
_UNUSED_PARAMETERS = frozenset({"client"})
_ABSENT = object()


class State(NamedTuple):
    module: str
    name: str
    #: versions that have it
    versions: list[str]
    #: "implemented", "partial", "missing" or "unresolved"
    state: str
    #: members and parameters that are not there
    lacks: list[str]
    #: whether it is what the package itself has under that name
    is_alias: bool


def states() -> Iterator[State]:
    """Every recorded name, by module."""
    record = json.loads((ROOT / "tests/conformance/names.json").read_text())
    for place, known in record.items():
        module = importlib.import_module(place)
        for name, facts in known["names"].items():
            thing = _asked(module, name)
            lacks = sorted(_lacks(place, name, thing, facts))
            state = "partial" if lacks else "implemented"
            if thing is _ABSENT:
                state, lacks = "unresolved", []
            elif isinstance(thing, Planned):
                state, lacks = "missing", []
            is_alias = place != "modal" and thing is _asked(modal, name)
            yield State(place, name, facts["versions"], state, lacks, is_alias)


def _asked(owner: object, name: str) -> object:
    try:
        return getattr(owner, name)
    except UnimplementedError:
        return Planned(name)
    except AttributeError:
        return _ABSENT


def _lacks(place: str, name: str, thing: Any, facts: dict[str, Any]) -> Iterator[str]:
    if thing is _ABSENT or isinstance(thing, Planned):
        return
    if not isinstance(thing, type):
        if inspect.isroutine(thing):
            yield from _missing_parameters("", thing, facts["parameters"])
        return
    if name in _CONSTRUCTED:
        yield from _missing_parameters("", thing, facts["parameters"])
    elif place == _RECORDS and not issubclass(thing, Enum):
        yield from (one for one in facts["parameters"] if not _has(thing, one))
    for member, parameters in facts["members"].items():
        if member in _MACHINERY:
            continue
        if not _has(thing, member):
            yield member
        elif callable(found := _asked(thing, member)):
            yield from _missing_parameters(f"{member}: ", found, parameters)


def _has(kind: type, member: str) -> bool:
    found = _asked(kind, member)
    if found is _ABSENT:
        return member in _OF_ALL or _is_of_instances(kind, member)
    return not isinstance(found, Planned)


def _is_of_instances(kind: Any, name: str) -> bool:
    """Whether instances have an attribute that their class does not."""
    bases = inspect.getmro(kind) if isinstance(kind, type) else ()
    return (kind is App and hasattr(App("any"), name)) or any(
        name in vars(base).get("__annotations__", ()) or name in vars(base).get("__slots__", ())
        for base in bases
    )


def _missing_parameters(where: str, thing: Any, wanted: list[str]) -> Iterator[str]:
    try:
        known = inspect.signature(thing).parameters
    except (TypeError, ValueError):
        return
    if any(one.kind is one.VAR_KEYWORD for one in known.values()):
        return
    for name in wanted:
        if name.startswith("_") or name in _UNUSED_PARAMETERS or name == "kwargs":
            continue
        positional = any(one.kind is one.VAR_POSITIONAL for one in known.values())
        if name in options.PLANNED or (name not in known and not positional):
            yield f"{where}{name}="
