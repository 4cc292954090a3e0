"""What registers in the measurements of benchmarks.register, and how fast it is."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial

import msgspec

from idnode.enterprise import Name, Visibility
from idnode.identifier import Identifier
from idnode.record import Registered, Registration, text_value
from idnode.store.base import Store
from idnode.store.content import encode_registration
from idnode.store.registry import put_enterprise

PIECE = 5000
"""Rows in one transaction."""
CLIENTS = 64
"""Who register one by one at once."""
READS = 20_000
PREFIX = "88.100.1"
OWNERS = ("nobody", "enterprise", "limited")
"""Whose PREFIX is: nobody's, so that nothing is counted; an enterprise's; one's that has a quota."""
CONTENT_BYTES = 1024
Reference = Callable[[Sequence[tuple[str, bytes]]], Awaitable[None]]
"""Puts (key, content) into a table of the store's form, with the transactions of bulk()."""


async def settle_owner(store: Store, owner: str) -> None:
    """Have PREFIX owned as OWNERS say."""
    if owner == "nobody":
        return
    made = await store.add_enterprise("pumpworks", Name("泵", "Pump"), Visibility.PUBLIC, PREFIX.rpartition(".")[0], "admin", 1)
    assert made.prefix == PREFIX
    if owner == "limited":
        await store.write([put_enterprise(msgspec.structs.replace(made, quota=10**9))], "admin", 2)


def registrations(first: int, count: int) -> list[Registration]:
    """With what a pump's identifier may say: seven values, CONTENT_BYTES as they are stored."""
    return [_registration(number) for number in range(first, first + count)]


def _registration(number: int) -> Registration:
    noise = random.Random(number)
    serial = f"SN-2026-{number:09d}"
    texts = {
        "MADE": "2026-11-28T12:00:00.000Z",
        "PRODUCT": f"离心泵 CDL32-{number % 90}",
        "SERIAL": serial,
        "URL": f"https://pumps.example.cn/products/cdl32/units/{serial}",
        "ORDER": f"urn:mumian:order:{number % 1000}",
        "TEST": f'{{"flow":{noise.uniform(30, 35):.3f},"head":{noise.uniform(38, 42):.3f},"passed":true}}',
    }
    values = [text_value(2000 + place, kind, text) for place, (kind, text) in enumerate(texts.items())]
    bare = Registration(Identifier(PREFIX, f"P{number:08d}"), (*values, text_value(2010, "DATA", "")))
    filling = noise.randbytes(CONTENT_BYTES).hex()[: CONTENT_BYTES - len(encode_registration(bare))]
    return Registration(bare.identifier, (*values, text_value(2010, "DATA", filling)))


async def timed(act: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """How long it takes, and what this process computes meanwhile, on all its threads: seconds both."""
    began, used = time.perf_counter(), time.process_time()
    await act()
    return time.perf_counter() - began, time.process_time() - used


async def bulk(store: Store, job: str, new: Sequence[Registration]) -> None:
    """As a job."""
    await store.begin_job(job, "pumpworks", "pumpworks:line", 1)
    for first in range(0, len(new), PIECE):
        await store.advance_job(job, first, new[first : first + PIECE], 2)
    done = await store.finish_job(job, 3)
    assert done.created == len(new), done


async def singly(store: Store, new: Sequence[Registration]) -> None:
    """One by one, by CLIENTS who each wait for theirs."""
    left = iter(new)

    async def client() -> None:
        for each in left:
            assert await store.register([each], "pumpworks:line", 2) == [Registered.CREATED]

    await asyncio.gather(*(client() for _ in range(CLIENTS)))


async def read_us(store: Store, count: int) -> float:
    """Microseconds for one record out of `count`, read and decoded."""
    draw = random.Random(1)
    wanted = [Identifier(PREFIX, f"P{draw.randrange(count):08d}") for _ in range(READS)]
    began = time.perf_counter()
    for each in wanted:
        assert await store.record(each) is not None
    return (time.perf_counter() - began) / READS * 1e6


def _rounds(rounds: int, rows: int, first: int) -> Iterator[tuple[list[Registration], list[Registration]]]:
    few = rows // 20
    for _ in range(rounds):
        yield registrations(first, rows), registrations(first + rows, few)
        first += rows + few


async def compare(
    store: Store, references: Mapping[str, Reference], rounds: int, rows: int, identifiers: int
) -> dict[str, float]:
    """Registration into a store, in the same rounds with what its database takes plainly."""
    for first in range(0, identifiers, 4 * PIECE):
        await bulk(store, f"fill-{first}", registrations(first, min(4 * PIECE, identifiers - first)))
    names = ("register_bulk_rps", "register_single_rps", "register_bulk_cpu_us", "register_single_cpu_us", *references)
    rates: dict[str, list[float]] = {name: [] for name in names}

    async def measured(name: str, count: int, act: Callable[[], Awaitable[object]]) -> None:
        took_s, used_s = await timed(act)
        rates[f"{name}_rps"].append(count / took_s)
        rates[f"{name}_cpu_us"].append(used_s / count * 1e6)

    for number, (many, few) in enumerate(_rounds(rounds, rows, identifiers)):
        plain = [(each.identifier.key, encode_registration(each)) for each in many]
        await measured("register_bulk", rows, partial(bulk, store, f"job-{number}", many))
        for name, insert in references.items():
            rates[name].append(rows / (await timed(partial(insert, plain)))[0])
        await measured("register_single", len(few), partial(singly, store, few))
    count = identifiers + rounds * (rows + rows // 20)
    per_read = await read_us(store, count)
    medians = {name: round(statistics.median(rates[name]), 1 if name.endswith("_us") else 0) for name in names}
    return {"identifiers": count, **medians, "read_us": round(per_read, 1)}
