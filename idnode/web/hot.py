"""The hot route: resolutions answered where their bytes arrive, without a task, an event or a framework.

A request that is whole in what came, is GET or HEAD for an identifier and bears nothing out of the ordinary is answered at once,
from the cache or by stepping the resolution in place; where it has to be waited for, by a task that is the resolution and nothing
else. Whatever else goes uvicorn's way through its parser; all ways end in the same Front, and
`tests/idnode/test_hot_matches.py` holds their answers against each other byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Coroutine
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from idnode.operations.meter import REFUSED
from idnode.operations.report import Panel
from idnode.store.base import Store, StoreError
from idnode.store.remembering import Remembering
from idnode.web.answers import Answer, problem_answer
from idnode.web.digital_link import DIGITAL_LINKS
from idnode.web.front import HANDLES, Front, face_of, is_foreign, is_hot
from idnode.web.hot_cache import AnswerCache, Kept
from idnode.web.manner import Learned, Manner, Manners
from idnode.web.postbox import Postbox
from idnode.web.problems import too_many

_TARGET = re.compile(rb"/[A-Za-z0-9/._~!$&'()*+,;=:@%?-]*")
"""What every parser of URLs takes alike; others go uvicorn's way."""
_LONGEST_TARGET = 8192
_VERSION = b" HTTP/1.1\r\n"
_END = b"\r\n\r\n"
_HANDLES = (HANDLES, b"/88.", b"/86.")
"""Most requests: no Digital Link begins so."""


class Hot:
    """What the connections of one process share."""

    def __init__(self, front: Front, store: Store, panel: Panel, most_bytes: int, *, in_place: bool) -> None:
        """
        Args:
            store: the node's.
            most_bytes: of the cache.
            in_place: the store reads without suspending, so that a resolution can be stepped here, but for what lives on another
                node. Else each is waited for that isn't kept.
        """
        self.cache: AnswerCache[Kept] = AnswerCache(most_bytes)
        self.manners = Manners()
        self.postbox = Postbox()
        """Of what is answered in place."""
        self.gauge = panel.meter
        self.limits = panel.limits
        self.slow = panel.slow
        self.limited = panel.limits.addresses is not None or panel.limits.prefixes is not None
        self._refresh = store.refresh
        self._front = front.beside(Remembering(store))
        self._in_place = in_place
        self._keeps = most_bytes > 0
        self._fields: list[tuple[bytes, bytes]] | None = None
        self._openings: dict[int, bytes] = {}
        store.watch(self.cache.forget)

    def renew(self) -> None:
        """Forget what has changed, by whomever. When the store can't tell, everything: the way to it meets its error."""
        try:
            self._refresh()
        except StoreError:
            self.cache.forget(None)

    def begin(self) -> tuple[Front, int]:
        """See Keeper: what is remembered here spares uvicorn's way a question to the store too."""
        self.renew()
        return self._front, self.cache.forgotten

    def keep(self, mark: int, target: bytes, manner: Manner, answer: Answer) -> None:
        """Take an answer that was made elsewhere, unless something has changed since."""
        if answer.key is not None and self._keeps and not self._in_place and self.cache.forgotten == mark:
            kept = Kept(answer)
            kept.count = self.gauge.counter(face_of(target, manner), kept.owner, answer.counted or kept.status)
            self.cache.keep(manner.variant, cache_target(target, manner), kept)

    def opening(self, status: int, fields: list[tuple[bytes, bytes]]) -> bytes:
        """The status line and the fields of every answer, which uvicorn renews each second."""
        if fields is not self._fields:
            self._fields = fields
            self._openings.clear()
        opening = self._openings.get(status)
        if opening is None:
            lines = (b"%s: %s\r\n" % field for field in fields)
            opening = self._openings[status] = b"".join((STATUS_LINE[status], *lines))
        return opening

    def admit(self, caller: str, now_s: float) -> Kept | None:
        """None, or the answer to a caller who asks too often."""
        wait_s = self.limits.wait_s(caller, now_s)
        return self._too_many(wait_s, "") if wait_s else None

    def spare(self, kept: Kept, now_s: float) -> Kept:
        """The answer, or the one that its prefix is asked for too often."""
        wait_s = self.limits.prefix_wait_s(kept.owner, now_s)
        return self._too_many(wait_s, kept.owner) if wait_s else kept

    def _too_many(self, wait_s: int, owner: str) -> Kept:
        refused = Kept(problem_answer(too_many(wait_s)))
        refused.count = self.gauge.counter(REFUSED, owner, refused.status)
        return refused

    def find(self, learned: Learned, target: bytes) -> Kept | None:
        """The answer; None where there is none at once: see ask()."""
        manner = learned.manner
        kept = self.cache.find(learned.variant, cache_target(target, manner)) if manner.authorization is None else None
        if kept is None and self._in_place:
            kept = self._make(learned, target)
        return None if kept is None else self._for_client(learned, target, kept)

    def ask(self, learned: Learned, target: bytes) -> Coroutine[Any, Any, Kept] | None:
        """What find() doesn't find, to be waited for in a task; None where the request has to go uvicorn's way.

        Raises, when it is waited for:
            Exception: uvicorn's way meets it again, logs it and answers 500.
        """
        asked = _asked(learned, target)
        return None if asked is None else self._wait(learned, target, asked, self.cache.forgotten)

    async def _wait(self, learned: Learned, target: bytes, asked: tuple[bytes, bytes], mark: int) -> Kept:
        answer = await self._front.whole(*asked, learned.manner)
        kept = self._kept(learned, target, asked[0], answer, keeps=self.cache.forgotten == mark)
        return self._for_client(learned, target, kept)

    def _for_client(self, learned: Learned, target: bytes, kept: Kept) -> Kept:
        if learned.manner.if_none_match is None:
            return kept
        chosen = kept.for_client(learned.manner.if_none_match)
        chosen.count = chosen.count or self._counter(target, learned, chosen)
        return chosen

    def _make(self, learned: Learned, target: bytes) -> Kept | None:
        asked = _asked(learned, target)
        if asked is None or (answer := self._step(*asked, learned)) is None:
            return None
        return self._kept(learned, target, asked[0], answer, keeps=True)

    def _kept(self, learned: Learned, target: bytes, path: bytes, answer: Answer, *, keeps: bool) -> Kept:
        kept = Kept(answer)
        kept.count = self.gauge.counter(face_of(path, learned.manner), kept.owner, answer.counted or kept.status)
        if answer.key is not None and self._keeps and keeps:
            self.cache.keep(learned.variant, cache_target(target, learned.manner), kept)
        return kept

    def _counter(self, target: bytes, learned: Learned, kept: Kept) -> list[int]:
        return self.gauge.counter(face_of(target, learned.manner), kept.owner, kept.status)

    def _step(self, path: bytes, query: bytes, learned: Learned) -> Answer | None:
        answering = self._front.whole(path, query, learned.manner)
        try:
            answering.send(None)
        except StopIteration as done:
            answer: Answer = done.value
            return answer
        except Exception:  # noqa: BLE001 a task may do it; else uvicorn's way meets it again, logs it and answers 500
            return None
        answering.close()  # another node has to be waited for: see ask()
        return None


def is_hot_request(learned: Learned, target: bytes) -> bool:
    """Whether find() or ask() answer it."""
    return _asked(learned, target) is not None


def parting(answer: bytes) -> bytes:
    """The last answer of its connection."""
    line, _, rest = answer.partition(b"\r\n")
    return b"%s\r\nconnection: close\r\n%s" % (line, rest)


def _asked(learned: Learned, target: bytes) -> tuple[bytes, bytes] | None:
    """Path and query of what is hot; None where it isn't."""
    if _TARGET.fullmatch(target) is None:
        return None
    path, _, query = target.partition(b"?")
    if not is_hot(path):
        return None
    authorization = learned.manner.authorization
    if authorization is not None and path.startswith(HANDLES) and is_foreign(authorization):
        return None
    return path, query


def cache_target(target: bytes, manner: Manner) -> bytes:
    """What answers are kept by: of a Digital Link all that is accepted, by which links are chosen, and not its variant alone."""
    if target.startswith(_HANDLES) or not target.startswith(DIGITAL_LINKS):
        return target
    return target + manner.wants


def take_request(data: bytes, position: int, manners: Manners) -> tuple[bool, bytes, Learned, int] | None:
    """The request at that place: (whether it is HEAD, target, what its fields ask, where the next begins); None: it isn't hot."""
    if data.startswith(b"GET ", position):
        head, start = False, position + 4
    elif data.startswith(b"HEAD ", position):
        head, start = True, position + 5
    else:
        return None
    line_end = data.find(_VERSION, start, start + _LONGEST_TARGET)
    if line_end < 0:
        return None
    block = line_end + len(_VERSION)
    end = data.find(_END, block - 2)
    if end < 0:
        return None
    learned = manners.learn(data[block : end + 4])
    return None if learned is None else (head, data[start:line_end], learned, end + 4)
