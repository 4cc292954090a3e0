"""Fixtures for every room. What they start is in tests/services.py."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import hypothesis
import pytest

from tests import services
from tests.services import Mosquitto

# A run of the suite is the same wherever it runs; HYPOTHESIS_PROFILE=explore looks at other examples each time.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.register_profile("explore", deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_unconfigure() -> None:
    """A test that ended before it closed its database leaves a thread that Python would wait for, for ever: fail instead."""
    left = [thread.name for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]
    if left:
        sys.stdout.write(f"threads left by tests: {', '.join(left)}\n")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


class MosquittoFactory(Protocol):
    """Starts a broker, by default one that keeps nothing; the fixture stops it when the test ends."""

    def __call__(self, *, persistence: bool = False) -> Mosquitto: ...


@pytest.fixture
def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody has; tests.services.free_port() gives more."""
    return services.free_port()


@pytest.fixture
def require_service() -> Callable[[str], str]:
    """The path of a Debian program that the test needs; without it the test is skipped, or fails in CI."""
    return services.require_service


@pytest.fixture
def start_mosquitto(tmp_path: Path) -> Iterator[MosquittoFactory]:
    """Starts real brokers, each on a port of its own that it keeps over kill() and start()."""
    services.require_service("mosquitto")
    with ExitStack() as stack:

        def start(*, persistence: bool = False) -> Mosquitto:
            broker = Mosquitto(tmp_path, services.free_port(), persistence=persistence)
            return stack.enter_context(broker)

        yield start


@pytest.fixture
def mosquitto(start_mosquitto: MosquittoFactory) -> Mosquitto:
    """A real broker that runs, and keeps sessions and messages over stop() and start()."""
    return start_mosquitto(persistence=True)
