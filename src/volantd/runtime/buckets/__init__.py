"""The processes that serve mounted buckets."""
