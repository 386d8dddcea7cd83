"""Build the Java peers once: `python -m tests.support.java_build`.

Maven runs only where a source or a pom has changed since the last build, offline where its cache suffices, and under
a file lock, since several test processes may want the same build.
"""

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Final

JAVA_ROOT: Final = Path(__file__).resolve().parents[1] / "interop" / "java"

_BUILD_DEADLINE_S: Final = 1200
_STATE: Final = JAVA_ROOT / "build"  # not target/: Maven clears that


def build() -> None:
    """Compile the drivers and lay their libraries beside them."""
    _STATE.mkdir(exist_ok=True)
    with (_STATE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = _STATE / "built"
        digest = _digest()
        if stamp.exists() and stamp.read_text() == digest:
            return
        stamp.unlink(missing_ok=True)
        _run_maven()
        stamp.write_text(digest)


def _digest() -> str:
    digest = hashlib.sha256()
    for path in sorted([*JAVA_ROOT.glob("**/pom.xml"), *JAVA_ROOT.glob("driver/**/*.java")]):
        digest.update(str(path.relative_to(JAVA_ROOT)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _run_maven() -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise RuntimeError("the interop tests need a JDK (17) and Maven: mvn is not on the PATH")
    command = [maven, "--quiet", "--batch-mode", "clean", "process-classes"]
    offline = subprocess.run(
        [*command, "--offline"], cwd=JAVA_ROOT, capture_output=True, timeout=_BUILD_DEADLINE_S, check=False
    )
    if offline.returncode == 0:
        return
    online = subprocess.run(
        command, cwd=JAVA_ROOT, capture_output=True, text=True, timeout=_BUILD_DEADLINE_S, check=False
    )
    if online.returncode != 0:
        raise RuntimeError(f"Maven could not build {JAVA_ROOT}:\n{online.stdout}\n{online.stderr}")


if __name__ == "__main__":
    build()
