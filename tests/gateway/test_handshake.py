"""The handshake against a model of the PLC: every order of events, every moment of a crash, up to a few parts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations

import pytest

from gateway.products.handshake import Phase, Standing, Step, View, next_step, write_due

PARTS = 3
CRASHES = 2
PLC_RESTARTS = 1
NOTHING = Standing()


@dataclass(frozen=True)
class World:
    """PLC, wire, disk and memory at one moment. Hashable, so that each is looked at once."""

    # The PLC.
    part: int = 1
    complete: bool = False
    ack: bool = False
    # What the PLC has sent and the gateway hasn't seen, oldest first.
    wire: tuple[tuple[str, object], ...] = ()
    # On the gateway's disk.
    standing: Standing = NOTHING
    products: tuple[str, ...] = ()
    """Part key of each product event, in order."""
    # In its memory.
    seen: tuple[tuple[str, object], ...] = ()
    crashes: int = 0
    restarts: int = 0

    @property
    def view(self) -> View:
        seen = dict(self.seen)
        return View(seen.get("complete"), seen.get("ack"), seen.get("part"))  # type: ignore[arg-type]


def plc_moves(world: World) -> Iterator[World]:
    """What the PLC may do now; it sends each change."""
    if not world.complete and not world.ack and world.part <= PARTS:
        yield replace(world, complete=True, wire=(*world.wire, ("complete", True)))
    if world.complete and world.ack:
        yield replace(world, complete=False, wire=(*world.wire, ("complete", False)))
    # Once its part is acknowledged and ack has fallen, the next one begins.
    if not world.complete and not world.ack and str(world.part) in world.products and world.part < PARTS:
        yield replace(world, part=world.part + 1, wire=(*world.wire, ("part", str(world.part + 1))))


def plc_restarts(world: World) -> Iterator[World]:
    """Its power fails: the link breaks; the part it holds, complete or not, stays."""
    if world.restarts < PLC_RESTARTS:
        yield from reconnected(replace(world, restarts=world.restarts + 1))


def reconnected(world: World) -> Iterator[World]:
    """Nothing is known; the server sends the present values in any order."""
    present = (("complete", world.complete), ("ack", world.ack), ("part", str(world.part)))
    for order in permutations(present):
        yield replace(world, seen=(), wire=order)


def gateway_moves(world: World) -> Iterator[World]:
    """What the gateway may do now, and what is left when it is killed in the middle."""
    if world.wire:
        # A notification carries one change or all that wait.
        for count in {1, len(world.wire)}:
            seen = {**dict(world.seen), **dict(world.wire[:count])}
            yield replace(world, wire=world.wire[count:], seen=tuple(sorted(seen.items())))
    view, standing = world.view, world.standing
    step = next_step(standing, view)
    if step is Step.ASSIGN:
        assert view.part is not None
        assigned = Standing(Phase.ASSIGNED, view.part, f"88.1/{len(world.products)}", standing.made + 1)
        yield replace(world, standing=assigned, products=(*world.products, view.part))
    elif step is Step.RESUME:
        yield replace(world, standing=Standing(Phase.ASSIGNED, standing.part, standing.identifier, standing.made))
    elif step is Step.SETTLE:
        yield replace(world, standing=Standing(Phase.IDLE, standing.part, standing.identifier, standing.made))
    elif (value := write_due(standing, view)) is not None:
        written = replace(world, ack=value, wire=(*world.wire, ("ack", value)))
        confirmed = {**dict(world.seen), "ack": value}
        yield replace(written, seen=tuple(sorted(confirmed.items())))
        if world.crashes < CRASHES:  # written, and killed before the confirmation
            yield from reconnected(replace(written, crashes=world.crashes + 1))
    if world.crashes < CRASHES:
        yield from reconnected(replace(world, crashes=world.crashes + 1))


def explore(starts: Iterator[World]) -> set[World]:
    """Every world that can come about."""
    known = set(starts)
    waiting = deque(known)
    while waiting:
        world = waiting.popleft()
        for after in (*plc_moves(world), *gateway_moves(world), *plc_restarts(world)):
            if after not in known:
                known.add(after)
                waiting.append(after)
    return known


@pytest.fixture(scope="module")
def worlds() -> set[World]:
    return explore(reconnected(World()))


def test_every_order_is_looked_at(worlds: set[World]) -> None:
    assert len(worlds) > 1_000
    assert any(world.crashes == CRASHES and world.restarts == PLC_RESTARTS for world in worlds)


def test_no_part_ever_has_two_products(worlds: set[World]) -> None:
    assert all(len(set(world.products)) == len(world.products) for world in worlds)


def test_ack_is_never_raised_before_the_part_is_on_disk(worlds: set[World]) -> None:
    assert all(str(world.part) in world.products for world in worlds if world.ack)


def test_the_plc_never_gets_an_acknowledgement_of_the_part_before(worlds: set[World]) -> None:
    for world in worlds:
        if world.complete and world.ack:
            assert world.standing.part == str(world.part)


def successors(world: World) -> list[World]:
    """Without crashes and restarts: how it goes on when nothing more goes wrong."""
    calm = replace(world, crashes=CRASHES, restarts=PLC_RESTARTS)
    return [*plc_moves(calm), *gateway_moves(calm)]


def test_from_every_world_all_parts_get_their_product_when_nothing_more_goes_wrong(worlds: set[World]) -> None:
    """No order leads into a place from which the line can't go on."""
    calm = {replace(world, crashes=CRASHES, restarts=PLC_RESTARTS) for world in worlds}
    goals = {world for world in calm if is_finished(world)}
    before: dict[World, list[World]] = {}
    for world in calm:
        for after in successors(world):
            before.setdefault(after, []).append(world)
    reaching = set(goals)
    waiting = deque(goals)
    while waiting:
        for world in before.get(waiting.popleft(), ()):
            if world not in reaching:
                reaching.add(world)
                waiting.append(world)
    assert calm - reaching == set()


def is_finished(world: World) -> bool:
    return (
        sorted(world.products) == [str(n) for n in range(1, PARTS + 1)]
        and world.part == PARTS
        and not world.complete
        and not world.ack
        and world.standing.phase is Phase.IDLE
    )


def test_nothing_is_done_before_all_three_tags_are_known() -> None:
    full = View(complete=True, ack=False, part="1")
    assert next_step(Standing(), full) is Step.ASSIGN
    for name in ("complete", "ack", "part"):
        view = View(full.complete, full.ack, full.part)
        setattr(view, name, None)
        assert next_step(Standing(), view) is Step.NONE
        assert write_due(Standing(Phase.ASSIGNED, "1"), view) is None


def test_a_restarted_plc_that_shows_the_same_part_again_gets_its_acknowledgement_and_no_second_identifier() -> None:
    standing = Standing(Phase.IDLE, "7", "88.1/7", 1)
    assert next_step(standing, View(complete=True, ack=False, part="7")) is Step.RESUME


def test_a_restarted_plc_that_shows_another_part_gets_a_new_identifier_for_it() -> None:
    standing = Standing(Phase.ASSIGNED, "7", "88.1/7", 1)
    view = View(complete=True, ack=False, part="8")
    assert next_step(standing, view) is Step.ASSIGN
    assert write_due(standing, view) is None


def test_an_ack_that_somebody_else_raised_assigns_nothing() -> None:
    assert next_step(Standing(), View(complete=True, ack=True, part="1")) is Step.NONE
