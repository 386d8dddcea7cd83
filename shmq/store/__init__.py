"""Layer 2: the commit log, and what is derived from it.

`shmq.store.scan` reads a store as data; it is `shmq.store.scanning.scan`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shmq.store.scanning import scan as scan
else:

    def __getattr__(name: str) -> Any:
        """The one name that the package itself offers to programs outside, when it is first asked for.

        Whoever imports only a module of the package, such as what a start with `--help` needs, must not wait for the
        compiler that reading needs.
        """
        if name != "scan":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from shmq.store.scanning import scan  # noqa: PLC0415

        return scan
