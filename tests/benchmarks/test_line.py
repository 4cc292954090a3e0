"""The benchmarks' devices: they number their polls, and say afterwards when each was served."""

from __future__ import annotations

import itertools
import socket
import struct
from pathlib import Path

import numpy as np
import pytest

from benchmarks.line import Line
from tests.services import require_service

pytestmark = pytest.mark.services


@pytest.fixture(autouse=True)
def _compiler() -> None:
    require_service("gcc")


def ask(connection: socket.socket, address: int, count: int, function: int = 3) -> bytes:
    """The answer's body, from the function code on."""
    connection.sendall(struct.pack(">HHHBBHH", 7, 0, 6, 1, function, address, count))
    head = connection.recv(7, socket.MSG_WAITALL)
    return connection.recv(int.from_bytes(head[4:6], "big") - 1, socket.MSG_WAITALL)


def registers(body: bytes) -> list[int]:
    return list(struct.unpack(f">{body[1] // 2}H", body[2:]))


def test_a_device_numbers_its_polls_for_one_who_asks_for_blocks_and_one_who_asks_by_register(tmp_path: Path) -> None:
    with Line(2, tmp_path) as line:
        with socket.create_connection(("127.0.0.1", line.ports[0])) as blocks:
            assert registers(ask(blocks, 0, 3)) == [1, 2, 3]
            assert registers(ask(blocks, 0, 3, function=4)) == [2, 3, 4]
            assert registers(ask(blocks, 125, 2)) == [127, 128]
        with socket.create_connection(("127.0.0.1", line.ports[1])) as single:
            assert [registers(ask(single, n, 1))[0] for n in (0, 1, 2, 0, 1)] == [1, 2, 3, 2, 3]
        assert line.count() == (8, 13)
    assert [len(times) for times in line.served] == [2, 2]
    assert (np.diff(line.served[0]) > 0).all()


def test_one_register_in_so_many_changes(tmp_path: Path) -> None:
    with Line(1, tmp_path, every=4) as line, socket.create_connection(("127.0.0.1", line.ports[0])) as connection:
        polls = [registers(ask(connection, 0, 8)) for _ in range(9)]
    assert [sum(a != b for a, b in zip(*pair, strict=True)) for pair in itertools.pairwise(polls)] == [2] * 8


def test_requests_in_pieces_and_in_one_piece_are_answered_and_others_refused(tmp_path: Path) -> None:
    with Line(1, tmp_path) as line, socket.create_connection(("127.0.0.1", line.ports[0])) as connection:
        request = struct.pack(">HHHBBHH", 7, 0, 6, 1, 3, 0, 1)
        connection.sendall(request[:5])
        connection.sendall(request[5:] + request)
        assert connection.recv(22, socket.MSG_WAITALL)[-2:] == b"\0\2"
        assert ask(connection, 0, 126) == b"\x83\1"
        assert ask(connection, 0, 1, function=6) == b"\x86\1"
