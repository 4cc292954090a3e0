"""The services that other tests rely on do what they say."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from benchmarks.probe import Probe
from tests import services
from tests.conftest import MosquittoFactory
from tests.services import Mosquitto, free_port, require_service

_V311 = 4

pytestmark = pytest.mark.services


def can_connect(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_mosquitto_listens_when_started_and_not_when_killed(mosquitto: Mosquitto) -> None:
    assert can_connect(mosquitto.port)
    mosquitto.kill()
    assert not can_connect(mosquitto.port)
    mosquitto.start()
    assert can_connect(mosquitto.port)


@pytest.mark.parametrize("persistence", [True, False])
def test_a_queued_message_survives_a_restart_only_with_persistence(start_mosquitto: MosquittoFactory, persistence: bool) -> None:
    broker = start_mosquitto(persistence=persistence)
    with Probe("away", _V311, broker.port) as away:
        away.subscribe("topic")
    with Probe("sender", _V311, broker.port, clean=True) as sender:
        assert sender.publish("topic", [b"one", b"two"], 10) == 2
    broker.restart()
    with Probe("away", _V311, broker.port) as away:
        assert away.session_present == persistence
        expected = [b"one", b"two"] if persistence else []
        assert [message.payload for message in away.wait_messages(len(expected), 10)] == expected


def test_a_broker_that_cannot_listen_says_why(tmp_path: Path) -> None:
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(RuntimeError, match="Address already in use"):
            Mosquitto(tmp_path, port, persistence=False).start()


def test_an_absent_service_is_a_skip_on_a_plain_machine_and_a_failure_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
        require_service("no-such-program")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="CI must have it"):
        require_service("no-such-program")


def test_a_file_system_that_cannot_be_mounted_is_a_skip_on_a_plain_machine_and_a_failure_in_ci(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(services, "_FUSE_DEVICE", tmp_path / "fuse")
    with pytest.raises(pytest.skip.Exception, match="can't be opened"):
        services.require_fuse()
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    with pytest.raises(pytest.skip.Exception, match="libfuse3 is not installed"):
        services.require_fuse()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="CI must have it"):
        services.require_fuse()


def test_what_only_root_may_is_a_skip_for_others_and_a_failure_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(pytest.skip.Exception, match="only root may make a network"):
        services.require_root("make a network")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="CI must have it"):
        services.require_root("make a network")
