"""A registry as a source of one image, by the OCI distribution protocol.

    GET /v2/<repository>/manifests/<tag or digest>
    GET /v2/<repository>/blobs/<digest>            again from byte n when it broke there
    401 with a challenge --> GET <realm>?service=...&scope=... --> token --> the same again

Owns the conversation: what is asked, how it is authorized, what each status means. What comes is
believed only as far as its digest goes.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md,
https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from volantd.images.oci.documents import (
    DOCUMENT_BYTES_MAX,
    INDEX_TYPES,
    MANIFEST_TYPES,
    Index,
    Manifest,
    parse_json,
    parse_manifest,
)
from volantd.images.oci.errors import OciError, shown
from volantd.images.oci.reference import is_digest
from volantd.images.oci.transport import (
    Answer,
    InterruptedTransferError,
    Patience,
    Transport,
    check_address,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from volantd.images.oci.blobs import Sink
    from volantd.images.oci.documents import Descriptor
    from volantd.images.oci.reference import Reference

#: Seconds in which a manifest or a token has to come, and a blob.
DOCUMENT_S_MAX, BLOB_S_MAX = 180.0, 4 * 3600.0
_TOKEN_BYTES_MAX = 1 << 20
_CHALLENGE_CHARS_MAX = 8 << 10
_PARAMETER = re.compile(r'([a-zA-Z_]+)\s*=\s*(?:"([^"]*)"|([^\s",]+))')
_SCHEME = re.compile(r"(?:^|,)\s*(basic|bearer)(?:\s+|$)(?!=)", re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,15})-")


class RegistrySource:
    """One image in a registry. Threads may share it."""

    def __init__(
        self,
        reference: Reference,
        *,
        credentials: tuple[str, str] | None = None,
        transport: Transport | None = None,
    ) -> None:
        """Nothing is asked yet.

        Args:
            reference: which image.
            credentials: name and password; shown only when the registry asks for them, to it and
                to the address that it names for its tokens.
            transport: one of its own by default.
        """
        self._reference = reference
        self._credentials = credentials
        self._transport = transport or Transport()
        self._base = f"{reference.address}/v2/{reference.repository}"
        self._authorization: str | None = None

    def read_root(self) -> Manifest | Index:
        """The manifest or index of the reference."""
        return self._read_manifest(self._reference.version, self._reference.digest, None)

    def read_manifest(self, descriptor: Descriptor) -> Manifest | Index:
        """What an entry of an index leads to."""
        return self._read_manifest(descriptor.digest, descriptor.digest, descriptor.media_type)

    def copy_blob(self, descriptor: Descriptor, sink: Sink) -> None:
        """Write a blob, in several attempts if need be."""
        url = f"{self._base}/blobs/{descriptor.digest}"
        what = f"the blob {descriptor.digest}"
        patience = self._transport.patience(what, BLOB_S_MAX)
        while True:
            begun = sink.size
            headers = {"Range": f"bytes={begun}-"} if begun else {}
            try:
                with self._ask(url, headers, patience) as answer:
                    if answer.status == 416:
                        sink.restart()
                        raise InterruptedTransferError("the registry has less than it sent")
                    self._judge(answer, what)
                    first = _first_byte(answer)
                    if first != begun:
                        sink.restart()
                        begun = 0
                    if first != begun:
                        raise InterruptedTransferError("the registry sent another part of it")
                    for data in answer.chunks():
                        patience.check()
                        sink.write(data)
                if sink.size >= descriptor.size:
                    return
                raise InterruptedTransferError(f"the connection ended after {sink.size} bytes")
            except InterruptedTransferError as failure:
                patience.pause(failure, advance=sink.size - begun)

    def _read_manifest(self, version: str, digest: str, media_type: str | None) -> Manifest | Index:
        what = f"`{version}` of {self._reference.registry}/{self._reference.repository}"
        headers = {"Accept": ", ".join((*INDEX_TYPES, *MANIFEST_TYPES))}
        url = f"{self._base}/manifests/{version}"
        said, content = self._read(url, headers, what)
        # A registry that answers a tag says which digest that is; others leave it out.
        digest = digest or said.get("Docker-Content-Digest", "")
        if not is_digest(digest):
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        algorithm, _, digits = digest.partition(":")
        if hashlib.new(algorithm, content).hexdigest() != digits:
            raise OciError(
                f"{what} arrived with another content than {digest}",
                hint="somebody between here and the registry changes or breaks what is sent",
            )
        return parse_manifest(content, media_type or said.get("Content-Type", ""), digest)

    def _read(self, url: str, headers: dict[str, str], what: str) -> tuple[dict[str, str], bytes]:
        """Two headers of an answer that are of interest, and its body."""
        patience = self._transport.patience(what, DOCUMENT_S_MAX)
        while True:
            try:
                with self._ask(url, headers, patience) as answer:
                    self._judge(answer, what)
                    names = ("Content-Type", "Docker-Content-Digest")
                    said = {name: answer.headers.get(name, "") for name in names}
                    return said, answer.body(DOCUMENT_BYTES_MAX, patience)
            except InterruptedTransferError as failure:
                patience.pause(failure)

    @contextlib.contextmanager
    def _ask(self, url: str, headers: dict[str, str], patience: Patience) -> Iterator[Answer]:
        """Ask with what authorizes us, and once more when that is not, or no longer, enough."""
        with self._transport.get(url, self._authorized(headers)) as answer:
            if answer.status != 401:
                yield answer
                return
            challenges = answer.headers.get_all("WWW-Authenticate", [])
        self._authorization = self._answer_challenge(", ".join(challenges), patience)
        with self._transport.get(url, self._authorized(headers)) as answer:
            yield answer

    def _authorized(self, headers: dict[str, str]) -> dict[str, str]:
        if self._authorization is None:
            return headers
        return {**headers, "Authorization": self._authorization}

    def _answer_challenge(self, text: str, patience: Patience) -> str:
        challenges = _challenges(text[:_CHALLENGE_CHARS_MAX])
        if "bearer" in challenges:
            return f"Bearer {self._token(challenges['bearer'], patience)}"
        if "basic" in challenges:
            return self._basic()
        raise OciError(
            f"{self._reference.registry} asks for an authorization of an unknown kind: "
            f"{shown(text)}",
            hint="registries that use tokens or passwords are understood",
        )

    def _basic(self) -> str:
        if self._credentials is None:
            raise self._denial()
        pair = ":".join(self._credentials).encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    def _token(self, challenge: dict[str, str], patience: Patience) -> str:
        realm = challenge.get("realm", "")
        check_address(realm)
        if self._base.startswith("https:") and not realm.lower().startswith("https:"):
            raise OciError(f"{self._reference.registry} has its tokens at {shown(realm)}, in clear")
        scope = challenge.get("scope") or f"repository:{self._reference.repository}:pull"
        query = {"service": challenge.get("service", ""), "scope": scope}
        joint = "&" if urlsplit(realm).query else "?"
        url = f"{realm}{joint}{urlencode({k: v for k, v in query.items() if v})}"
        headers = {"Authorization": self._basic()} if self._credentials is not None else {}
        with self._transport.get(url, headers) as answer:
            if answer.status in (400, 401, 403):
                raise self._denial()
            self._judge(answer, f"a token for {self._reference.registry}")
            content = answer.body(_TOKEN_BYTES_MAX, patience)
        fields = parse_json(content, f"the token of {self._reference.registry}")
        token = fields.text("token" if fields.has("token") else "access_token")
        if not token.isascii() or not token.isprintable():
            raise OciError(f"the token of {self._reference.registry} is not one")
        return token

    def _judge(self, answer: Answer, what: str) -> None:
        """Raise for every status but success."""
        if answer.status in (200, 206):
            return
        if answer.status in (401, 403):
            raise self._denial()
        if answer.status == 404:
            hint = "look for its name and tag in the registry; both are case-sensitive"
            raise OciError(f"{self._reference.registry} does not have {what}", hint=hint)
        raise OciError(f"{self._reference.registry} answered {answer.status} for {what}")

    def _denial(self) -> OciError:
        if self._credentials is None:
            hint = "if it exists and is private, pass a secret with a name and a password"
        else:
            hint = f"look whether {shown(self._credentials[0])} may read it, and the password"
        name = f"{self._reference.registry}/{self._reference.repository}"
        return OciError(f"{name} is not there for us to read", hint=hint)


def _challenges(text: str) -> dict[str, dict[str, str]]:
    """Scheme in lower case -> parameters in lower case, of those that are understood."""
    matches = list(_SCHEME.finditer(text))
    ends = [*(match.start() for match in matches), len(text)][1:]
    return {
        match[1].lower(): {
            name.lower(): quoted or plain
            for name, quoted, plain in _PARAMETER.findall(text[match.end() : end])
        }
        for match, end in zip(matches, ends, strict=True)
    }


def _first_byte(answer: Answer) -> int:
    """Where in the blob an answer begins; -1 when it does not say so in a way that we trust."""
    if answer.status != 206:
        return 0
    match = _CONTENT_RANGE.match(answer.headers.get("Content-Range", ""))
    return int(match[1]) if match else -1
