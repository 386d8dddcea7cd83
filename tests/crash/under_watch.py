"""Run a command whose calls to the disk are answered by the watcher at a Unix socket: SOCKET COMMAND..."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # it is run in any directory

from tests.crash.system_calls import hand_over, install

if __name__ == "__main__":
    listener = install()
    hand_over(listener, sys.argv[1])
    os.execvp(sys.argv[2], sys.argv[2:])  # closes the listener's descriptor
