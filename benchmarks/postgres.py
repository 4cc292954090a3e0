"""A PostgreSQL server for a while: Debian's programs, on loopback, in a folder of its own under the temporary one.

PostgreSQL refuses to run as root; then it runs as Debian's user `postgres`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

USER = "mumian"
DATABASE = "idnode"
_PATIENCE_S = 60.0
_SETTINGS: Mapping[str, object] = {
    "listen_addresses": "127.0.0.1",
    "max_wal_senders": 5,
    "max_connections": 60,
    "wal_keep_size": "64MB",
    "log_min_messages": "warning",
    "hot_standby": "on",
    # What a test's standby waits for at most.
    "wal_retrieve_retry_interval": "100ms",
    "autovacuum_naptime": "10s",
}


def binaries() -> list[str]:
    """Where Debian keeps the server's programs, the newest version first."""
    found = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    return [str(path.parent) for path in sorted(found, key=lambda each: -float(each.parts[4]))]


class Postgres:
    """A server on a port of 127.0.0.1 that it keeps over kills and restarts. Nothing runs before start()."""

    def __init__(self, settings: Mapping[str, object] | None = None) -> None:
        """`settings`: of postgresql.conf, besides those here."""
        self._bin = Path(binaries()[0])
        self._as: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        self.folder = Path(tempfile.mkdtemp(prefix="mumian-pg-"))
        if self._as:
            account = pwd.getpwnam("postgres")
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self._settings = {**_SETTINGS, **(settings or {}), "unix_socket_directories": self.folder}
        self._take_port()
        self._process: subprocess.Popen[bytes] | None = None

    def _take_port(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._settings["port"] = self.port

    @property
    def address(self) -> str:
        """host:port"""
        return f"127.0.0.1:{self.port}"

    def url(self, database: str = DATABASE, *others: Postgres) -> str:
        """As whom everyone may do everything; `others`: servers that may be the primary too."""
        return f"postgresql://{USER}@{','.join(each.address for each in (self, *others))}/{database}"

    def make(self) -> Self:
        """An empty cluster, and the database in it."""
        self._do("initdb", "-D", self._data, "-U", USER, "--auth=trust", "--no-locale", "--encoding=UTF8", "--no-sync")
        (self._data / "pg_hba.conf").write_text(
            "host all guarded 127.0.0.1/32 scram-sha-256\nlocal all all trust\n"
            "host all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n",
            encoding="ascii",
        )
        self._take_port()  # another may have got the first one while the cluster was made
        self.start()
        self.sql(f"CREATE DATABASE {DATABASE}", "postgres")
        return self

    def make_standby_of(self, primary: Postgres, name: str = "standby") -> Self:
        """A hot standby that streams from a running primary, by a slot of its name."""
        source = f"host=127.0.0.1 port={primary.port} user={USER} application_name={name}"
        self._do(
            "pg_basebackup", "-D", self._data, "-d", source, "-R", "-X", "stream", "-c", "fast", "--no-sync", "-C", "-S", name
        )
        self._take_port()
        return self.start()

    def archive(self) -> Path:
        """Keep the write-ahead log from now on, by files that are full or switched, in the folder that this returns."""
        kept = self._own_folder("archive")
        self._settings |= {"archive_mode": "on", "archive_command": f"test ! -f {kept}/%f && cp %p {kept}/%f"}
        self.stop()
        self.start()
        return kept

    def back_up(self) -> Path:
        """A copy of the running cluster, without the log that is written meanwhile: that is in the archive."""
        copy = self._own_folder("base")
        source = f"host=127.0.0.1 port={self.port} user={USER}"
        self._do("pg_basebackup", "-D", copy, "-d", source, "-X", "none", "-c", "fast", "--no-sync", "--no-manifest")
        return copy

    def make_as_of(self, base: Path, archive: Path, moment: str) -> Self:
        """The cluster as it was at a moment: a back_up() and the log up to there."""
        subprocess.run(["cp", "-a", base, self._data], check=True)
        self._settings |= {"restore_command": f"cp {archive}/%f %p", "recovery_target_time": moment}
        self._settings |= {"recovery_target_action": "promote"}
        (self._data / "recovery.signal").touch()
        self.start()
        deadline = time.monotonic() + _PATIENCE_S
        while self.sql("SELECT pg_is_in_recovery()", "postgres") != "f":
            if time.monotonic() > deadline:
                raise RuntimeError("the moment isn't reached")
            time.sleep(0.02)
        return self

    def _own_folder(self, name: str) -> Path:
        made = self.folder / name
        made.mkdir(mode=0o700)
        if self._as:
            os.chown(made, self.folder.stat().st_uid, self.folder.stat().st_gid)
        return made

    def start(self) -> Self:
        """Run it and return when it answers.

        Raises:
            RuntimeError: it doesn't in time, with what it said.
        """
        assert self._process is None, "it runs already"
        lines = [f"{name} = '{value}'\n" for name, value in self._settings.items()]
        (self._data / "postgresql.conf").write_text("".join(lines), encoding="ascii")
        with (self.folder / "log").open("ab") as log:
            command = [str(self._bin / "postgres"), "-D", str(self._data)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, start_new_session=True, **self._as)
        deadline = time.monotonic() + _PATIENCE_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "log").read_text("utf-8", "replace")[-1000:]
                self.kill()
                raise RuntimeError(f"PostgreSQL doesn't run on port {self.port}: {said}")
            time.sleep(0.02)
        return self

    def _answers(self) -> bool:
        asked = [str(self._bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER]
        return subprocess.run(asked, check=False, cwd=self.folder).returncode == 0

    def sql(self, script: str, database: str = DATABASE) -> str:
        """What psql prints, rows without frills."""
        command = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", script]
        return self._do("psql", *command, own=False)

    def set(self, name: str, value: str) -> None:
        """Change a setting of the running server."""
        self.sql(f"ALTER SYSTEM SET {name} = '{value}'", "postgres")
        self.sql("SELECT pg_reload_conf()", "postgres")

    def promote(self) -> None:
        """Make a standby the primary; returns when it is."""
        self.sql("SELECT pg_promote()", "postgres")

    def stop(self) -> None:
        """End it, its clients' connections too (SIGINT, a fast shutdown). Safe twice."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL to all its processes: what isn't on the disk is lost to it. Safe twice."""
        if self._process is not None and self._process.poll() is None:
            for child in self._children(self._process.pid):
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it hang until resume(): connections stay, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """End a pause()."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        for process in (self._process.pid, *self._children(self._process.pid)):
            with suppress(ProcessLookupError):
                os.kill(process, number)

    @staticmethod
    def _children(process: int) -> list[int]:
        return [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text("ascii").split()]

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def remove(self) -> None:
        """End it and delete all of it."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.remove()

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def program(self, name: str) -> str:
        """The path of one of PostgreSQL's programs."""
        return str(self._bin / name)

    def _do(self, program: str, *arguments: object, own: bool = True) -> str:
        """`own`: as the user that the server runs as."""
        command = [self.program(program), *map(str, arguments)]
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            timeout=_PATIENCE_S,
            **(self._as if own else {}),
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.strip() or done.stdout.strip()}")
        return str(done.stdout).strip()
