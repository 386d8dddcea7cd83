"""Start again on what a power cut left: recovery alone, recorded, or the whole broker."""

import argparse
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from shmq.inspect.finding import FindingKind
from shmq.inspect.verify import verify_store
from shmq.store.key_shape import KeyIndexShape
from shmq.store.store_files import StorePaths, StoreSizes
from shmq.wire.codes import ResponseCode
from tests.crash.journal import Journal
from tests.crash.promises import Sent, Verdict, recover_once
from tests.crash.watcher import Watcher, launched_under
from tests.crash.workload import Plan
from tests.support.processes import Process
from tests.support.remote import Remote
from tests.support.shmq_process import ShmqBroker

_RECOVERY_S: Final = 120.0
_CHECKOUT: Final = Path(__file__).parents[2]


def record_recovery(root: Path, plan: Plan) -> Journal:
    """Recover a store in a process of its own, and write down what the disk was told."""
    with tempfile.TemporaryDirectory(prefix="crash-lab-") as directory:
        watcher = Watcher(root, plan.seed, sync_s=0.001)
        with watcher:
            files = plan.sizes
            sizes = (files.commit_log_file_bytes, files.consume_queue_file_bytes, *files.key_index)
            command = [sys.executable, "-m", "tests.crash.restarts", root, *map(str, sizes)]
            with Process(
                [*launched_under(watcher.socket_path), *command],
                log_path=Path(directory) / "recovery.log",
                directory=_CHECKOUT,
            ) as process:
                code = process.wait_exit(_RECOVERY_S)
                if code != 0:
                    raise process.failure("did not recover")
    shutil.rmtree(root)
    return watcher.journal


def serve_again(root: Path, plan: Plan, promised: Iterable[Sent]) -> Verdict:
    """Start a broker on a store: it serves what was promised, takes more, and leaves a whole store."""
    verdict = Verdict()
    broker = ShmqBroker(root.parent, store_root=root, settings=plan.settings)
    try:
        with Remote(broker.address) as remote:
            _read_promised(remote, promised, verdict)
        broker.stop()
    finally:
        broker.discard()
    for finding in verify_store(StorePaths(root), plan.sizes):
        if not (finding.kind is FindingKind.FILE_FOREIGN and finding.is_pending):
            verdict.faults.append(f"verify: {finding.kind} {finding.path}: {finding.text}")
    return verdict


def _read_promised(remote: Remote, promised: Iterable[Sent], verdict: Verdict) -> None:
    queues: dict[tuple[str, int], list[Sent]] = defaultdict(list)
    for sent in promised:
        queues[sent.topic, sent.queue_id].append(sent)
    for (topic, queue_id), messages in queues.items():
        end = remote.max_offset(topic, queue_id)
        answer = remote.send(topic, b"after/0/0/", queue_id)
        if answer.code != ResponseCode.SUCCESS or int(answer.fields["queueOffset"]) != end:
            verdict.faults.append(f"a new message was answered {answer}, where the queue ended at {end}")
        stored = remote.read_queue(topic, queue_id, end + 1)
        for sent in messages:
            found = stored[sent.queue_offset] if sent.queue_offset < end else None
            if found is None or (bytes(found.body), found.position) != (sent.body, sent.position):
                verdict.lost += 1
                verdict.faults.append(f"the broker lost {sent._replace(body=sent.body[:40])}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="Recover the store of that root, whose files have those sizes."
    )
    parser.add_argument("root", type=Path)
    parser.add_argument("sizes", type=int, nargs=4)
    options = parser.parse_args()
    log_bytes, queue_bytes, slots, entries = options.sizes
    recover_once(options.root, StoreSizes(log_bytes, queue_bytes, KeyIndexShape(slots, entries)))
