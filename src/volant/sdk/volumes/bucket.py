"""Buckets of object stores as directories of containers.

    volumes={"/data": CloudBucketMount("bucket", secret=Secret.from_name("store"))}

What is here only says what is wanted: the daemon asks the store and mounts, and no client of a
store is on this side. Containers never get the secret of a mount.
"""

from __future__ import annotations

from volant.errors import InvalidError
from volant.sdk.objects.secret import Secret
from volant.sdk.planned import unimplemented

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Longest name of a bucket, and longest of the other words.
NAME_CHARS_MAX = 255
WORD_CHARS_MAX = 2000
_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")


class CloudBucketMount:
    """A bucket of S3, or of a store that speaks its language, to be mounted in containers."""

    def __init__(
        self,
        bucket_name: str,
        bucket_endpoint_url: str | None = None,
        key_prefix: str | None = None,
        secret: Secret | None = None,
        oidc_auth_role_arn: str | None = None,
        read_only: bool = False,
        requester_pays: bool = False,
        force_path_style: bool = False,
    ) -> None:
        """Say which bucket; nobody is asked before a container begins.

        Args:
            bucket_name: its name, without `s3://`.
            bucket_endpoint_url: where the store is; S3 of AWS when it is None.
            key_prefix: mount only the keys that begin with this; it ends with `/`.
            secret: has AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and may have AWS_SESSION_TOKEN
                and AWS_REGION; a bucket that anybody may read needs none.
            oidc_auth_role_arn: not supported.
            read_only: refuse whatever would change the bucket.
            requester_pays: pay for the requests to somebody else's bucket.
            force_path_style: ask for `endpoint/bucket` and never for `bucket.endpoint`.

        Raises:
            InvalidError: for a name, an address or a prefix that cannot be.
            UnimplementedError: for `oidc_auth_role_arn`.

        Example:
            >>> CloudBucketMount("photos", key_prefix="2026/", read_only=True)
            <volant.CloudBucketMount of photos/2026/, read-only>
        """
        if oidc_auth_role_arn is not None:
            raise unimplemented("CloudBucketMount(oidc_auth_role_arn=...)")
        if secret is not None and not isinstance(secret, Secret):
            raise InvalidError(
                f"CloudBucketMount: secret must be a volant.Secret, got {type(secret).__name__}",
                hint='for example secret=volant.Secret.from_name("store")',
            )
        if requester_pays and secret is None:
            raise InvalidError(
                "CloudBucketMount: requester_pays needs a secret: somebody has to pay"
            )
        self.bucket_name = _checked_name(bucket_name)
        self.bucket_endpoint_url = _checked_endpoint(bucket_endpoint_url)
        self.key_prefix = _checked_prefix(key_prefix)
        self.secret = secret
        self.read_only = bool(read_only)
        self.requester_pays = bool(requester_pays)
        self.force_path_style = bool(force_path_style)

    def _row(self, path: str) -> dict[str, Any]:
        """What functions are described with that have it."""
        from volant.sdk.objects.secret import given_by

        secrets = [] if self.secret is None else [self.secret]
        stored, values = given_by("CloudBucketMount", secrets)
        bucket = {
            "name": self.bucket_name, "endpoint_url": self.bucket_endpoint_url or "",
            "key_prefix": self.key_prefix or "", "is_anonymous": self.secret is None,
            "stored": stored, "secrets": values, "requester_pays": self.requester_pays,
            "force_path_style": self.force_path_style,
        }  # fmt: skip
        return {"path": path, "bucket": bucket, "read_only": self.read_only}

    def __repr__(self) -> str:
        what = f"{self.bucket_name}/{self.key_prefix}" if self.key_prefix else self.bucket_name
        return f"<volant.CloudBucketMount of {what}{', read-only' if self.read_only else ''}>"


def _checked_name(given: object) -> str:
    name = given if isinstance(given, str) else ""
    if not 0 < len(name) <= NAME_CHARS_MAX or not _NAME_CHARS.issuperset(name) or name[0] in ".-":
        raise InvalidError(
            f"CloudBucketMount: a bucket cannot be called {given!r}",
            hint="give its name alone, such as 'photos'",
        )
    return name


def _checked_endpoint(given: object) -> str | None:
    if given is None:
        return None
    url = given if isinstance(given, str) else ""
    scheme, _, rest = url.partition("://")
    host = rest.rstrip("/")
    is_plain = all("!" <= letter <= "~" and letter not in "/?#@%\"'`" for letter in host)
    if scheme not in ("http", "https") or not host or not is_plain or len(url) > WORD_CHARS_MAX:
        raise InvalidError(
            f"CloudBucketMount: no store can be at {given!r}",
            hint="bucket_endpoint_url is like 'https://store.example.com', without a path",
        )
    return f"{scheme}://{host}"


def _checked_prefix(given: object) -> str | None:
    if given is None:
        return None
    prefix = given if isinstance(given, str) else ""
    if not prefix.endswith("/"):
        raise InvalidError(
            f"CloudBucketMount: key_prefix must end with '/', got {given!r}",
            hint=f"write key_prefix={prefix + '/'!r}" if prefix else "leave it out for all keys",
        )
    parts = prefix[:-1].split("/")
    is_odd = any(part in ("", ".", "..") for part in parts) or not prefix.isprintable()
    if is_odd or len(prefix) > WORD_CHARS_MAX:
        raise InvalidError(
            f"CloudBucketMount: key_prefix cannot be {given!r}",
            hint="it is like 'photos/2026/', and does not begin with '/'",
        )
    return prefix
