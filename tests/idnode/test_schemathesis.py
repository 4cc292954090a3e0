"""The API is what its description says: schemathesis asks each operation what the description allows, and what it doesn't."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from starlette.types import ASGIApp

from idnode.web.app import make_app
from idnode.web.snms.envelope import ROOTS

from .town import ADMIN, founded

# An identifier's rules, check digits among them, are no pattern: what the description allows may be refused with 422.
_LEFT_OUT: list[Any] = [positive_data_acceptance]
SHORT, LONG = 2, 25
"""Examples of each operation and manner."""


def left_out(path: str) -> list[Any]:
    """Checks that don't hold of an operation."""
    # In the envelope of second-level nodes a refusal is told by its `status`, and HTTP says 200 (docs/snms.md).
    return [*_LEFT_OUT, negative_data_rejection] if path.startswith(ROOTS) else _LEFT_OUT


def ask_all(examples: int, bearer: str | None) -> int:
    """Ask every operation; how many there are. Raises what schemathesis finds, all of it."""

    async def make() -> ASGIApp:
        async with AsyncExitStack() as stack:
            town = await stack.enter_async_context(founded())
            return make_app(town.node)

    application: Any = asyncio.run(make())
    schema = schemathesis.openapi.from_asgi("/openapi.json", application)
    headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
    # A body of over the bound is refused for that, whatever else is wrong with it: 413 beside what schemathesis expects.
    refusals = schema.config.checks.negative_data_rejection
    refusals.expected_statuses = [*refusals.expected_statuses, "413"]
    failures: list[BaseException] = []
    operations = [each.ok() for each in schema.get_all_operations() if isinstance(each, Ok)]
    for operation in operations:
        takes = any(operation.iter_parameters()) or bool(operation.body)
        for mode in GenerationMode if takes else (GenerationMode.POSITIVE,):

            @seed(1)
            @settings(
                max_examples=examples,
                deadline=None,
                database=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: schemathesis.Case[Any]) -> None:
                case.call_and_validate(headers=headers, excluded_checks=left_out(case.operation.path))

            try:
                ask()
            except Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE  # an operation without parameters and body can't be asked wrongly
            except BaseExceptionGroup as failure:
                failures.append(failure)
    if failures:
        raise BaseExceptionGroup("the API isn't as described", failures)
    return len(operations)


def test_the_administrator_finds_the_api_as_it_is_described() -> None:
    assert ask_all(SHORT, ADMIN) > 40


@pytest.mark.long
@pytest.mark.parametrize("bearer", [ADMIN, None])
def test_everybody_finds_the_api_as_it_is_described(bearer: str | None) -> None:
    assert ask_all(LONG, bearer) > 40
