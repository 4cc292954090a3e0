"""A PostgreSQL server for the tests of a session, started by the first that needs it."""

from __future__ import annotations

import atexit
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
    server.sql(_EMPTY)
    return server.url()
