"""Hypothesis for this folder: the same examples in every run, as many as a minute allows."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "volant",
    derandomize=True,  # a failure here is one that everybody sees
    database=None,
    deadline=None,  # machines that build this are slow, and slowness is no failure
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("volant")
