"""Requests about sandboxes.

    sandbox_create ─► taken into the book ─► REPLY with the contents that its image lacks
    sandbox_exec   ─► descriptors by RESULT ─► REPLY with the command's id
    sandbox_attach ─► descriptors by RESULT ─► REPLY when the command has ended

User code in a container sees the sandboxes of its own app, and makes them of its own image.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from volant import ids
from volant.errors import (
    ExecutionError,
    InvalidError,
    NotFoundError,
    TimeoutError as WaitedTooLongError,
)
from volant.wire.faults import error_fault
from volantd.fields import mapping, number, optional, switch, text, whole
from volantd.hub import checks
from volantd.hub.deployed.described import sizes_of
from volantd.hub.environments import book as environments
from volantd.hub.pools import printed
from volantd.hub.sandboxes import checked
from volantd.hub.sandboxes.connecting import METADATA_CHARS_MAX
from volantd.hub.sandboxes.making import made
from volantd.hub.sandboxes.outbound import outbound_of
from volantd.hub.sandboxes.record import Ending, Sandbox, terminated
from volantd.hub.terminals import send_descriptors
from volantd.images.requests import FaultError, later

if TYPE_CHECKING:
    from volantd.hub.session import Session

#: Where in what a program printed a client may ask for more.
OFFSET_MAX = 1 << 60
STREAMS = ("stdout", "stderr")
#: Of a time that somebody waits.
WAIT_MAX_S = 366 * 86400.0


def _find(session: Session, message: dict[str, Any]) -> Sandbox:
    """The sandbox that a message names.

    Raises:
        NotFoundError: when there is none, or it is not for this session.
    """
    wanted = text(message, "sandbox_id")
    found = session.hub.sandboxes.find(wanted)
    if not _may_see(session, found.app.app_id):
        raise NotFoundError(f"there is no sandbox {wanted[:100]!r}")
    return found


def _may_see(session: Session, app_id: str) -> bool:
    own = session.container_app
    return own is None or own.app_id == app_id or app_id in session.apps


def sandbox_create(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Take a described sandbox, and begin to start it; `need` names contents to be uploaded."""
    services, wanted = session.hub.services, text(message, "sandbox_id")
    if not ids.is_id(wanted, "sb"):
        raise ValueError("what a sandbox is to be called is no id of one")
    if session.hub.sandboxes.get(wanted) is not None:
        return {"sandbox_id": wanted, "need": []}  # asked again over another connection
    sandbox = made(session, message)
    if sandbox is None:
        return None
    image = sandbox.function.version.image
    missing = services.blobs.missing(sizes := sizes_of({"files": [], "images": [image]}))
    session.hub.sandboxes.add(sandbox)
    session.uploads.expected.update((digest, sizes[digest]) for digest in missing)
    services.sandboxes.start(sandbox)
    return {"sandbox_id": wanted, "need": sorted(missing)}


async def sandbox_started(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Answer when a sandbox has started; with its error when it could not."""
    sandbox = _find(session, message)
    await asyncio.shield(sandbox.started)
    _refuse_failed(sandbox)
    return sandbox.row()


def _refuse_failed(sandbox: Sandbox) -> None:
    result = sandbox.result
    if result is not None and result.ending is Ending.FAILED:
        gone = ExecutionError(f"sandbox {sandbox.sandbox_id} could not be started")
        raise FaultError(result.fault or error_fault(gone))


# -- commands


async def sandbox_exec(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Run a command, hand out its ends, and answer with its id."""
    sandbox = _find(session, message)
    wish = checked.wish_of(message)
    await asyncio.shield(sandbox.started)
    _refuse_failed(sandbox)
    execution = await session.hub.services.sandboxes.execute(session, sandbox, wish)
    command, key = execution.command, message["id"]
    execution.keep_ends()
    session.commands[key] = execution
    execution.ended.add_done_callback(lambda _: session.commands.pop(key, None))
    send_descriptors(session, key, command.fds)
    if session.peer.closed:
        execution.hang_up()
    return {"command_id": command.command_id}


async def sandbox_attach(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Run a command that ends with its client, and answer with its wait status."""
    sandbox = _find(session, message)
    wish = checked.wish_of({**_ATTACHED, **message})
    await asyncio.shield(sandbox.started)
    _refuse_failed(sandbox)
    execution = await session.hub.services.sandboxes.execute(session, sandbox, wish)
    command, key = execution.command, message["id"]
    session.commands[key] = command
    send_descriptors(session, key, command.fds)
    if session.peer.closed:
        command.hang_up()
    await asyncio.shield(execution.ended)
    session.commands.pop(key, None)
    return {"status": command.exited.result(), "with_container": command.was_cut_off}


#: What the command line does not say of a command.
_ATTACHED: dict[str, Any] = {
    "secrets": {}, "timeout_s": None, "workdir": None, "piped": [True, True, True],
}  # fmt: skip


async def sandbox_exec_wait(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """How a command has ended: `code` is None while it runs, if nobody wants to wait."""
    sandbox = _find(session, message)
    execution = session.hub.services.sandboxes.execution(sandbox, message["command_id"])
    if execution is None:
        return {"code": 137, "timed_out": False}  # the sandbox has ended, and with it all
    if not execution.ended.done() and not message["wait"]:
        return {"code": None, "timed_out": False}
    code = await asyncio.shield(execution.ended)
    return {"code": code, "timed_out": execution.is_timed_out}


# -- its program


async def sandbox_wait(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """How a sandbox has ended: `result` is None while it lives, if nobody wants to wait."""
    sandbox = _find(session, message)
    if message["wait"]:
        await asyncio.shield(sandbox.finished)
    _refuse_failed(sandbox)
    return {"result": None if sandbox.result is None else sandbox.result.as_fields()}


async def sandbox_terminate(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """End a sandbox, and answer when it has ended if the client wants to wait."""
    sandbox = _find(session, message)
    session.hub.services.sandboxes.end(sandbox, terminated("it was terminated by a request"))
    if message["wait"]:
        await asyncio.shield(sandbox.finished)
    return {"result": None if sandbox.result is None else sandbox.result.as_fields()}


async def sandbox_read(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """What the program of a sandbox printed from an offset on, as soon as there is some."""
    sandbox = _find(session, message)
    output = await session.hub.services.sandboxes.output(sandbox, message["stream"])
    _refuse_failed(sandbox)
    if output is None:
        return {"offset": 0, "data": b"", "ended": True}
    offset, data, ended = await output.read(session, message["offset"])
    return {"offset": offset, "data": data, "ended": ended}


async def sandbox_stdin(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Hand out an end of what the program of a sandbox reads."""
    sandbox = _find(session, message)
    await session.hub.services.sandboxes.lend_stdin(session, message["id"], sandbox)
    return {}


async def sandbox_files(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Hand out a socket on which the files of a sandbox are served."""
    sandbox = _find(session, message)
    await asyncio.shield(sandbox.started)
    _refuse_failed(sandbox)
    await session.hub.services.sandboxes.lend_files(session, message["id"], sandbox)
    return {}


async def sandbox_snapshot(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Make an image of the files of a sandbox, and answer with its id."""
    sandbox = _find(session, message)
    await asyncio.shield(sandbox.started)
    _refuse_failed(sandbox)
    made = await session.hub.services.sandboxes.snapshot(
        sandbox, message["timeout_s"], message["ttl_s"]
    )
    return {"image_id": made}


def sandbox_stdin_eof(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Close the daemon's own end of what the program of a sandbox reads."""
    session.hub.services.sandboxes.close_stdin(_find(session, message))
    return {}


async def sandbox_ready(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Answer when the probe of a sandbox has said that it is ready."""
    sandbox = _find(session, message)
    if sandbox.probe is None:
        raise InvalidError(
            f"sandbox {sandbox.sandbox_id} has no probe that would say when it is ready",
            hint="create it with readiness_probe=volant.Probe.with_tcp(port)",
        )
    try:
        async with asyncio.timeout(message["timeout_s"]):
            await asyncio.shield(sandbox.ready)
    except TimeoutError:
        raise WaitedTooLongError(
            f"sandbox {sandbox.sandbox_id} was not ready within {message['timeout_s']:g} s"
        ) from None
    _refuse_failed(sandbox)
    return {"result": None if sandbox.result is None else sandbox.result.as_fields()}


async def sandbox_tunnels(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Where the ports of a sandbox are reached; the tunnels are opened when first asked for."""
    sandbox = _find(session, message)
    try:
        async with asyncio.timeout(message["timeout_s"]):
            found = await session.hub.services.sandboxes.tunnels(sandbox)
    except TimeoutError:
        what = f"the tunnels of {sandbox.sandbox_id} were not open in {message['timeout_s']:g} s"
        raise WaitedTooLongError(what) from None
    plain = {port.number: port.is_plain for port in sandbox.ports}
    return {"tunnels": [[port, *at, plain[port]] for port, at in found.items()]}


async def sandbox_connect(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Make a token for a port of a sandbox; `url` is where it is shown."""
    sandbox = _find(session, message)
    port, metadata = message["port"], message["metadata"]
    address = await session.hub.services.sandboxes.open_way(sandbox, port)
    url, token = session.hub.door.let_in(sandbox, port, address, metadata)
    return {"url": url, "token": token}


async def sandbox_set_outbound(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Change whom a sandbox may reach, and answer when that is in force."""
    sandbox = _find(session, message)
    outbound = outbound_of(session, message)
    if outbound is None:
        raise ValueError("nothing is said of whom the sandbox may reach")
    await session.hub.services.sandboxes.set_outbound(sandbox, outbound)
    return {}


# -- finding


def sandbox_find(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """The sandbox that has a name in an app."""
    name, app = text(message, "name"), text(message, "app")
    with_finished = switch(message, "with_finished")
    rows = session.hub.sandboxes.all(with_finished=with_finished)
    place = session.hub.environments.of(session, environments.told(message))
    rows = [one for one in rows if one.app.app_id == app or one.app.environment is place]
    apps = {one.app.app_id for one in rows if app in (one.app.app_id, one.app.name)}
    found = [session.hub.sandboxes.named(one, name, with_finished=with_finished) for one in apps]
    seen = [one for one in found if one is not None and _may_see(session, one.app.app_id)]
    if not seen:
        raise NotFoundError(f"app {app[:100]!r} has no sandbox {name[:100]!r}")
    return max(seen, key=lambda one: (not one.is_finished, one.created_at)).row()


def sandbox_show(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """The row of a sandbox."""
    return _find(session, message).row()


def sandbox_list(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Sandboxes of an app, or of all, that have certain tags."""
    optional(text, message, "app_id")
    tags, app_id = mapping(message, "tags"), message["app_id"]
    every = session.hub.sandboxes.all(with_finished=switch(message, "with_finished"))
    place = session.hub.environments.of(session, environments.told(message))
    found = [one for one in every if _may_see(session, one.app.app_id)]
    found = [one for one in found if one.app.app_id == app_id or one.app.environment is place]
    return {"sandboxes": [
        one.row() for one in found
        if app_id in (None, one.app.app_id) and tags.items() <= one.tags.items()
    ]}  # fmt: skip


def sandbox_set_tags(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Replace the tags of a sandbox."""
    tags = mapping(message, "tags")
    checks.check_tags(tags)
    sandbox = _find(session, message)
    sandbox.tags = tags
    session.hub.sandboxes.note(sandbox)
    return {}


def sandbox_logs(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """What the program of a sandbox printed, as far as it is kept in the log of its app."""
    sandbox = _find(session, {"sandbox_id": message["sandbox"]})
    # One that has not been forked has printed nothing; "" would be every container.
    part = sandbox.container_id or sandbox.sandbox_id
    if message.get("follow"):
        session.hub.services.logs.follow(session, app_id=sandbox.app.app_id, wanted=part)
    wanted = printed.Wanted.of(message, sandbox.app.app_id, part=part)
    goes_on, told = not sandbox.is_finished, {"sandbox_id": sandbox.sandbox_id}
    return printed.printed(session, message, wanted, goes_on=goes_on, **told)


# -- checks


def _check(message: dict[str, Any]) -> None:
    text(message, "sandbox_id")


def _check_wait(message: dict[str, Any]) -> None:
    _check(message)
    switch(message, "wait")


def _check_exec_wait(message: dict[str, Any]) -> None:
    _check_wait(message)
    text(message, "command_id")


def _check_exec(message: dict[str, Any]) -> None:
    _check(message)
    checked.wish_of(message)


def _check_attach(message: dict[str, Any]) -> None:
    _check_exec({**_ATTACHED, **message})


def _check_read(message: dict[str, Any]) -> None:
    _check(message)
    whole(message, "offset", 0, OFFSET_MAX)
    if text(message, "stream") not in STREAMS:
        raise ValueError("a program prints to `stdout` and `stderr`")


def _check_time(message: dict[str, Any]) -> None:
    _check(message)
    number(message, "timeout_s", 0, WAIT_MAX_S)


def _check_connect(message: dict[str, Any]) -> None:
    _check(message)
    whole(message, "port", 1, checked.PORT_MAX)
    metadata = text(message, "metadata")
    if len(metadata) > METADATA_CHARS_MAX or not (metadata.isascii() and metadata.isprintable()):
        raise ValueError("what a token is for cannot be sent in a header")


def _check_snapshot(message: dict[str, Any]) -> None:
    _check_time(message)
    optional(number, message, "ttl_s", 0.001, WAIT_MAX_S)


#: Also for user code in containers.
SHARED_HANDLERS = (
    sandbox_create,
    later(sandbox_started, _check, images=False),
    later(sandbox_exec, _check_exec, images=False),
    later(sandbox_exec_wait, _check_exec_wait, images=False),
    later(sandbox_wait, _check_wait, images=False),
    later(sandbox_terminate, _check_wait, images=False),
    later(sandbox_read, _check_read, images=False),
    later(sandbox_stdin, _check, images=False),
    later(sandbox_files, _check, images=False),
    later(sandbox_ready, _check_time, images=False),
    later(sandbox_tunnels, _check_time, images=False),
    later(sandbox_connect, _check_connect, images=False),
    later(sandbox_set_outbound, _check, images=False),
    sandbox_stdin_eof,
    sandbox_find,
    sandbox_show,
    sandbox_list,
    sandbox_set_tags,
    sandbox_logs,
)
HANDLERS = (
    *SHARED_HANDLERS,
    later(sandbox_attach, _check_attach, images=False),
    later(sandbox_snapshot, _check_snapshot, images=False),
)
