"""Selecting files by patterns, for `ignore=` of the steps of an image that add files.

`NON_PYTHON_FILES` matches all files but Python sources.
"""

from __future__ import annotations

from volant.sdk.images.patterns import (
    NON_PYTHON_FILES as NON_PYTHON_FILES,
    FilePatternMatcher as FilePatternMatcher,
)
