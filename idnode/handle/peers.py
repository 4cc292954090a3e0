"""Challenges and sessions wherever they are kept: in this process, or in the one whose slot their number bears."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from idnode.handle.sessions import Challenge, Session, Sessions, slot_of

Ask = Callable[[int, bytes], Awaitable[bytes | None]]
"""Has the process of a slot answer a call (answer_peer()); None where there is none."""


T = TypeVar("T")


class _Call(msgspec.Struct, array_like=True):
    name: str
    number: int
    counter: int = 0
    key: bytes = b""
    caller: str = ""


_calls = msgspec.msgpack.Decoder(_Call)
_challenges: msgspec.msgpack.Decoder[Challenge | None] = msgspec.msgpack.Decoder(Challenge | None)
_sessions: msgspec.msgpack.Decoder[Session | None] = msgspec.msgpack.Decoder(Session | None)
_truths = msgspec.msgpack.Decoder(bool)
_NO = False
_NOTHING = msgspec.msgpack.encode(None)


async def nobody(_slot: int, _call: bytes) -> bytes | None:
    """Where there is one process only."""
    return None


class Everywhere:
    """What one process finds of all."""

    def __init__(self, own: Sessions, ask: Ask = nobody) -> None:
        self.own = own
        self._ask = ask

    async def challenge(self, caller: str, challenge: Challenge, session: int, now_s: float) -> int:
        """See Sessions; one that came in a session waits where the session is kept."""
        if session and slot_of(session) != self.own.slot:
            call = _Call("pend", session, key=msgspec.msgpack.encode(challenge), caller=caller)
            if await self._other(call, _truths, _NO):
                return session
        return self.own.challenge(caller, challenge, session, now_s)

    async def take_challenge(self, number: int, now_s: float) -> Challenge | None:
        """See Sessions."""
        if slot_of(number) == self.own.slot:
            return self.own.take_challenge(number, now_s)
        return await self._other(_Call("challenge", number), _challenges, None)

    async def session(self, number: int, now_s: float) -> Session | None:
        """See Sessions."""
        if slot_of(number) == self.own.slot:
            return self.own.session(number, now_s)
        return await self._other(_Call("session", number), _sessions, None)

    async def give_key(self, number: int, key: bytes, now_s: float) -> bool:
        """See Sessions."""
        if slot_of(number) == self.own.slot:
            return self.own.give_key(number, key, now_s)
        return await self._other(_Call("key", number, key=key), _truths, _NO)

    async def mark(self, number: int, counter: int, now_s: float) -> bool:
        """See Sessions."""
        if slot_of(number) == self.own.slot:
            return self.own.mark(number, counter, now_s)
        return await self._other(_Call("mark", number, counter), _truths, _NO)

    async def end(self, number: int) -> None:
        """See Sessions."""
        if slot_of(number) == self.own.slot:
            self.own.end(number)
        else:
            await self._ask(slot_of(number), msgspec.msgpack.encode(_Call("end", number)))

    async def _other(self, call: _Call, decoder: msgspec.msgpack.Decoder[T], absent: T) -> T:
        answer = await self._ask(slot_of(call.number), msgspec.msgpack.encode(call))
        return decoder.decode(answer) if answer else absent


def answer_peer(own: Sessions, asked: bytes, now_s: float) -> bytes:
    """Answer what another process of the node asks of those that are kept here."""
    call = _calls.decode(asked)
    match call.name:
        case "challenge":
            return msgspec.msgpack.encode(own.take_challenge(call.number, now_s))
        case "pend":
            is_there = own.session(call.number, now_s) is not None
            if is_there:
                own.challenge(call.caller, msgspec.msgpack.decode(call.key, type=Challenge), call.number, now_s)
            return msgspec.msgpack.encode(is_there)
        case "session":
            return msgspec.msgpack.encode(own.session(call.number, now_s))
        case "key":
            return msgspec.msgpack.encode(own.give_key(call.number, call.key, now_s))
        case "mark":
            return msgspec.msgpack.encode(own.mark(call.number, call.counter, now_s))
        case "end":
            own.end(call.number)
    return _NOTHING
