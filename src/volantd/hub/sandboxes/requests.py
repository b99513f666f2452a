"""Requests about sandboxes.

    sandbox_create ─► taken into the book ─► REPLY with the contents that its image lacks
    sandbox_exec   ─► descriptors by RESULT ─► REPLY with the command's id
    sandbox_attach ─► descriptors by RESULT ─► REPLY when the command has ended

User code in a container sees the sandboxes of its own app, and makes them of its own image.
"""

from __future__ import annotations

import asyncio
import difflib
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
from volantd.hub.sandboxes.checked import NAME_CHARS_MAX
from volantd.hub.sandboxes.connecting import METADATA_CHARS_MAX
from volantd.hub.sandboxes.making import made
from volantd.hub.sandboxes.outbound import outbound_of
from volantd.hub.sandboxes.record import Ending, Sandbox, terminated
from volantd.hub.terminals import send_descriptors
from volantd.images.requests import FaultError, later

if TYPE_CHECKING:
    from volantd.hub.environments.record import Environment
    from volantd.hub.session import Session

#: Where in what a program printed a client may ask for more.
OFFSET_MAX = 1 << 60
STREAMS = ("stdout", "stderr")
#: Of a time that somebody waits.
WAIT_MAX_S = 366 * 86400.0


def find(session: Session, message: dict[str, Any]) -> Sandbox:
    """The sandbox that a message names.

    Raises:
        NotFoundError: when there is none, or it is not for this session.
    """
    wanted = text(message, "sandbox_id")
    found = session.hub.sandboxes.find(wanted)
    if not may_see(session, found):
        raise NotFoundError(f"there is no sandbox {wanted[:100]!r}")
    return found


def may_see(session: Session, sandbox: Sandbox) -> bool:
    """Whether a sandbox is for a session; user code in containers sees those of its app alone."""
    own, app = session.container_app, sandbox.app
    if own is None or own.app_id == app.app_id or app.app_id in session.apps:
        return True
    return sandbox.sponsor == session.sponsor and app.environment is own.environment


def sandbox_create(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Take a described sandbox, and begin to start it; `need` names contents to be uploaded."""
    wanted = text(message, "sandbox_id")
    if not ids.is_id(wanted, "sb"):
        raise ValueError("what a sandbox is to be called is no id of one")
    if session.hub.sandboxes.get(wanted) is not None:
        return {"sandbox_id": wanted, "need": []}  # asked again over another connection
    sandbox = made(session, message)
    if sandbox is None:
        return None
    return begun(session, sandbox)


def begun(session: Session, sandbox: Sandbox) -> dict[str, Any]:
    """Begin to start a sandbox; the reply, whose `need` names contents to be uploaded."""
    services, image = session.hub.services, sandbox.function.version.image
    missing = services.blobs.missing(sizes := sizes_of({"files": [], "images": [image]}))
    session.hub.sandboxes.add(sandbox)
    session.uploads.expected.update((digest, sizes[digest]) for digest in missing)
    services.sandboxes.start(sandbox)
    return {"sandbox_id": sandbox.sandbox_id, "need": sorted(missing)}


async def sandbox_started(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Answer when a sandbox has started; with its error when it could not."""
    sandbox = await started(session, message)
    return sandbox.row()


async def started(session: Session, message: dict[str, Any]) -> Sandbox:
    """The sandbox that a message names, once it has started; raises as `find`, and its error."""
    sandbox = find(session, message)
    await wait_for_start(sandbox)
    return sandbox


async def wait_for_start(sandbox: Sandbox) -> None:
    """Wait until a sandbox has started; raises what kept it from that."""
    await asyncio.shield(sandbox.started)
    refuse_failed(sandbox)


def refuse_failed(sandbox: Sandbox) -> None:
    """Raise what kept a sandbox from starting, if that is how it ended."""
    result = sandbox.result
    if result is not None and result.ending is Ending.FAILED:
        gone = ExecutionError(f"sandbox {sandbox.sandbox_id} could not be started")
        raise FaultError(result.fault or error_fault(gone))


# -- commands


async def sandbox_exec(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Run a command, hand out its ends, and answer with its id."""
    sandbox = find(session, message)
    wish = checked.wish_of(message)
    await wait_for_start(sandbox)
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
    """Run a command that ends with its client, and answer with its wait status.

    If it has ended with its sandbox, the answer says why that has.
    """
    sandbox = find(session, message)
    wish = checked.wish_of({**_ATTACHED, **message})
    await wait_for_start(sandbox)
    execution = await session.hub.services.sandboxes.execute(session, sandbox, wish)
    command, key = execution.command, message["id"]
    session.commands[key] = command
    send_descriptors(session, key, command.fds)
    session.hub.after_events()  # which sends them: this may go on long after what asked for it
    if session.peer.closed:
        command.hang_up()
    await asyncio.shield(execution.ended)
    session.commands.pop(key, None)
    reply: dict[str, Any] = {
        "status": command.exited.result(),
        "with_container": command.was_cut_off,
    }
    if command.was_cut_off:
        reply["reason"] = (await asyncio.shield(sandbox.finished)).reason
    return reply


#: What the command line does not say of a command.
_ATTACHED: dict[str, Any] = {
    "secrets": {}, "timeout_s": None, "workdir": None, "piped": [True, True, True],
}  # fmt: skip


async def sandbox_exec_wait(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """How a command has ended: `code` is None while it runs, if nobody wants to wait."""
    sandbox = find(session, message)
    execution = session.hub.services.sandboxes.execution(sandbox, message["command_id"])
    if execution is None:
        return {"code": 137, "timed_out": False}  # the sandbox has ended, and with it all
    if not execution.ended.done() and not message["wait"]:
        return {"code": None, "timed_out": False}
    code = await asyncio.shield(execution.ended)
    return {"code": code, "timed_out": execution.is_timed_out}


async def sandbox_exec_end(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Kill a command, with what it runs, if it has not ended."""
    sandbox = find(session, message)
    execution = session.hub.services.sandboxes.execution(sandbox, message["command_id"])
    if execution is not None and not execution.ended.done():
        execution.command.end()
    return {}


# -- its program


async def sandbox_wait(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """How a sandbox has ended: `result` is None while it lives, if nobody wants to wait."""
    sandbox = find(session, message)
    if message["wait"]:
        await asyncio.shield(sandbox.finished)
    refuse_failed(sandbox)
    return {"result": None if sandbox.result is None else sandbox.result.as_fields()}


async def sandbox_terminate(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """End a sandbox, and answer when it has ended if the client wants to wait."""
    sandbox = find(session, message)
    session.hub.services.sandboxes.end(sandbox, terminated("it was terminated by a request"))
    if message["wait"]:
        await asyncio.shield(sandbox.finished)
    return {"result": None if sandbox.result is None else sandbox.result.as_fields()}


async def sandbox_read(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """What the program of a sandbox printed from an offset on, as soon as there is some."""
    sandbox = find(session, message)
    output = await session.hub.services.sandboxes.output(sandbox, message["stream"])
    refuse_failed(sandbox)
    if output is None:
        return {"offset": 0, "data": b"", "ended": True}
    offset, data, ended = await output.read(session, message["offset"])
    return {"offset": offset, "data": data, "ended": ended}


async def sandbox_stdin(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Hand out an end of what the program of a sandbox reads."""
    sandbox = find(session, message)
    await session.hub.services.sandboxes.lend_stdin(session, message["id"], sandbox)
    return {}


async def sandbox_files(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Hand out a socket on which the files of a sandbox are served."""
    sandbox = await started(session, message)
    await session.hub.services.sandboxes.lend_files(session, message["id"], sandbox)
    return {}


async def sandbox_pause(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Have nothing in a sandbox run, and answer when that is so."""
    sandbox = await started(session, message)
    await session.hub.services.sandboxes.pause(sandbox)
    return {}


async def sandbox_resume(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Let a sandbox that was paused go on."""
    sandbox = await started(session, message)
    await session.hub.services.sandboxes.resume(sandbox)
    return {}


def sandbox_stdin_eof(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Close the daemon's own end of what the program of a sandbox reads."""
    session.hub.services.sandboxes.close_stdin(find(session, message))
    return {}


async def sandbox_ready(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Answer when the probe of a sandbox has said that it is ready."""
    sandbox = find(session, message)
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
    refuse_failed(sandbox)
    return {"result": None if sandbox.result is None else sandbox.result.as_fields()}


async def sandbox_tunnels(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Where the ports of a sandbox are reached; the tunnels are opened when first asked for."""
    sandbox = find(session, message)
    try:
        async with asyncio.timeout(message["timeout_s"]):
            found = await session.hub.services.sandboxes.tunnels(sandbox)
    except TimeoutError:
        what = f"the tunnels of {sandbox.sandbox_id} were not open in {message['timeout_s']:g} s"
        raise WaitedTooLongError(what) from None
    plain = {port.number: port.is_plain for port in sandbox.ports}
    rows = [[port, host, at, plain[port], tls] for port, (host, at, tls) in found.items()]
    return {"tunnels": rows}


async def sandbox_connect(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Make a token for a port of a sandbox; `url`, which paths go behind, is where it is shown."""
    sandbox = find(session, message)
    sandbox.check_alone("token of its own")
    port, metadata = message["port"], message["metadata"]
    address = await session.hub.services.sandboxes.open_way(sandbox, port)
    url, token = session.hub.door.let_in(sandbox, port, address, metadata)
    return {"url": url.removesuffix("/"), "token": token}


async def sandbox_set_outbound(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Change whom a sandbox may reach, and answer when that is in force."""
    sandbox = find(session, message)
    sandbox.check_alone("network of its own")
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
    rows = [one for one in rows if one.app.app_id == app or _is_in(one, place)]
    rows = [one for one in rows if not one.sidecar_of]
    apps = {one.app.app_id for one in rows if app in (one.app.app_id, one.app.name)}
    found = [session.hub.sandboxes.named(one, name, with_finished=with_finished) for one in apps]
    seen = [one for one in found if one is not None and may_see(session, one)]
    if not seen:
        known = [one.name for one in rows if one.name and may_see(session, one)]
        near = difflib.get_close_matches(name[:NAME_CHARS_MAX], known, n=3)
        raise NotFoundError(
            f"app {app[:100]!r} has no sandbox {name[:100]!r}",
            hint=f"did you mean {', '.join(near)}?" if near else "`volant sandbox list` shows all",
        )
    return max(seen, key=lambda one: (not one.is_finished, one.created_at)).row()


def _is_in(sandbox: Sandbox, environment: Environment) -> bool:
    """By ids: those of earlier daemons have records of environments of their own."""
    return sandbox.app.environment.environment_id == environment.environment_id


def sandbox_show(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """The row of a sandbox."""
    return find(session, message).row()


def sandbox_list(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Sandboxes of an app, or of all, that have certain tags."""
    optional(text, message, "app_id")
    tags, app_id = mapping(message, "tags"), message["app_id"]
    every = session.hub.sandboxes.all(with_finished=switch(message, "with_finished"))
    place = session.hub.environments.of(session, environments.told(message))
    found = [one for one in every if may_see(session, one)]
    found = [one for one in found if one.app.app_id == app_id or _is_in(one, place)]
    return {"sandboxes": [
        one.row() for one in found
        if app_id in (None, one.app.app_id) and tags.items() <= one.tags.items()
    ]}  # fmt: skip


def sandbox_set_tags(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Replace the tags of a sandbox."""
    tags = mapping(message, "tags")
    checks.check_tags(tags)
    sandbox = find(session, message)
    sandbox.tags = tags
    session.hub.sandboxes.note(sandbox)
    return {}


def sandbox_logs(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """What the program of a sandbox printed, as far as it is kept in the log of its app."""
    sandbox = find(session, {"sandbox_id": message["sandbox"]})
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


def _check_exec_end(message: dict[str, Any]) -> None:
    _check(message)
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


#: Also for user code in containers.
SHARED_HANDLERS = (
    sandbox_create,
    later(sandbox_started, _check, images=False),
    later(sandbox_exec, _check_exec, images=False),
    later(sandbox_exec_wait, _check_exec_wait, images=False),
    later(sandbox_exec_end, _check_exec_end, images=False),
    later(sandbox_wait, _check_wait, images=False),
    later(sandbox_terminate, _check_wait, images=False),
    later(sandbox_read, _check_read, images=False),
    later(sandbox_stdin, _check, images=False),
    later(sandbox_files, _check, images=False),
    later(sandbox_ready, _check_time, images=False),
    later(sandbox_tunnels, _check_time, images=False),
    later(sandbox_connect, _check_connect, images=False),
    later(sandbox_set_outbound, _check, images=False),
    later(sandbox_pause, _check, images=False),
    later(sandbox_resume, _check, images=False),
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
)
