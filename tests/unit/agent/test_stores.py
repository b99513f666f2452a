from __future__ import annotations

from typing import Any

import pytest

from volant.errors import ExecutionError, InvalidError, NotFoundError, PermissionDeniedError
from volantd.agent.volumes import rclone, stores

KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "hidden"}


def bucket(url: str = "", variables: dict[str, str] | None = None, **more: Any) -> stores.Bucket:
    described = {
        "name": "photos", "endpoint_url": url, "key_prefix": "", "is_anonymous": False,
        "requester_pays": False, "force_path_style": False, **more,
    }  # fmt: skip
    return stores.Bucket.of(described, KEYS if variables is None else variables)


@pytest.mark.parametrize("value", ["two\nlines", "a b", 'a"b', "%(x)s", "a`b", "ü", "a;b", "a#b"])
def test_a_key_that_would_mean_more_in_a_configuration_is_refused(value: str) -> None:
    with pytest.raises(InvalidError, match="AWS_SECRET_ACCESS_KEY") as caught:
        bucket(variables={**KEYS, "AWS_SECRET_ACCESS_KEY": value})
    assert value not in str(caught.value)


def test_the_region_is_where_the_store_is() -> None:
    assert bucket().endpoint_url == "https://s3.us-east-1.amazonaws.com"
    there = bucket(variables={**KEYS, "AWS_REGION": "eu-west-1"})
    assert there.endpoint_url == "https://s3.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(
    ("url", "has_path_style"),
    [
        ("", False), ("https://store.example.com", False), ("http://127.0.0.1:9000", True),
        ("http://[::1]:9000", True), ("http://minio:9000", True),
    ],
)  # fmt: skip
def test_a_bucket_is_a_host_where_hosts_have_names(url: str, has_path_style: bool) -> None:
    assert bucket(url).has_path_style == has_path_style
    assert bucket(url, force_path_style=True).has_path_style


def test_what_is_secret_is_in_the_file_alone() -> None:
    found = bucket(variables={**KEYS, "AWS_SESSION_TOKEN": "passing"})
    told = " ".join(rclone.arguments(found, 10.0)) + repr(rclone.ENV) + repr(found)
    assert "hidden" not in told
    assert "passing" not in told
    assert b"secret_access_key = hidden\n" in rclone.configuration(found)


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (404, "<Error><Code>NoSuchBucket</Code></Error>", NotFoundError),
        (404, "", NotFoundError),
        (403, "<Error><Code>AccessDenied</Code></Error>", PermissionDeniedError),
        (301, "<Error><Code>PermanentRedirect</Code></Error>", InvalidError),
        (400, "<Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region>", InvalidError),
        (503, "<Code>SlowDown</Code>", ExecutionError),
        (200, "<html>", ExecutionError),
        (403, "<Code>" + "x" * 100_000, PermissionDeniedError),
    ],
)
def test_a_refusal_is_told_in_words(status: int, text: str, kind: type[Exception]) -> None:
    error = stores.refusal(bucket(), status, text)
    assert type(error) is kind
    assert "photos" in str(error)
    assert error.hint
    assert len(str(error)) < 1000
