"""What a store has from which another one can be made while it is being used."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Movable(Protocol):
    """A store from which another one can be made while it is being used (mumian idnode migrate-store)."""

    async def hold(self, seconds: float) -> None:
        """Let all changes wait until release() or leave(), for so long at most; returns when none is under way.

        Raises:
            StoreAway: it is held already, or has moved.
        """

    async def release(self) -> None:
        """Let them go on. Safe at any time."""

    async def leave(self) -> None:
        """Take no change any more, for good, now and whenever it is opened: StoreAway. Reads go on.

        Raises:
            StoreAway: it isn't held, or no longer: changes may have been made.
        """
