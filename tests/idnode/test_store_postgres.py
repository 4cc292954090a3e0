"""The store in PostgreSQL against the contract, and what only a server can show."""

from __future__ import annotations

from pathlib import Path

import pytest

from idnode.store.base import Store
from idnode.store.postgres.store import Place, PostgresStore
from tests.contracts.idnode_store_contract import DurableStoreContract
from tests.idnode.postgres import emptied, shared_server

pytestmark = pytest.mark.services


class TestPostgresStore(DurableStoreContract):
    @pytest.fixture(autouse=True)
    def _server(self) -> None:
        self.url = emptied(shared_server())

    def open(self, folder: Path) -> Store:
        return PostgresStore(Place(self.url))
