"""Runs that start at once get ports of their own."""

from __future__ import annotations

import socket
import subprocess
import sys

from simulators.demo.ports import free_port


def any_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_port_is_given_once_though_nobody_listens_on_it_yet() -> None:
    wanted = any_port()
    assert free_port(wanted) == wanted
    assert free_port(wanted) != wanted


def test_a_port_that_another_process_was_given_is_not_given_again_until_that_ends() -> None:
    wanted = any_port()
    script = f"from simulators.demo.ports import free_port; print(free_port({wanted}), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert int(other.stdout.readline()) == wanted
        assert free_port(wanted) != wanted
        other.kill()
    assert free_port(wanted) == wanted


def test_a_port_on_which_somebody_listens_is_not_given() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        wanted = int(taken.getsockname()[1])
        assert free_port(wanted) != wanted
