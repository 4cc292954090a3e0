"""A PostgreSQL server for the tests of a session, started by the first that needs it."""

from __future__ import annotations

import atexit
import subprocess
from functools import cache

from benchmarks.postgres import Postgres
from tests.services import require_service

_EMPTY = """
    DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
            AND relname <> 'idnode_schema'
        LOOP EXECUTE format('DELETE FROM %I', name); END LOOP;
    END $$"""


@cache
def _server() -> Postgres:
    server = Postgres()
    atexit.register(server.remove)
    return server.make()


def shared_server() -> Postgres:
    """The one server of this run. Skips the test, or fails it in CI, where PostgreSQL isn't installed."""
    require_service("postgres")
    return _server()


def emptied(server: Postgres) -> str:
    """The URL of its database, with nothing in it that an earlier test left."""
    psql = _psql()
    assert psql.stdin is not None
    assert psql.stdout is not None
    psql.stdin.write(f"{_EMPTY};\n\\echo empty\n")
    psql.stdin.flush()
    assert psql.stdout.readline() == "empty\n"
    return server.url()


@cache
def _psql() -> subprocess.Popen[str]:
    """One that stays: to start it costs more than many a test."""
    server = _server()
    command = [server.program("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", server.url()]
    made = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def end() -> None:
        made.communicate()

    atexit.register(end)
    return made
