"""A file that gets its name once it is whole: nobody ever sees it half made.

RocketMQ refuses to start on a stray file in a sequence directory. So where the filesystem can make files without
a name, that is how it is done; elsewhere the temporary lies one directory up. A crash leaves either the whole
file or at most that temporary, which the next attempt replaces.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

_NO_UNNAMED_FILES: Final = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})
_MODE: Final = 0o644


def make_file(path: Path, prepare: Callable[[int], None]) -> int:
    """Make a file of what `prepare` writes to its descriptor; return that descriptor, open for both.

    The directory is made where there is none. Neither is synced: who needs that does it.

    Raises:
        OSError: the name is taken, or whatever `prepare` met.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary: Path | None = None
    try:
        descriptor = os.open(path.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, _MODE)
    except OSError as error:
        if error.errno not in _NO_UNNAMED_FILES:
            raise
        temporary = path.parent.parent / f".{path.parent.name}-{path.name}.new"
        descriptor = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, _MODE)
    try:
        prepare(descriptor)
        # A directory descriptor, though of no use for absolute paths, makes Python follow the link.
        source = temporary or Path(f"/proc/self/fd/{descriptor}")
        os.link(source, path, src_dir_fd=descriptor, follow_symlinks=True)
    except BaseException:
        os.close(descriptor)
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return descriptor
