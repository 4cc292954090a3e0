"""Installs node-opcua for these tests: python -m tests.foreign. Ends with 1 where that can't be, and says why."""

from __future__ import annotations

import os
import sys

import pytest

from tests.foreign.node_server import modules

if __name__ == "__main__":
    os.environ["CI"] = "true"  # a missing program is no reason to pass over it
    try:
        sys.stdout.write(f"{modules()}\n")
    except pytest.fail.Exception as error:
        sys.exit(str(error))
