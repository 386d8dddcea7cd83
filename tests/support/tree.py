"""What lies below a directory, to tell whether anything was changed."""

from pathlib import Path
from typing import Final

LOCK: Final = "lock"


def tree_of(root: Path) -> dict[str, bytes | None]:
    """Return every file with its content and every directory with None, by its path.

    The file `lock` at the top is left out: it only says where to lock, and whoever looks at a store locks it first.
    """
    if not root.is_dir():
        return {".": root.read_bytes()} if root.exists() else {}
    found = {str(path.relative_to(root)): path for path in root.rglob("*")}
    return {
        name: path.read_bytes() if path.is_file() else None for name, path in found.items() if name != LOCK
    }
