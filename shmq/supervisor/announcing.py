"""What the supervisor tells the people and programs around it: progress, the banner, readiness, the end."""

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from shmq import __version__, logs
from shmq.config.settings import Config
from shmq.jit import JIT_ENABLED, cache_directory, compile_kernels
from shmq.store.checkpoint import Checkpoint, CheckpointFile
from shmq.store.watermarks import Watermarks
from shmq.supervisor.children import Child, run_once

QUIET_SECONDS: Final = 1.0
READY_LINE: Final = "shmq ready"
WHOLE: Final = "broker-whole"
"""In the cache: every kernel of the broker has been compiled into it."""


def compile_all(config: Config) -> None:
    """Compile the kernels, or load them; say so where it takes time, as it does at the first start.

    They are compiled in a process of its own: what the compiler leaves behind, some hundred megabytes, would be
    copied into every worker by and by. That the cache holds all of them is said by a file in it, since the folder
    is there as soon as kernels are imported.
    """
    begun = time.monotonic()
    whole = cache_directory() / WHOLE
    if JIT_ENABLED and not whole.exists() and run_once("compiler", config, _compile_all):
        whole.touch()
    count = _tell(compile_kernels())
    elapsed_ms = int((time.monotonic() - begun) * 1000)
    logs.get("supervisor").debug("kernels are ready", count=count, elapsed_ms=elapsed_ms)


def _compile_all() -> None:
    _tell(compile_kernels(also_inner=True))


def _tell(compiling: Iterator[tuple[str, int, int]]) -> int:
    """Say from time to time how far the compiler is; return how many kernels there are."""
    told = time.monotonic()
    total = 0
    for name, done, total in compiling:
        now = time.monotonic()
        if now - told >= QUIET_SECONDS:
            told = now
            print(f"compiling kernels (first start): {done}/{total} {name}", file=sys.stderr, flush=True)  # noqa: T201 - for the person who waits
    return total


def announce(config: Config, running: Sequence[Child], elapsed_ms: int) -> None:
    """Print the banner, then the line and signals that say: clients may come."""
    namesrv = (
        config.namesrv_listen if config.namesrv_listens else ";".join(config.namesrv_addresses) or "none"
    )
    processes = " ".join(f"{child.name}({child.pid})" for child in running)
    vip = f"  VIP {config.vip_listen}" if config.vip_listen_enable else ""
    embedded = " (embedded)" if config.namesrv_listens else ""
    lines = [
        f"shmq {__version__}  broker {config.broker_name} of {config.cluster_name}",
        f"  listens on     {config.listen}{vip}, advertised as {config.effective_advertised_address()}",
        f"  name server    {namesrv}{embedded}",
        f"  store          {config.store_root}  ({config.flush_disk_type})",
        f"  processes      {processes}",
        "  try            shmq produce hello --body world" + _namesrv_option(config),
        "                 shmq consume hello --from-beginning" + _namesrv_option(config),
        f"{READY_LINE} in {elapsed_ms} ms",
    ]
    print("\n".join(lines), flush=True)  # noqa: T201 - the banner is the command's answer
    _notify("READY=1\nSTATUS=serving")
    if config.ready_file:
        Path(config.ready_file).write_text(f"{os.getpid()}\n", encoding="ascii")


def withdraw(config: Config) -> None:
    """Take readiness back."""
    _notify("STOPPING=1")
    if config.ready_file:
        Path(config.ready_file).unlink(missing_ok=True)


def note_clean_end(file: CheckpointFile, last: Checkpoint, marks: Watermarks) -> None:
    """Let the checkpoint say that the queues, and full files of the key index, are whole too."""
    file.write(
        replace(
            last,
            queues_timestamp_ms=max(marks.queues_ms, last.queues_timestamp_ms),
            index_timestamp_ms=max(marks.full_keys_ms, last.index_timestamp_ms),
        )
    )


def _namesrv_option(config: Config) -> str:
    address = config.namesrv_listen if config.namesrv_listens else (config.namesrv_addresses or ("",))[0]
    return "" if address in {"", "127.0.0.1:9876"} else f" --namesrv {address}"


def _notify(state: str) -> None:
    """Tell systemd, where it started us (sd_notify)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as notifier:
        try:
            notifier.sendto(state.encode(), address)
        except OSError as error:
            logs.get("supervisor").warning("systemd could not be told", reason=str(error))
