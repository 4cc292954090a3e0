"""The plant as a whole, and as a process."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from config.problems import ConfigError
from simulators.ledger import LedgerError, read_parts
from simulators.listening import CannotListen
from tests.simulators.plants import GUARD_S, address, running, settings, start
from tests.simulators.test_modbus_server import READ_INPUTS, answer, client, frame, raw

SIMULATE = "import sys, pathlib, simulators.cli; sys.exit(simulators.cli.simulate(pathlib.Path(sys.argv[1])))"
FREE = "press_port: 0\nmeter_port: 0\nbench_port: 0\nledger: ledger.db\n"


@contextmanager
def process(folder: Path, text: str) -> Iterator[Popen[str]]:
    path = folder / "plant.yaml"
    path.write_text(text, "utf-8")
    with Popen([sys.executable, "-c", SIMULATE, str(path)], stdout=PIPE, stderr=PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


async def test_a_request_is_answered_from_the_clock_and_the_seed_alone(tmp_path: Path) -> None:
    async def life(folder: Path, seed: int) -> list[bytes]:
        now_ns = 1_790_000_000_000_000_000
        plant, task, stop = await start(settings(folder, seed=seed), lambda: now_ns)
        answers = []
        async with raw(address(plant.press)[1]) as (reader, writer):
            for second in range(200):
                now_ns += 1_000_000_000
                writer.write(frame(second, READ_INPUTS) + frame(second, b"\x02\x00\x00\x00\x04"))
                answers += [(await answer(reader))[1], (await answer(reader))[1]]
        stop.set()
        await task
        return answers

    first = await life(tmp_path / "one", seed=3)
    assert first == await life(tmp_path / "two", seed=3)
    assert first != await life(tmp_path / "three", seed=4)
    assert len(set(first)) > 100


async def test_an_unusable_recording_is_told_before_anything_listens(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.csv"):
        async with running(settings(tmp_path, replay=tmp_path / "none.csv")):
            pass
    assert not (tmp_path / "ledger.db").exists()


@pytest.mark.parametrize("server", ["press_port", "meter_port", "bench_port"])
async def test_a_taken_port_leaves_nothing_half_open(tmp_path: Path, server: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=f"127.0.0.1:{port}"):
            async with running(settings(tmp_path, **{server: port})):
                pass
    assert not (tmp_path / "ledger.db").exists()


async def test_a_ledger_that_breaks_stops_the_plant(tmp_path: Path) -> None:
    plant, task, _ = await start(settings(tmp_path))
    with closing(sqlite3.connect(plant.ledger)) as other:
        other.execute("DROP TABLE served")
    async with client(address(plant.press)[1]) as press:
        await press.read_input_registers(0, count=3, device_id=1)
        with pytest.raises(LedgerError, match=r"ledger\.db: no such table: served"):
            await asyncio.wait_for(task, GUARD_S)


def test_the_process_tells_where_it_listens_and_stops_in_order(tmp_path: Path) -> None:
    with process(tmp_path, FREE + "cycle_s: 0.2\n") as child:
        assert child.stdout is not None
        endpoints = json.loads(child.stdout.readline())
        assert set(endpoints) == {"press", "meter", "bench", "ledger"}
        assert endpoints["ledger"] == str(tmp_path / "ledger.db")
        for name in ("press", "meter", "bench"):
            port = int(endpoints[name].rsplit(":", 1)[1])
            with socket.create_connection(("127.0.0.1", port), GUARD_S):
                pass
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=GUARD_S)
        assert (child.returncode, out, err) == (0, "", "")
    assert len(read_parts(tmp_path / "ledger.db")) <= 1


def test_the_process_names_the_address_that_it_cant_have(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with process(tmp_path, FREE.replace("bench_port: 0", f"bench_port: {port}")) as child:
            out, err = child.communicate(timeout=GUARD_S)
    assert (child.returncode, out) == (5, "")
    assert err == f"cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_the_process_names_every_mistake_in_its_file(tmp_path: Path) -> None:
    with process(tmp_path, "seed: -1\nhost: 0.0.0.0\nperss_port: 1\n") as child:
        out, err = child.communicate(timeout=GUARD_S)
    assert (child.returncode, out) == (2, "")
    lines = err.splitlines()
    assert [line.split(":")[1] for line in lines] == ["1", "2", "3"]
    assert "Traceback" not in err


def test_the_process_names_a_ledger_that_it_cant_write(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("this is no database, whatever its name says " * 20)
    with process(tmp_path, FREE) as child:
        out, err = child.communicate(timeout=GUARD_S)
    assert (child.returncode, out) == (4, "")
    assert err == f"ledger {tmp_path / 'ledger.db'}: file is not a database\n"
