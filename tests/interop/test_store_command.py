"""`shmq store` on a store that RocketMQ's own broker wrote: it agrees, and is built again byte for byte."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.drivers import Client
from tests.support.endpoints import JAVA, start_endpoint
from tests.support.java import CLIENT_MODULES
from tests.support.verdict import assert_all_sent

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]

SHMQ: Final = Path(sys.executable).parent / "shmq"
COUNT: Final = 5000
DEADLINE_S: Final = 120.0


def run(command: str, store: Path) -> str:
    done = subprocess.run(
        [SHMQ, "store", command, "--store-root", store],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.feature("Store of RocketMQ looked at by shmq store")
@pytest.mark.client("Java broker 5.3.3")
@pytest.mark.parametrize("is_killed", [False, True], ids=["stopped", "killed"])
def test_a_store_of_rocketmq_agrees_and_is_built_again_the_same(tmp_path: Path, is_killed: bool) -> None:
    store = tmp_path / "store"
    endpoint = start_endpoint(JAVA, tmp_path / "1", store_root=store)
    try:
        client = Client(list(CLIENT_MODULES)[-1], endpoint.namesrv_address, tmp_path / "clients")
        sent = client.produce(
            "kept", run="only", count=COUNT, mode="async", threads=2, binary=True, shared_key="all"
        )
        assert_all_sent(sent, COUNT)
        if is_killed:
            endpoint.kill()
        else:
            endpoint.stop()
    finally:
        endpoint.discard()
    assert run("verify", store).startswith("no inconsistency")
    assert f"{COUNT} messages" in run("info", store)
    before = {path: path.read_bytes() for path in (store / "consumequeue").rglob("*") if path.is_file()}
    index = [path.read_bytes() for path in sorted((store / "index").iterdir())]
    run("rebuild", store)
    assert run("verify", store) == "no inconsistency\n"
    if is_killed:
        return  # it may not have come to write all of them
    assert {p: p.read_bytes() for p in (store / "consumequeue").rglob("*") if p.is_file()} == before
    assert [path.read_bytes() for path in sorted((store / "index").iterdir())] == index
