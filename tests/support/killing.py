"""Kill a kernel at any of its stores: the same steps as when a process dies there.

A kernel's Python form runs with the stores it makes counted; before store number n it is killed. What it
stored until then is in shared memory, as a dead process leaves it; nothing later is.
"""

from shmq.ring import spsc
from shmq.shared import commit, rounds
from shmq.store import append

STORES = (
    (commit, "store_relaxed"),
    (commit, "store_release"),
    (commit, "store_native_i64"),
    (spsc, "publish"),
    (spsc, "give_back"),
    (append, "copy"),
    (append, "zero"),
    (append, "store_i32"),
    (append, "store_i64"),
)
"""The modules of the commit kernels, and what they store with."""

KERNELS = (
    (commit, "commit"),
    (commit, "resume"),
    (commit, "refuse"),
    (commit, "close_file"),
    (commit, "unfinished_ring"),
    (commit, "_conclude"),
    (commit, "_place"),
    (commit, "_answer"),
    (rounds, "go_round"),
    (rounds, "_round"),
    (append, "place"),
    (append, "place_blank"),
)
"""The kernels that store, which run in their Python form so that their stores can be counted."""


class KilledError(Exception):
    """The process is dead: nobody catches this but the test."""


class Killer:
    """Counts stores, and kills before one of them."""

    def __init__(self, monkeypatch):
        self._monkeypatch = monkeypatch
        self._left = -1
        self.stores = 0
        for module, name in KERNELS:
            found = getattr(module, name)
            monkeypatch.setattr(module, name, getattr(found, "py_func", found))
        for module, name in STORES:
            monkeypatch.setattr(module, name, self._counted(getattr(module, name)))

    def kill_before(self, store):
        """Die before store number `store`, counted from now; -1: never."""
        self._left = store
        self.stores = 0

    def _counted(self, function):
        def counted(*args):
            if self._left == 0:
                raise KilledError
            self._left -= 1
            self.stores += 1
            return function(*args)

        return counted
