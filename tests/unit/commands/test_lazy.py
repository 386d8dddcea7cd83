import subprocess
import sys

import pytest

from shmq.commands.lazy import COMMANDS


@pytest.mark.parametrize("command", ["consume", "produce"])
def test_each_command_that_talks_to_a_broker_tells_how_it_is_used(shmq, command):
    result = shmq(command, "--help")
    assert result.exit_code == 0
    assert "TOPIC" in result.stdout
    assert "NAMESRV_ADDR" in result.stdout


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_no_command_brings_in_the_compiler(command):
    code = f"import sys, {COMMANDS[command]}; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
