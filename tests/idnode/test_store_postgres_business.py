"""The store in PostgreSQL against the contract of the business, and what only a server with several nodes can show."""

from __future__ import annotations

from pathlib import Path

import pytest

from idnode.store.base import Store
from idnode.store.postgres.store import Place, PostgresStore
from tests.contracts.idnode_business import BusinessContract
from tests.idnode.postgres import emptied, shared_server

pytestmark = pytest.mark.services


class TestPostgresBusiness(BusinessContract):
    @pytest.fixture(autouse=True)
    def _server(self) -> None:
        self.url = emptied(shared_server())

    def open(self, folder: Path) -> Store:
        return PostgresStore(Place(self.url))
