"""Children of the demo and of the pytest plugin end when their parent does."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

PARENT = """
import sys
from pathlib import Path
from simulators.demo.processes import Child

child = Child("proxy", ["proxy", "127.0.0.1:0", "127.0.0.1:1"], Path(sys.argv[1]))
child.wait_ready(30)
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux: waits for a process that isn't its child")
def test_a_child_ends_though_its_parent_was_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "proxy.log")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        assert select.select([child], [], [], 0)[0] == []
        parent.kill()
        assert select.select([child], [], [], 30)[0] == [child]
        os.close(child)
