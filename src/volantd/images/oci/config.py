"""The config of an image: what its programs are started with, and what its layers hash to.

Source: https://github.com/opencontainers/image-spec/blob/main/config.md
"""

from __future__ import annotations

from dataclasses import dataclass

from volantd.images.oci.documents import Fields, Platform, parse_json, parse_platform
from volantd.images.oci.errors import OciError, shown
from volantd.images.oci.reference import is_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """What an image says about itself.

    Attributes:
        platform: its parts are empty where the config leaves them out.
        env: names and values in their order; a name comes once, with its last value.
        working_dir: absolute; "/" if none is said.
        entrypoint: empty if there is none.
        cmd: likewise.
        shell: likewise.
        user: name or number, with its group if there is one; empty for root.
        diff_ids: one digest for each layer, of its bytes before compression; lowest first.
    """

    platform: Platform
    env: tuple[tuple[str, str], ...]
    working_dir: str
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    shell: tuple[str, ...]
    user: str
    diff_ids: tuple[str, ...]


def parse_config(content: bytes, digest: str) -> ImageConfig:
    """Read a config.

    Raises:
        OciError: when it is none.
    """
    fields = parse_json(content, f"the config {digest}")
    diff_ids = fields.fields("rootfs").texts("diff_ids")
    for diff_id in diff_ids:
        if not is_digest(diff_id):
            raise OciError(f"{fields.what}: {shown(diff_id)} is no digest that can be verified")
    start = fields.fields("config")
    working_dir = start.text("WorkingDir", default="")
    return ImageConfig(
        platform=parse_platform(fields),
        env=_env(start),
        working_dir=working_dir if working_dir.startswith("/") else f"/{working_dir}",
        entrypoint=start.texts("Entrypoint"),
        cmd=start.texts("Cmd"),
        shell=start.texts("Shell"),
        user=start.text("User", default=""),
        diff_ids=diff_ids,
    )


def _env(start: Fields) -> tuple[tuple[str, str], ...]:
    variables: dict[str, str] = {}
    for item in start.texts("Env"):
        name, equals, value = item.partition("=")
        if not name or not equals:
            raise OciError(f"{start.what}: {shown(item)} in `Env` is not a name and a value")
        variables[name] = value
    return tuple(variables.items())
