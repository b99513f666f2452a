"""Buckets as directories."""

from __future__ import annotations

from modal._standins import standins
from volant import CloudBucketMount as CloudBucketMount

__getattr__ = standins(__name__, "cloud_bucket_mounts_to_proto")
