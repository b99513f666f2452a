"""Pulling from a registry, however it behaves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.unit.images.making import DOCKER, OCI, digest_of, entry, layer_of
from tests.unit.images.registry_server import Registry
from volantd.images.oci import (
    BlobDirectory,
    Descriptor,
    OciError,
    Platform,
    TransferError,
    parse_reference,
    resolve_image,
)
from volantd.images.oci.registry import RegistrySource
from volantd.images.oci.transport import ATTEMPTS_MAX, InterruptedTransferError, Patience

if TYPE_CHECKING:
    from pathlib import Path

AMD64 = Platform(architecture="amd64")
LAYER = layer_of((entry("etc/motd"), b"hello"))
#: Larger than what is read at once, and does not repeat.
BLOB = b"".join(number.to_bytes(4, "big") for number in range(100_000))


def describe(content: bytes) -> Descriptor:
    return Descriptor(media_type="", digest=digest_of(content), size=len(content))


@pytest.fixture
def blob(registry: Registry) -> Descriptor:
    registry.add_blob(BLOB, "")
    return describe(BLOB)


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_an_image_is_found_by_its_tag(registry, blobs, form: str) -> None:
    made = registry.add_image(LAYER, tag="v1", form=form)
    image = resolve_image(registry.source("a/b:v1"), blobs, AMD64)
    assert image.digest == made["digest"]
    (layer,) = image.layers
    assert layer.diff_id == digest_of(LAYER)
    path = blobs.obtain(layer.descriptor, registry.source("a/b:v1"))
    assert digest_of(path.read_bytes()) == layer.descriptor.digest
    accepted = registry.requests[0][1]["Accept"]
    assert accepted.split(", ") == [
        OCI + "index.v1+json",
        DOCKER + "distribution.manifest.list.v2+json",
        OCI + "manifest.v1+json",
        DOCKER + "distribution.manifest.v2+json",
    ]


def test_an_image_is_found_by_its_digest(registry, blobs) -> None:
    digest = registry.add_image(LAYER)["digest"]
    assert resolve_image(registry.source(f"a/b:old@{digest}"), blobs, AMD64).digest == digest


def test_a_manifest_of_another_digest_is_refused(registry, blobs) -> None:
    digest = str(registry.add_image(LAYER)["digest"])
    kind, content = registry.manifests[digest]
    registry.manifests[digest] = (kind, content + b" ")
    with pytest.raises(OciError, match="arrived with another content"):
        resolve_image(registry.source(f"a/b@{digest}"), blobs, AMD64)


@pytest.mark.parametrize("form", ["oci", "docker"])
@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (AMD64, ("amd64", "")),
        (Platform(architecture="arm64", variant="v8"), ("arm64", "v8")),
        (Platform(architecture="arm", variant="v7"), ("arm", "v7")),
        (Platform(architecture="arm", variant="v6"), ("arm", "v5")),
    ],
)
def test_an_index_leads_to_this_machines_image(
    registry, blobs, form: str, machine: Platform, expected: tuple[str, str]
) -> None:
    made = {}
    for platform in [("arm", "v5"), ("arm64", "v8"), ("arm", "v7"), ("amd64", "v3"), ("amd64", "")]:
        architecture, variant = platform
        about = {"os": "linux", "architecture": architecture, "variant": variant}
        made[platform] = {
            **registry.add_image(LAYER, tag="", platform=platform, form=form),
            "platform": about,
        }
    attestation = {**made["amd64", "v3"], "platform": {"os": "unknown", "architecture": "unknown"}}
    registry.add_index(attestation, *made.values(), form=form)
    assert resolve_image(registry.source(), blobs, machine).digest == made[expected]["digest"]


def test_an_index_without_this_machine_says_what_there_is(registry, blobs) -> None:
    made = registry.add_image(LAYER)
    registry.add_index(
        {**made, "platform": {"os": "windows", "architecture": "amd64"}},
        {**made, "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
        {**made, "platform": {"os": "unknown", "architecture": "unknown"}},
    )
    with pytest.raises(OciError, match=r"linux/amd64; .* for linux/arm64/v8, windows/amd64\n"):
        resolve_image(registry.source(), blobs, AMD64)


def test_an_image_of_another_machine_is_refused(registry, blobs) -> None:
    registry.add_image(LAYER, platform=("s390x", ""))
    with pytest.raises(OciError, match=r"linux/amd64; it is there for linux/s390x"):
        resolve_image(registry.source(), blobs, AMD64)


def test_an_index_that_leads_to_itself_is_left(registry, blobs) -> None:
    deep = registry.add_image(LAYER)
    for _ in range(6):
        deep = registry.add_index({**deep, "platform": {"os": "linux", "architecture": "amd64"}})
    with pytest.raises(OciError, match="more than 4 indexes"):
        resolve_image(registry.source(), blobs, AMD64)


def test_a_config_has_to_fit_its_manifest(registry, blobs) -> None:
    registry.add_image(LAYER, config={"rootfs": {"diff_ids": []}})
    with pytest.raises(OciError, match=r"has 1 layers, and its config 0"):
        resolve_image(registry.source(), blobs, AMD64)


def test_what_a_program_is_started_with_is_read(registry, blobs) -> None:
    start = {
        "Env": ["PATH=/bin", "EMPTY=", "A=b=c", "PATH=/usr/bin"],
        "WorkingDir": "srv",
        "Entrypoint": ["/init"],
        "Cmd": None,
        "User": "1000:1000",
    }
    registry.add_image(config={"config": start})
    config = resolve_image(registry.source(), blobs, AMD64).config
    assert dict(config.env) == {"PATH": "/usr/bin", "EMPTY": "", "A": "b=c"}
    assert (config.working_dir, config.user) == ("/srv", "1000:1000")
    assert (config.entrypoint, config.cmd, config.shell) == (("/init",), (), ())


def test_a_missing_image_is_named(registry, blobs) -> None:
    with pytest.raises(OciError, match=r"does not have `v9` of 127.0.0.1:[0-9]+/a/b") as caught:
        resolve_image(registry.source("a/b:v9"), blobs, AMD64)
    assert "case-sensitive" in (caught.value.hint or "")


def test_a_document_is_bounded(registry, blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("volantd.images.oci.registry.DOCUMENT_BYTES_MAX", 1000)
    registry.manifests["latest"] = ("", b" " * 1001)
    with pytest.raises(OciError, match="more than 1000 bytes"):
        registry.source().read_root()


def test_a_blob_is_fetched_once(registry, blobs, blob) -> None:
    first = blobs.obtain(blob, registry.source())
    assert first.read_bytes() == BLOB
    assert blobs.obtain(blob, registry.source()) == first
    assert registry.paths() == [f"/v2/a/b/blobs/{blob.digest}"]


@pytest.mark.parametrize("change", [b"x", b"", BLOB[:-1], BLOB[:-1] + b"x"])
def test_a_blob_that_somebody_changed_is_fetched_again(
    registry, blobs, blob, change: bytes
) -> None:
    blobs.obtain(blob, registry.source()).write_bytes(change)
    assert blobs.obtain(blob, registry.source()).read_bytes() == BLOB
    assert len(registry.requests) == 2


def test_a_link_in_place_of_a_blob_is_not_followed(registry, blobs, blob, tmp_path) -> None:
    path = blobs.obtain(blob, registry.source())
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert not blobs.obtain(blob, registry.source()).is_symlink()
    assert len(registry.requests) == 2


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        (BLOB[:-1] + b"x", "arrived with another content"),
        (BLOB + b"x", "is larger than the 400000 bytes"),
        (BLOB[:-1], "could not be fetched"),
    ],
)
def test_of_a_wrong_blob_nothing_is_kept(
    registry, blobs, blob, tmp_path: Path, sent: bytes, problem: str
) -> None:
    registry.blobs[blob.digest] = sent
    with pytest.raises(OciError, match=problem):
        blobs.obtain(blob, registry.source())
    assert list((tmp_path / "blobs/sha256").iterdir()) == []


def test_a_broken_transfer_goes_on_where_it_broke(registry, blobs, blob) -> None:
    registry.breaks = [100_000, 0, 50_000]
    assert blobs.obtain(blob, registry.source()).read_bytes() == BLOB
    ranges = [headers["Range"] for _, headers in registry.requests]
    assert ranges == [None, "bytes=100000-", "bytes=100000-", "bytes=150000-"]
    assert registry.slept == [0.5, 1, 2]


@pytest.mark.parametrize("ranges", ["never", "wrong"])
def test_a_registry_without_ranges_begins_again(registry, blobs, blob, ranges: str) -> None:
    registry.ranges, registry.breaks = ranges, [100_000]
    assert blobs.obtain(blob, registry.source()).read_bytes() == BLOB


def test_patience_ends(registry, blobs, blob) -> None:
    registry.breaks = [1000] * 50
    with pytest.raises(TransferError, match="broke after 1000 bytes") as caught:
        blobs.obtain(blob, registry.source())
    assert caught.value.retryable
    assert len(registry.requests) == ATTEMPTS_MAX


def test_an_attempt_that_brought_much_is_not_held_against_it() -> None:
    slept: list[float] = []
    patience = Patience("it", 60, slept.append)
    for _ in range(3 * ATTEMPTS_MAX):
        patience.pause(InterruptedTransferError("broke"), advance=4 << 20)
    assert set(slept) == {0.5}


def test_a_registry_that_drips_is_left(registry, blobs, blob) -> None:
    patience = Patience("it", -1, registry.slept.append)
    with pytest.raises(TransferError, match="did not arrive within"):
        patience.check()
    with pytest.raises(TransferError, match="could not be fetched"):
        patience.pause(InterruptedTransferError("broke"), advance=4 << 20)


def test_a_busy_registry_is_asked_again(registry, blobs) -> None:
    registry.add_image(LAYER)
    registry.statuses, registry.status_headers = [503, 429], {"Retry-After": "7"}
    resolve_image(registry.source(), blobs, AMD64)
    assert registry.slept == [7, 7]


@pytest.mark.parametrize(
    ("status", "problem"), [(400, "answered 400"), (418, "answered 418"), (403, "for us to read")]
)
def test_a_refusal_is_not_asked_again(registry, status: int, problem: str) -> None:
    registry.statuses = [status]
    with pytest.raises(OciError, match=problem):
        registry.source().read_root()
    assert len(registry.requests) == 1


def test_a_registry_that_is_not_there_is_said_so(registry) -> None:
    source = registry.source()
    registry._server.server_close()
    with pytest.raises(TransferError, match="Connection refused"):
        source.read_root()
    assert len(registry.slept) == ATTEMPTS_MAX - 1


@pytest.mark.parametrize("asks_for", ["bearer", "basic"])
def test_credentials_are_shown_when_they_are_asked_for(registry, blobs, asks_for: str) -> None:
    registry.add_image(LAYER)
    registry.asks_for, registry.account = asks_for, ("ann", "pass:wörd")
    source = registry.source(credentials=("ann", "pass:wörd"))
    image = resolve_image(source, blobs, AMD64)
    blobs.obtain(image.layers[0].descriptor, source)
    assert registry.requests[0][1]["Authorization"] is None
    # What was learned with the manifest is kept for the blobs.
    assert len(registry.requests) == (5 if asks_for == "bearer" else 4)


def test_a_token_is_had_without_credentials_where_anybody_may_read(registry, blobs) -> None:
    registry.add_image(LAYER)
    registry.asks_for = "bearer"
    resolve_image(registry.source(), blobs, AMD64)


def test_a_token_that_is_no_longer_good_is_replaced(registry, blobs) -> None:
    registry.add_image(LAYER)
    registry.asks_for, registry.is_forgetful = "bearer", True
    resolve_image(registry.source(), blobs, AMD64)
    assert registry.paths().count("/token") == 2


@pytest.mark.parametrize("asks_for", ["bearer", "basic"])
@pytest.mark.parametrize(
    ("credentials", "hint"), [(None, "private"), (("ann", "wrong"), "whether 'ann' may read")]
)
def test_wrong_credentials_are_said_so(
    registry, asks_for: str, credentials: tuple[str, str] | None, hint: str
) -> None:
    registry.asks_for, registry.account = asks_for, ("ann", "right")
    with pytest.raises(OciError, match="not there for us to read") as caught:
        registry.source(credentials=credentials).read_root()
    assert hint in (caught.value.hint or "")
    assert "wrong" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    ("challenge", "problem"),
    [
        ("Negotiate", "of an unknown kind: 'Negotiate'"),
        ('Bearer realm="ftp://example.com/x"', "no address of the web"),
        ('Bearer realm="http://example.com/x"', "not encrypted"),
        ('Bearer realm="http://127.0.0.1:1@example.com/x"', "no address of the web"),
        ('Bearer realm="https://[x/"', "no address of the web"),
        ("Bearer", "no address of the web"),
    ],
)
def test_a_challenge_that_makes_no_sense_is_refused(registry, challenge: str, problem: str) -> None:
    registry.asks_for = challenge
    with pytest.raises(OciError, match=problem):
        registry.source(credentials=("ann", "secret")).read_root()


def test_where_blobs_are_redirected_to_sees_no_authorization(registry, blobs, blob) -> None:
    registry.asks_for = "bearer"
    with Registry() as other:
        other.blobs = registry.blobs
        registry.redirect = other.url
        other.breaks = [1000]
        assert blobs.obtain(blob, registry.source()).read_bytes() == BLOB
        assert [headers["Authorization"] for _, headers in other.requests] == [None, None]
        assert other.requests[1][1]["Range"] == "bytes=1000-"
    assert registry.requests[-1][1]["Authorization"] == "Bearer token-0"


def test_a_redirect_on_the_same_host_keeps_the_authorization(registry, blobs, blob) -> None:
    registry.asks_for = "basic"
    registry.account = ("ann", "right")
    source = registry.source(credentials=registry.account)
    registry.statuses, registry.status_headers = [302], {"Location": f"/v2/x/blobs/{blob.digest}"}
    assert blobs.obtain(blob, source).read_bytes() == BLOB


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        ("http://example.com/", "not encrypted"),
        ("file:///etc/passwd", "no address of the web"),
        ("//example.com:x/", "no address of the web"),
        ("http://127.0.0.1:0/", "no address of the web"),
        ("http://[/", "redirects to"),
    ],
)
def test_a_redirect_to_nowhere_good_is_refused(registry, location: str, problem: str) -> None:
    registry.statuses, registry.status_headers = [302], {"Location": location}
    with pytest.raises(OciError, match=problem):
        registry.source().read_root()


def test_redirects_end(registry, blobs, blob) -> None:
    registry.redirect = registry.url
    with pytest.raises(OciError, match="more than 8 times"):
        blobs.obtain(blob, registry.source())


def test_proxies_of_the_environment_are_not_for_this_machine(
    registry, blobs, blob, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Registry() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("https_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert blobs.obtain(blob, registry.source()).read_bytes() == BLOB
        # Others are asked through it: it is told to CONNECT, which this one does not know.
        far = registry.source()
        far._base = "https://registry.example/v2/a/b"
        with pytest.raises(TransferError, match="501"):
            far.read_root()


def test_what_progress_raises_ends_the_transfer(registry, blobs, blob, tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(_: int) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        blobs.obtain(blob, registry.source(), progress=stop)
    assert list((tmp_path / "blobs/sha256").iterdir()) == []


def test_progress_counts_what_arrives(registry, blobs, blob) -> None:
    counts: list[int] = []
    blobs.obtain(blob, registry.source(), progress=counts.append)
    assert sum(counts) == len(BLOB)


def test_a_directory_that_cannot_be_written_is_said_so(registry, blob, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OciError, match="cannot be kept: Not a directory"):
        BlobDirectory(tmp_path / "file").obtain(blob, registry.source())


def test_a_token_may_be_called_access_token(registry, blobs) -> None:
    registry.add_image(LAYER)
    registry.asks_for = "bearer"
    with Registry() as realm:
        realm.manifests["good"] = ("", json.dumps({"access_token": "token-0"}).encode())
        realm.manifests["bad"] = ("", json.dumps({"token": "a\nb"}).encode())
        registry.realm = f"{realm.url}/manifests/good"
        resolve_image(registry.source(), blobs, AMD64)
        registry.realm = f"{realm.url}/manifests/bad"
        with pytest.raises(OciError, match="is not one"):
            resolve_image(registry.source(), blobs, AMD64)


def test_nothing_is_asked_before_it_is_needed() -> None:
    RegistrySource(parse_reference("registry.example/a"))
