"""Where the parts of ours lie inside a template and its containers."""

from __future__ import annotations

OWN_DIR = "/.volant"
BASE_DIR = OWN_DIR + "/base"
LOWER_DIR = OWN_DIR + "/lower"
SDK_DIR = OWN_DIR + "/sdk"
#: Packages for web functions, which only these look for: others are to see none of them.
LENT_DIR = OWN_DIR + "/lent"
SCRATCH_DIR = OWN_DIR + "/scratch"
LAYERS_DIR = OWN_DIR + "/layers"
#: This machine's trees as they are, below their own paths, without what is mounted in them.
TREES_DIR = OWN_DIR + "/trees"
NEW_ROOT = OWN_DIR + "/new"
SDK_MOUNTS = (SDK_DIR + "/volant", SDK_DIR + "/cloudpickle", LENT_DIR)
#: Sources and working directory of a container.
WORK_DIR = "/root"
#: Where the template of an image that lends its own Python has what is WORK_DIR in its containers:
#: that Python may lie below the same path.
FILES_DIR = OWN_DIR + "/files"
#: What a template of a built image keeps of the root that it was made in, besides the layers.
TEMPLATE_MOUNTS = (
    "/proc", "/dev", "/sys/devices/system", LOWER_DIR, BASE_DIR, SCRATCH_DIR, *SDK_MOUNTS, WORK_DIR,
)  # fmt: skip
