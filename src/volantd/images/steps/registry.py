"""Images of registries as bases."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volant.errors import ImageBuildError
from volantd.fields import text
from volantd.images import oci
from volantd.images.keys import FORCE, Settings
from volantd.images.pythons.layer import python_layer
from volantd.images.steps import kind
from volantd.images.steps.kind import Kind
from volantd.images.store import Record
from volantd.patience import ended, on_thread

if TYPE_CHECKING:
    from volantd.images.workbench import Workbench


#: Variables of a secret that opens a registry.
USERNAME, PASSWORD = "REGISTRY_USERNAME", "REGISTRY_PASSWORD"
#: The key of a service account, and the name with which Google's registries take one:
#: https://cloud.google.com/artifact-registry/docs/docker/authentication
SERVICE_ACCOUNT, SERVICE_ACCOUNT_NAME = "SERVICE_ACCOUNT_JSON", "_json_key"
#: Keys that would have to be changed for a password at Amazon first.
AWS_KEY = "AWS_ACCESS_KEY_ID"


async def _build(step: dict[str, Any], bench: Workbench) -> Record:
    record = await pulled(step["reference"], bench)
    series = step.get("add_python")
    if series is None:
        return record
    anew = bool(step.get(FORCE))
    return record.with_layers(await python_layer(bench, series, record.layers, anew=anew))


async def pulled(reference: str, bench: Workbench) -> Record:
    """The image of a registry; what is here is not fetched again.

    Raises:
        ImageBuildError: when it cannot be had, or is not what it says.
    """
    pulling = asyncio.ensure_future(on_thread(_pull, reference, bench))
    try:
        return await asyncio.shield(pulling)
    except asyncio.CancelledError:
        bench.stop("nobody waits for it any more")  # which the thread sees at the next piece
        await ended(pulling)
        raise


def _pull(reference: str, bench: Workbench) -> Record:
    """`pulled`, for a thread."""
    try:
        source = oci.RegistrySource(oci.parse_reference(reference), credentials=_credentials(bench))
        blobs = oci.BlobDirectory(Path(bench.store.blobs))
        image = oci.resolve_image(source, blobs, oci.this_machine())
        ids = [_unpack(layer, blobs, source, bench) for layer in image.layers]
    except oci.OciError as error:
        raise ImageBuildError(error.message, hint=error.hint) from error
    default = Settings()
    config = image.config
    settings = Settings(
        env=dict(config.env),
        shell=config.shell or default.shell,
        # Nothing said is "/" there; sources and their containers are in a place of their own.
        workdir=None if config.working_dir == "/" else config.working_dir,
        entrypoint=config.entrypoint,
        cmd=config.cmd,
    )
    return Record(tuple(ids), settings)


def _credentials(bench: Workbench) -> tuple[str, str] | None:
    """Name and password for the registry, from the secret that the step was given."""
    given = bench.brought.secrets.get("auth")
    if given is None:
        return None
    if SERVICE_ACCOUNT in given and USERNAME not in given:
        return SERVICE_ACCOUNT_NAME, given[SERVICE_ACCOUNT]
    try:
        return given[USERNAME], given[PASSWORD]
    except KeyError as error:
        hint = f"a registry is opened with {USERNAME} and {PASSWORD}, or {SERVICE_ACCOUNT}"
        if AWS_KEY in given:
            hint = f"{USERNAME} is AWS, and `aws ecr get-login-password` prints a {PASSWORD}"
        raise ImageBuildError(f"the secret for the registry has no {error}", hint=hint) from None


def _unpack(
    layer: oci.Layer, blobs: oci.BlobDirectory, source: oci.Source, bench: Workbench
) -> str:
    """Make a layer of a blob, which goes then: it would take its place on the disk twice."""
    store, layer_id = bench.store, layer.diff_id.replace(":", "-")
    with store.making(layer_id):
        if not store.has_layer(layer_id):
            place = store.begin()
            bench.places |= {place, store.blobs}
            try:
                blob = blobs.obtain(layer.descriptor, source, progress=bench.go_on)
                target = os.path.join(place, "diff")
                os.rmdir(target)
                oci.unpack_layer(blob, Path(target), diff_id=layer.diff_id, progress=bench.go_on)
                store.keep(place, layer_id, is_written=False)
                blob.unlink(missing_ok=True)
            finally:
                bench.places -= {place, store.blobs}
                store.discard(place)
    return layer_id


def _check(step: dict[str, Any]) -> None:
    text(step, "reference")
    kind.names({"auth": None, **step}, "auth")
    if step.get("add_python") is not None:
        kind.series(step["add_python"])


KINDS = {"registry": Kind(_check, _build, is_base=True, is_step=False)}
