"""A store of buckets is asked once before anything is mounted: what is wrong is said in words.

One request, a list of at most one key, signed as every store of this language knows it (AWS
Signature Version 4). A kernel that asks later can only be told EIO.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ipaddress
import ssl
from dataclasses import dataclass, field
from time import gmtime, strftime
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from volant.errors import ExecutionError, InvalidError, NotFoundError, PermissionDeniedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from volant.errors import Error

#: What is read of an answer that is no list, and shown of it.
_ANSWER_BYTES_MAX = 16 << 10
_SHOWN_CHARS = 300
_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
#: The variables of a secret that say who asks; in a configuration nothing else may be in them.
KEY_ID, KEY, TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_REGION_DEFAULT = "us-east-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """One bucket, and who asks for it."""

    name: str
    prefix: str
    endpoint_url: str
    region: str
    has_path_style: bool
    requester_pays: bool
    key_id: str = ""
    key: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @staticmethod
    def of(bucket: Mapping[str, Any], variables: Mapping[str, str]) -> Bucket:
        """A described bucket, with what its secret says now.

        Raises:
            InvalidError: for a secret that lacks what it has to have, or cannot be one of a store.
        """
        name, url = bucket["name"], bucket["endpoint_url"]
        missing = [one for one in (KEY_ID, KEY) if not variables.get(one)]
        if missing and not bucket["is_anonymous"]:
            raise InvalidError(
                f"the secret of bucket `{name}` has no {' and no '.join(missing)}",
                hint="a bucket that anybody may read needs no secret at all",
            )
        region = next((variables[one] for one in _REGIONS if variables.get(one)), _REGION_DEFAULT)
        for variable in (KEY_ID, KEY, TOKEN, *_REGIONS):
            _check_word(name, variable, variables.get(variable, ""))
        return Bucket(
            name=name, prefix=bucket["key_prefix"], region=region,
            endpoint_url=url or f"https://s3.{region}.amazonaws.com",
            has_path_style=bucket["force_path_style"] or "." in name or _is_bare(url),
            requester_pays=bucket["requester_pays"], key_id=variables.get(KEY_ID, ""),
            key=variables.get(KEY, ""), token=variables.get(TOKEN, ""),
        )  # fmt: skip


def _check_word(name: str, variable: str, value: str) -> None:
    # What a line of a configuration cannot hold as it is.
    if not all("!" <= letter <= "~" for letter in value) or set(value) & set("\"'`%#;"):
        raise InvalidError(
            f"the secret of bucket `{name}` has a {variable} with characters that no key of a "
            "store has"
        )


def _is_bare(url: str) -> bool:
    """Whether names below a host cannot be: it is an address, or a name without a dot."""
    host = urlsplit(url).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return bool(host) and "." not in host
    return True


def ask(bucket: Bucket, timeout_s: float) -> None:
    """Make sure that a bucket can be listed; blocks.

    Raises:
        NotFoundError, PermissionDeniedError, InvalidError, ExecutionError: why it cannot.
    """
    parts = urlsplit(bucket.endpoint_url)
    host, path = parts.netloc, f"/{bucket.name}"
    if not bucket.has_path_style:
        host, path = f"{bucket.name}.{host}", "/"
    query = f"list-type=2&max-keys=1&prefix={quote(bucket.prefix, safe='')}"
    headers = {"host": host, "x-amz-content-sha256": _EMPTY_SHA256}
    if bucket.requester_pays:
        headers["x-amz-request-payer"] = "requester"
    if bucket.key_id:
        headers["authorization"] = _signed(bucket, path, query, headers)
    is_safe = parts.scheme == "https"
    try:
        link = (
            http.client.HTTPSConnection(host, timeout=timeout_s, context=_trust())
            if is_safe
            else http.client.HTTPConnection(host, timeout=timeout_s)
        )
        try:
            link.request("GET", f"{path}?{query}", headers=headers)
            answer = link.getresponse()
            text = answer.read(_ANSWER_BYTES_MAX).decode("utf-8", "replace")
        finally:
            link.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ExecutionError(
            f"the store of bucket `{bucket.name}` at {bucket.endpoint_url} cannot be reached: "
            f"{str(error) or type(error).__name__}",
            hint="check bucket_endpoint_url, and whether this machine gets there",
        ) from error
    if answer.status != http.client.OK:
        raise refusal(bucket, answer.status, text)


def _trust() -> ssl.SSLContext:
    return ssl.create_default_context()


def _signed(bucket: Bucket, path: str, query: str, headers: dict[str, str]) -> str:
    """The authorization of a request; adds what else it needs to its headers."""
    now = strftime("%Y%m%dT%H%M%SZ", gmtime())
    headers["x-amz-date"] = now
    if bucket.token:
        headers["x-amz-security-token"] = bucket.token
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = f"GET\n{path}\n{query}\n{lines}\n{names}\n{_EMPTY_SHA256}"
    scope = f"{now[:8]}/{bucket.region}/s3/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = f"AWS4{bucket.key}".encode()
    for word in (*scope.split("/"), f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{digest}"):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    return (
        f"AWS4-HMAC-SHA256 Credential={bucket.key_id}/{scope}, SignedHeaders={names}, "
        f"Signature={key.hex()}"
    )


def refusal(bucket: Bucket, status: int, text: str) -> Error:
    """What an answer means that is no list."""
    code = _between(text, "Code")
    said = f"{code or status}: {_between(text, 'Message') or 'no message'}"[:_SHOWN_CHARS]
    name, where = bucket.name, bucket.endpoint_url
    if code == "NoSuchBucket" or (status == http.client.NOT_FOUND and not code):
        return NotFoundError(
            f"there is no bucket `{name}` at {where}",
            hint="check its name and bucket_endpoint_url; a mount does not make buckets",
        )
    if status in (301, 307, 400) and ("egion" in text or "edirect" in code):
        told = _between(text, "Region") or _between(text, "Endpoint")
        return InvalidError(
            f"bucket `{name}` is not in region {bucket.region} ({said})",
            hint=f"set AWS_REGION in its secret{f': the store says {told}' if told else ''}",
        )
    if status in (401, 403):
        who = f"the key {bucket.key_id}" if bucket.key_id else "anybody"
        hint = "check the secret of the mount, and that its key may list the bucket"
        if not bucket.key_id:
            hint = "give the mount a secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        return PermissionDeniedError(
            f"the store at {where} does not let {who} list bucket `{name}` ({said})", hint=hint
        )
    return ExecutionError(
        f"the store at {where} does not list bucket `{name}`: it answers {status} ({said})",
        hint="check that bucket_endpoint_url is a store that speaks the language of S3",
    )


def _between(text: str, tag: str) -> str:
    """What a document says in an element that has only text; "" when there is none."""
    found = text.partition(f"<{tag}>")[2].partition(f"</{tag}>")
    return " ".join(found[0].split()) if found[1] and "<" not in found[0] else ""
