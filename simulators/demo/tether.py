"""Runs `mumian` on a tether: when whoever holds the other end of standard input is gone, however it went, so is this.

A process that is killed can end nobody. Run as `python -m simulators.demo.tether COMMAND...`, with a pipe as standard input.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading

_PATIENCE_S = 10.0
"""How long a stop in order may take before it is a kill."""


def _watch(patience_s: float) -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(patience_s)
    os.kill(os.getpid(), signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGABRT)


def main() -> None:
    """See the module's docstring."""
    threading.Thread(target=_watch, args=(_PATIENCE_S,), name="tether", daemon=True).start()
    sys.argv[0] = "mumian"
    runpy.run_module("mumian", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
