"""What benchmarks.resolve asks, as processes of their own: a node with identifiers of 1 KB in SQLite, and nginx with a file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.registration import PREFIX, registrations
from idnode.enterprise import Name, Visibility
from idnode.identifier import Identifier
from idnode.store.base import Store
from idnode.store.postgres.store import Place, PostgresStore
from idnode.store.sqlite import SqliteStore, open_store

_BATCH = 2000
_SERVE = """
import sys
from pathlib import Path
from config.documents import load
from idnode.settings import IdnodeSettings
from idnode.web.server import serve
sys.exit(serve(load(Path(sys.argv[1]), IdnodeSettings)))
"""
_PATIENCE_S = 30


def fill(path: Path, count: int) -> float:
    """Make the store with that many identifiers, or add those that it lacks; returns identifiers registered per second."""

    async def run() -> float:
        return await _fill(open_store(path), count)

    return asyncio.run(run())


def fill_postgres(url: str, count: int) -> float:
    """See fill()."""

    async def run() -> float:
        store = PostgresStore(Place(url))
        await store.start()
        return await _fill(store, count)

    return asyncio.run(run())


async def _fill(store: SqliteStore | PostgresStore, count: int) -> float:
    if await store.enterprise_of(PREFIX) is None:
        await store.add_enterprise("pumpworks", Name("木棉泵业", "Mumian Pump Works"), Visibility.PUBLIC, "88.100", "admin", 1)
    began = time.monotonic()
    first = await _present(store, count)
    for start in range(first, count, _BATCH):
        await store.register(registrations(start, min(_BATCH, count - start)), "pumpworks:bench", 1_790_000_000_000)
    await store.close()
    return (count - first) / (time.monotonic() - began)


async def _present(store: Store, count: int) -> int:
    """How many of so many are there; they were registered in order."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if await store.record(Identifier(PREFIX, f"P{middle:08d}")) is None:
            high = middle
        else:
            low = middle + 1
    return low


class NodeProcess:
    """A node over the store in a folder, on the given cores."""

    def __init__(self, folder: Path, cores: str, **settings: object) -> None:
        content = {
            "node_prefix": "88.100",
            "name": {"zh": "木棉", "en": "Mumian"},
            "listen": "127.0.0.1:0",
            "store": {"path": "idnode.db"},
            "admin_token_file": "admin.token",
            **settings,
        }
        path = folder / "node.yaml"
        path.write_text(json.dumps(content), "utf-8")
        command = ["taskset", "-c", cores, sys.executable, "-c", _SERVE, str(path)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the node ended with {self.process.wait()}")
        told = json.loads(line)
        self.url: str = told["url"]
        self.handle: str = told.get("handle", "")
        """Address and port of the Handle wire protocol, where it is spoken."""

    def rss_mb(self) -> float:
        """Resident memory of the largest of its processes."""
        return max(_rss_kb(pid) for pid in self.family()) / 1024

    def cpu_s(self) -> float:
        """CPU time of all its processes."""
        return sum(map(cpu_s, self.family()))

    def family(self) -> list[int]:
        """Its process, and the workers that it has started."""
        return _family(self.process.pid)

    def stop(self) -> None:
        """End it."""
        with self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(_PATIENCE_S)


def cpu_s(pid: int) -> float:
    """CPU time of a process, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return [pid, *(int(child) for child in children)]


def _rss_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


@contextlib.contextmanager
def nginx(folder: Path, core: str, size: int) -> Iterator[tuple[str, int]]:
    """nginx, one process on a core, with a static file of that size; its URL and process."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None:
        raise SystemExit("nginx is missing: apt-get install nginx-light")
    place = folder / "nginx"
    shutil.rmtree(place, ignore_errors=True)
    (place / "api/handles").mkdir(parents=True)
    (place / "static").write_bytes(b"x" * size)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (place / "nginx.conf").write_text(
        "daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log error.log crit;\n"
        "events { worker_connections 1024; }\n"
        "http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; open_file_cache max=100;\n"
        "client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;\n"
        f"server {{ listen 127.0.0.1:{port}; location / {{ root {place}; try_files /static =404; }} }} }}\n",
        "ascii",
    )
    command = ["taskset", "-c", core, program, "-p", str(place), "-e", "error.log", "-c", str(place / "nginx.conf")]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        _wait_port(port)
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(_PATIENCE_S)


def _wait_port(port: int) -> None:
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nobody listens on {port}")
