"""Trees that are laid out on this machine, each as a stack of layers, and who uses them.

    <directory>/<id>/layer       what the tree has that the one below has not
    <directory>/<id>/about       JSON: tree, family, the checkout below, boot of the machine
    <directory>/trash            what is being removed

All containers of one tree share a checkout, and none can write to it. A tree that differs little
from one that is there is one more layer on top of that. What was laid out in an earlier boot may
have been lost in part, as nothing here is synced: it is removed.
"""

from __future__ import annotations

import json
import os
import threading
from itertools import islice
from typing import TYPE_CHECKING

from volant import ids
from volantd import removal, syncing
from volantd.core.volumes import trees
from volantd.volumes.laying import Layer

if TYPE_CHECKING:
    from volantd.blobs.contents import Contents
    from volantd.core.volumes.entries import Entry, Nodes
    from volantd.volumes.attributes import Owners

#: Layers of one checkout; what would need more is laid out whole.
LAYERS_MAX = 8
#: A layer may differ from what is below by so many entries, or by this share of all.
LAYER_ENTRIES = 1000
LAYER_SHARE = 0.25
#: Checkouts that are kept although nobody uses them, beyond the latest of each family.
UNUSED_MAX = 8


class Checkout:
    """One tree that is laid out."""

    def __init__(
        self, checkout_id: str, path: str, tree: str, family: str, below: Checkout | None
    ) -> None:
        self.checkout_id = checkout_id
        self.path = path
        self.tree = tree
        self.family = family
        self.below = below
        #: Mounts, and checkouts on top of it.
        self.users = 0

    def layers(self) -> list[str]:
        """The directories of its layers, the highest first."""
        below = [] if self.below is None else self.below.layers()
        return [os.path.join(self.path, "layer"), *below]


class Checkouts:
    """The checkouts in one directory. Its methods block, and may run on any thread."""

    def __init__(self, directory: str, contents: Contents, owners: Owners) -> None:
        self._directory = directory
        self._trash = os.path.join(directory, "trash")
        self._contents = contents
        self._owners = owners
        self._lock = threading.Lock()
        #: By id, those used last at the end.
        self._all: dict[str, Checkout] = {}

    def open(self) -> None:
        """Learn what earlier daemons of this boot have laid out; ahead of all else."""
        if not os.path.isdir(self._directory):
            return
        boot = syncing.boot()
        found: dict[str, dict[str, str]] = {}
        for name in os.listdir(self._directory):
            about = _about(os.path.join(self._directory, name))
            if about is not None and about["boot"] == boot:
                found[name] = about
            elif name != "trash":
                self._remove(os.path.join(self._directory, name))
        for name in found:
            self._know(name, found)
        for name in found.keys() - self._all.keys():
            self._remove(os.path.join(self._directory, name))

    def _know(self, name: str, found: dict[str, dict[str, str]]) -> Checkout | None:
        if name in self._all or name not in found:
            return self._all.get(name)
        about = found[name]
        below = self._know(about["below"], found) if about["below"] else None
        if about["below"] and below is None:
            return None
        return self._add(name, about["tree"], about["family"], below)

    def _add(self, name: str, tree: str, family: str, below: Checkout | None) -> Checkout:
        path = os.path.join(self._directory, name)
        made = self._all[name] = Checkout(name, path, tree, family, below)
        if below is not None:
            below.users += 1
        return made

    def take(self, nodes: Nodes, tree: Entry, family: str) -> Checkout:
        """A checkout of a tree, laid out if need be; it is used until `release`.

        Args:
            nodes: where the tree is.
            tree: a directory.
            family: whose tree it is; trees of one family are alike.

        Raises:
            OSError: when it cannot be laid out.
            LostContentError: when something of it is not there.
        """
        wanted = trees.encode_root(tree)
        with self._lock:
            for known in self._all.values():
                if known.tree == wanted:
                    known.users += 1
                    self._all[known.checkout_id] = self._all.pop(known.checkout_id)
                    known.family = family
                    return known
            below = self._base(nodes, tree, family)
            made = self._lay(nodes, tree, family, below)
            made.users += 1
            self._evict()
            return made

    def _base(self, nodes: Nodes, tree: Entry, family: str) -> Checkout | None:
        """What a layer with a tree can be put on top of, None if it is better laid out whole."""
        most = max(LAYER_ENTRIES, int(tree.size * LAYER_SHARE))
        for known in reversed(self._all.values()):
            if known.family != family or len(known.layers()) >= LAYERS_MAX:
                continue
            differing = trees.differences(nodes, trees.decode_root(known.tree), tree)
            if sum(1 for _ in islice(differing, most + 1)) <= most:
                return known
            return None
        return None

    def _lay(self, nodes: Nodes, tree: Entry, family: str, below: Checkout | None) -> Checkout:
        name = ids.new_id("co")
        path = os.path.join(self._directory, name)
        layer = os.path.join(path, "layer")
        os.makedirs(self._trash, mode=0o700, exist_ok=True)
        removal.spread(self._directory)
        os.makedirs(layer, mode=0o700)
        try:
            before = None if below is None else trees.decode_root(below.tree)
            Layer(self._contents, nodes, self._owners, layer).lay(before, tree)
            about = {
                "tree": trees.encode_root(tree), "family": family, "boot": syncing.boot(),
                "below": "" if below is None else below.checkout_id,
            }  # fmt: skip
            with open(os.path.join(path, "about"), "w", encoding="utf-8") as file:
                json.dump(about, file)
        except BaseException:
            self._remove(path)
            raise
        return self._add(name, about["tree"], family, below)

    def release(self, checkout: Checkout) -> None:
        """Use a checkout no more."""
        with self._lock:
            checkout.users -= 1
            self._evict()

    def forget(self, family: str) -> None:
        """Keep nothing of a family that nobody uses."""
        with self._lock:
            for known in list(self._all.values()):
                if known.family.startswith(family):
                    known.family = ""
            self._evict()

    def _evict(self) -> None:
        """Remove what nobody uses, but for the latest of each family and some others."""
        latest = {known.family: known for known in self._all.values()}
        latest.pop("", None)
        unused = [known for known in self._all.values() if not known.users]
        spare = [known for known in unused if latest.get(known.family) is not known]
        kept = [known for known in spare if known.family]
        doomed = [known for known in spare if not known.family] + kept[:-UNUSED_MAX]
        for known in doomed:
            del self._all[known.checkout_id]
            if known.below is not None:
                known.below.users -= 1
            self._remove(known.path)

    def _remove(self, path: str) -> None:
        os.makedirs(self._trash, mode=0o700, exist_ok=True)
        removal.remove_tree(path, self._trash)


def _about(path: str) -> dict[str, str] | None:
    try:
        with open(os.path.join(path, "about"), encoding="utf-8") as file:
            about = json.load(file)
        found = {name: about[name] for name in ("tree", "family", "boot", "below")}
        trees.decode_root(found["tree"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return found
