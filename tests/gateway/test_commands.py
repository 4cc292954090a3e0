"""What holds for every command, seen from outside the process."""

import os
import subprocess
import sys
from pathlib import Path

SAMPLE = Path(__file__).parents[2] / "config" / "samples" / "gateway.yaml"


def test_a_reader_that_goes_away_ends_a_command_without_a_trace() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, "-m", "mumian", "gateway", "check", str(SAMPLE)]
    try:
        done = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (141, "")
