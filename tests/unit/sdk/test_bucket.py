from __future__ import annotations

from typing import Any

import pytest

import volant
from volant.errors import InvalidError, UnimplementedError
from volant.sdk.volumes import given
from volantd.hub import checks
from volantd.hub.volumes import buckets

SECRET = volant.Secret.from_dict({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"bucket_name": "s3://photos"}, "cannot be called 's3://photos'"),
        ({"bucket_name": ""}, "cannot be called ''"),
        ({"key_prefix": "photos"}, r"must end with '/', got 'photos'"),
        ({"key_prefix": "/photos/"}, "cannot be '/photos/'"),
        ({"key_prefix": "a/../b/"}, "cannot be"),
        ({"key_prefix": "a\n/"}, "cannot be"),
        ({"bucket_endpoint_url": "store.example.com"}, "no store can be at 'store.example.com'"),
        ({"bucket_endpoint_url": "https://a.example.com/b"}, "no store can be at"),
        ({"bucket_endpoint_url": "https://user@a.example.com"}, "no store can be at"),
        ({"secret": {"AWS_ACCESS_KEY_ID": "hidden"}}, "must be a volant.Secret, got dict"),
        ({"requester_pays": True}, "needs a secret"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(
    arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidError, match=named):
        volant.CloudBucketMount(**{"bucket_name": "photos", **arguments})


def test_roles_of_an_identity_provider_are_not_supported() -> None:
    with pytest.raises(UnimplementedError, match="oidc_auth_role_arn"):
        volant.CloudBucketMount("photos", oidc_auth_role_arn="arn:aws:iam::1:role/x")


def test_its_text_tells_no_secret() -> None:
    mount = volant.CloudBucketMount("photos", secret=SECRET, key_prefix="a/")
    assert repr(mount) == "<volant.CloudBucketMount of photos/a/>"


def test_one_bucket_may_be_at_two_places() -> None:
    mount = volant.CloudBucketMount("photos", secret=SECRET)
    rows = given.checked({"/a": mount, "/b": mount})
    assert [row["path"] for row in rows] == ["/a", "/b"]
    checks._check_volumes(rows)


def described(**changes: object) -> dict[str, Any]:
    row = volant.CloudBucketMount("photos", "http://127.0.0.1:9", secret=SECRET)._row("/data")
    return {**row["bucket"], **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "a\n[other]"},
        {"name": "../x"},
        {"endpoint_url": "http://x\nkey = 1"},
        {"endpoint_url": "ftp://x"},
        {"endpoint_url": "http://"},
        {"key_prefix": "../"},
        {"key_prefix": "a"},
        {"key_prefix": "a" * 3000 + "/"},
        {"is_anonymous": 1},
        {"secrets": {"AWS_ACCESS_KEY_ID": 1}},
        {"secrets": []},
        {"stored": [1]},
    ],
)
def test_what_no_sdk_sends_is_refused_by_the_hub(changes: dict[str, Any]) -> None:
    row = {"path": "/data", "read_only": False, "bucket": described(**changes)}
    with pytest.raises((ValueError, KeyError)):
        checks._check_volumes([row])


def test_a_container_without_a_network_gets_no_other_bucket() -> None:
    row = {"path": "/data", "read_only": False, "bucket": described()}
    buckets.confine({"volumes": [row]}, {"block_network": False, "volumes": []})
    buckets.confine({"volumes": [row]}, {"block_network": True, "volumes": [row]})
    with pytest.raises(volant.Error, match="without a network asks for the bucket `photos`"):
        buckets.confine({"volumes": [row]}, {"block_network": True, "volumes": []})
