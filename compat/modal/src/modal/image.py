"""Images."""

from __future__ import annotations

from modal._standins import standins
from volant import FilePatternMatcher as FilePatternMatcher, Image as Image
from volant.file_pattern_matcher import NON_PYTHON_FILES as NON_PYTHON_FILES
from volant.sdk.images.patterns import AUTO_DOCKERIGNORE as AUTO_DOCKERIGNORE

__getattr__ = standins(__name__, "DockerfileSpec", "python_standalone_mount_name")
