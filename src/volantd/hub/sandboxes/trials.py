"""Requests about sandboxes that may change or go: names, headers, usage, last files, sidecars."""

from __future__ import annotations

import asyncio
import difflib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from volant import ids
from volant.errors import InvalidError, NotFoundError, ResourceExhaustedError
from volantd.fields import mapping, switch, text
from volantd.hub.sandboxes import checked
from volantd.hub.sandboxes.checked import NAME_CHARS_MAX
from volantd.hub.sandboxes.making import made
from volantd.hub.sandboxes.outbound import outbound_of
from volantd.hub.sandboxes.requests import begun, find
from volantd.images.requests import later

if TYPE_CHECKING:
    from volantd.hub.sandboxes.record import Sandbox
    from volantd.hub.session import Session

#: Sidecars of one sandbox in its life that have lists of their own: rules for them stay.
LISTS_MAX = 100


def sandbox_set_name(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Give a sandbox another name, or none."""
    sandbox, name = find(session, message), checked.name_of(message)
    sandbox.check_alone("other name")
    session.hub.sandboxes.rename(sandbox, name)
    return {}


async def sandbox_set_headers(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Change the headers that requests of a sandbox get; whom it may reach stays."""
    sandbox = find(session, message)
    given = {"networks": None, "domains": None, "replacements": message["replacements"]}
    outbound = outbound_of(session, {"outbound": given})
    if sandbox.outbound is None or outbound is None:
        raise InvalidError(
            f"sandbox {sandbox.sandbox_id} has no headers replaced",
            hint="create it with _experimental_outbound_policy=",
        )
    changed = replace(sandbox.outbound, wanted=outbound.wanted)
    await session.hub.services.sandboxes.set_outbound(sandbox, changed)
    return {}


async def sandbox_stats(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """What a sandbox uses now, as soon as it has started."""
    sandbox = find(session, message)
    return await session.hub.services.sandboxes.usage(sandbox)


async def sandbox_exit_image(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """The image that a sandbox has left behind, once it has finished."""
    sandbox = find(session, message)
    if not sandbox.leaves_image:
        raise InvalidError(
            f"sandbox {sandbox.sandbox_id} leaves no image behind",
            hint="create it with experimental_options={'exit_snapshot': True}",
        )
    await asyncio.shield(sandbox.finished)
    if not sandbox.exit_image_id:
        raise NotFoundError(
            f"sandbox {sandbox.sandbox_id} ended before an image of its files could be made"
        )
    return {"image_id": sandbox.exit_image_id}


# -- sidecars


def sidecar_create(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Take a described sidecar, and begin to start it; replies as `sandbox_create`."""
    book, wanted = session.hub.sandboxes, text(message, "sandbox_id")
    if not ids.is_id(wanted, "sb"):
        raise ValueError("what a sidecar is to be called is no id of one")
    if book.get(wanted) is not None:
        return {"sandbox_id": wanted, "need": []}  # asked again over another connection
    of = find(session, {"sandbox_id": message["of"]})
    of.check_alone("sidecar")
    told = mapping(message, "sandbox")
    name = checked.name_of(told)
    if name is None:
        raise ValueError("a sidecar without a name")
    outbound = outbound_of(session, told)
    if outbound is not None:
        _check_list(session, of)
    is_blocked = of.function.version.block_network and outbound is None  # which says it as well
    options = {**mapping(told, "options"), "block_network": is_blocked}
    told = {**told, "options": options, "runtime": None}
    image = None if told["image"] is not None else of.function.version.image
    sidecar = made(session, {**message, "app_id": of.app.app_id, "sandbox": told}, image)
    if sidecar is None:
        return None
    if sidecar.function.version.image["kind"] == "host" != of.function.version.image["kind"]:
        raise InvalidError(
            f"a sidecar of {of.sandbox_id} cannot have this machine for its image, as that has not",
            hint="give it an image such as volant.Image.debian_slim()",
        )
    sidecar.sidecar_of, sidecar.sponsor = of.sandbox_id, of.sponsor
    sidecar.runtime, sidecar.timeout_s = of.runtime, of.timeout_s
    return begun(session, sidecar)


def _check_list(session: Session, of: Sandbox) -> None:
    """See to it that a sidecar of a sandbox can have a list of its own whom it may reach."""
    if not of.function.version.block_network:
        raise InvalidError(
            f"sandbox {of.sandbox_id} has this machine's network, which cannot be limited for a "
            "sidecar",
            hint="create it with a list of whom it may reach, or with block_network=True",
        )
    known = session.hub.sandboxes.sidecars_of(of, with_finished=True)
    if sum(one.outbound is not None for one in known) >= LISTS_MAX:
        raise ResourceExhaustedError(
            f"{LISTS_MAX} sidecars of {of.sandbox_id} had lists of their own, which is the most"
        )


def sidecar_find(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """The row of the sidecar that has a name in a sandbox; of several, that of the last one."""
    name, with_finished = text(message, "name"), switch(message, "with_finished")
    of = find(session, message)
    known = session.hub.sandboxes.sidecars_of(of, with_finished=with_finished)
    found = [one for one in known if one.name == name]
    if not found:
        names = [str(one.name) for one in known]
        near = difflib.get_close_matches(name[:NAME_CHARS_MAX], names, n=3)
        there = ", ".join(names) or "none"
        raise NotFoundError(
            f"sandbox {of.sandbox_id} has no sidecar {name[:100]!r}",
            hint=f"did you mean {', '.join(near)}?" if near else f"there is {there}",
        )
    return max(found, key=lambda one: (not one.is_finished, one.created_at)).row()


def sidecar_list(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """The sidecars of a sandbox."""
    with_finished = switch(message, "with_finished")
    of = find(session, message)
    found = session.hub.sandboxes.sidecars_of(of, with_finished=with_finished)
    return {"sandboxes": [one.row() for one in found]}


def _check(message: dict[str, Any]) -> None:
    text(message, "sandbox_id")


#: Also for user code in containers.
SHARED_HANDLERS = (
    sandbox_set_name,
    later(sandbox_set_headers, _check, images=False),
    later(sandbox_stats, _check, images=False),
    sidecar_create,
    sidecar_find,
    sidecar_list,
)
HANDLERS = (*SHARED_HANDLERS, later(sandbox_exit_image, _check, images=False))
