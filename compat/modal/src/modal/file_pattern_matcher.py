"""Selecting files by patterns."""

from __future__ import annotations

from modal._standins import standins
from volant.file_pattern_matcher import (
    NON_PYTHON_FILES as NON_PYTHON_FILES,
    FilePatternMatcher as FilePatternMatcher,
)

__getattr__ = standins(__name__)
