"""One connection: uvicorn's HTTP/1.1 protocol with a short way for hot requests, and limits on what a client may cost.

While no request of this connection is under way and what comes begins at a request's first byte, hot requests are answered in
place; what has to be waited for is waited for in a task. Whatever else goes through uvicorn's parser, in the order in which it
came. A connection never has more unsent answers than its transport takes before it asks to pause, never keeps the loop for more
than a few requests, and never waits for more than one: what it sent beyond waits in `_held`, and nothing more is read from it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from idnode.operations.limits import caller_key
from idnode.web.flow import Flow
from idnode.web.front import ADMITTED
from idnode.web.handle_api.authentication import CERTIFICATE
from idnode.web.hot import Hot, is_hot_request, parting, take_request
from idnode.web.hot_cache import Kept

if TYPE_CHECKING:
    from idnode.web.crowd import Crowd

MOST_HEAD_BYTES = 65_536
"""Of a request's line and fields."""
MOST_IN_A_TURN = 32
"""Hot requests of one connection that are answered before others have their turn."""
_PIECE_OF_HEADS = 2048
_PIECE_OF_BODY = 16_384
"""Bytes that the parser gets at once."""


class HotProtocol(HttpToolsProtocol):
    """See uvicorn's; `hot` and `crowd` are shared by all connections."""

    def __init__(self, hot: Hot, crowd: Crowd, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._hot = hot
        self._crowd = crowd
        self._caller = ""
        self._certificate: bytes | None = None
        """The client's, DER, where it showed one."""
        self._reading: Flow = None  # type: ignore[assignment]  # as uvicorn has it for flow
        self._at_start = True
        """The parser stands between two requests."""
        self._held: bytes | None = None
        self._waits = False
        """For an answer; what came behind its request is held."""
        self._is_admitted = False
        """The next request was let through by the limits already."""
        self._leaving = False
        self._head_bytes = self._fed_bytes = 0
        self._is_too_large = False
        self._broken: str | None = None
        """What is wrong with the bytes behind the last request that was whole."""
        self.active_s = 0.0
        """When it last got on, on the crowd's clock."""
        self.head_since_s: float | None = None
        """When the request began whose head isn't complete."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return self._at_start and self.is_waiting

    @property
    def is_waiting(self) -> bool:
        """Whether no answer is under way."""
        return self._held is None and (self.cycle is None or self.cycle.response_complete)

    @property
    def is_stuck(self) -> bool:
        """Whether the client doesn't take what was written."""
        return self.flow is not None and self.flow.write_paused

    def connection_made(self, transport: Any) -> None:
        """See asyncio."""
        super().connection_made(transport)
        self.flow = self._reading = Flow(transport)
        self.active_s = self._crowd.now_s
        self._caller = caller_key(self.client[0] if self.client else None)
        secured = transport.get_extra_info("ssl_object")
        self._certificate = None if secured is None else secured.getpeercert(binary_form=True)
        if len(self.connections) > self._crowd.most:
            self._refuse(503, b"the node has as many connections as it takes")

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self._held is not None:
            self._held += data
            return
        if self.transport.is_closing() or self._broken is not None:
            return
        if self._at_start and not self._crowd.leaving and (self.cycle is None or self.cycle.response_complete):
            position = self._answer(data)
            if position == len(data) or self._held is not None:
                return
            data = data[position:] if position else data
        self._parse(data)

    def _answer(self, data: bytes) -> int:
        """Answer the hot requests that data begins with; returns where it stopped, or holds the rest."""
        hot, began = self._hot, time.perf_counter()
        position = served = 0
        limited = hot.limited
        while position < len(data):
            request = take_request(data, position, hot.manners)
            if request is None:
                break
            if served == MOST_IN_A_TURN or self.flow.write_paused:
                self._hold(data[position:])
                break
            if served == 0:
                hot.renew()
            head, target, learned, end = request
            if limited and not is_hot_request(learned, target):
                break  # uvicorn's way counts it
            kept = (hot.admit(self._caller, began) if limited else None) or hot.find(learned, target)
            if kept is None:
                asked = hot.ask(learned, target)
                if asked is not None:
                    self._wait(asked, head, data[position:end], data[end:])
                break
            if limited:
                kept = hot.spare(kept, began)
            answer = self._whole(kept, head)
            if served == 0 and end == len(data):
                hot.postbox.post(self.transport, answer)
            else:  # whether its transport takes more has to be known before the next request
                hot.postbox.send()
                self.transport.write(answer)
            if kept.count is not None:
                kept.count[0] += 1
            position = end
            served += 1
        if served:
            self._unset_keepalive_if_required()
            self.active_s = self._crowd.now_s
            self.server_state.total_requests += served
            took_s = time.perf_counter() - began
            hot.gauge.took(took_s, served)
            if took_s > hot.slow.slow_s:
                self._note(data, 0, took_s)
        return position

    def _whole(self, kept: Kept, head: bool) -> bytes:
        opening = self._hot.opening(kept.status, self.server_state.default_headers)
        return opening + (kept.head if head else kept.whole)

    def _wait(self, asked: Coroutine[Any, Any, Kept], head: bool, request: bytes, rest: bytes) -> None:
        """Read nothing until that is answered."""
        began = time.perf_counter()
        self._unset_keepalive_if_required()
        self._waits, self._held = True, rest
        self.flow.pause_reading()
        self._reading.is_held = True
        task = self.loop.create_task(asked)
        cast(set[Any], self.tasks).add(task)  # the server ends behind it
        task.add_done_callback(lambda done: self._waited(done, head, request, began))

    def _waited(self, task: asyncio.Task[Kept], head: bool, request: bytes, began: float) -> None:
        cast(set[Any], self.tasks).discard(task)
        self._waits = False
        is_here = self._held is not None and not self.transport.is_closing()
        if task.cancelled():  # the server has waited for as long as it does
            self._held = None
            if is_here:
                self._refuse(503, b"the node is being stopped")
            return
        if task.exception() is not None:
            if is_here:
                self._held, self._is_admitted = request + cast(bytes, self._held), True
            self._go_on(self._parse)
            return
        hot, kept, now = self._hot, task.result(), time.perf_counter()
        if hot.limited:
            kept = hot.spare(kept, now)
        if kept.count is not None:
            kept.count[0] += 1
        hot.gauge.took(now - began, 1)
        if now - began > hot.slow.slow_s:
            self._note(request, kept.status, now - began)
        if is_here:
            self._reply(self._whole(kept, head))
        self._go_on()

    def _reply(self, answer: bytes) -> None:
        postbox, leaving = self._hot.postbox, self._crowd.leaving
        postbox.post(self.transport, parting(answer) if leaving else answer)
        if self._held or leaving:  # whether its transport takes more has to be known before the next request
            postbox.send()
        self.active_s = self._crowd.now_s
        self.server_state.total_requests += 1
        if leaving:
            self.transport.close()

    def _note(self, data: bytes, status: int, took_s: float) -> None:
        """Tell of the first of these requests."""
        method, target, _ = data.split(b" ", 2)
        path, at_ms = target.partition(b"?")[0], time.time_ns() // 1_000_000
        self._hot.slow.note("hot", method.decode("ascii"), path, status, took_s, at_ms)

    def _parse(self, data: bytes) -> None:
        self._hot.postbox.send()
        start = 0
        while True:
            # A piece of heads is small: each request in it waits in the pipeline with all that uvicorn has for one.
            end = start + (_PIECE_OF_HEADS if self._at_start or self.head_since_s is not None else _PIECE_OF_BODY)
            self._feed(data[start:end] if start or end < len(data) else data)
            if end >= len(data) or self.transport.is_closing():
                return
            if self.pipeline:
                self._hold(data[end:])
                return
            start = end

    def _feed(self, data: bytes) -> None:
        if self.head_since_s is not None:
            self._fed_bytes += len(data)
        super().data_received(data)
        # One field without an end is told to nobody until it ends.
        if self._fed_bytes > MOST_HEAD_BYTES and self.head_since_s is not None and not self.transport.is_closing():
            self._is_too_large = True
            self.send_400_response("")

    def _hold(self, rest: bytes) -> None:
        self._held = rest
        self.flow.pause_reading()
        self._reading.is_held = True
        if not self.flow.write_paused and not self.pipeline:
            self.loop.call_soon(self._go_on)

    def _go_on(self, take: Callable[[bytes], None] | None = None) -> None:
        if self._held is None or self.transport.is_closing():
            self._held = None
            return
        if self.pipeline or self._waits:
            return  # it is called again when they are answered
        data, self._held = self._held, None
        self._reading.is_held = False
        if data:
            (take or self.data_received)(data)
        if self._held is None and not self.transport.is_closing():
            self.flow.resume_reading()
            if self._leaving:
                self._hot.postbox.send()
                super().shutdown()

    def resume_writing(self) -> None:
        """See asyncio."""
        super().resume_writing()
        self.active_s = self._crowd.now_s
        if self._held is not None:
            self.loop.call_soon(self._go_on)

    def shutdown(self) -> None:
        """See uvicorn; requests that are here are answered first."""
        self._leaving = True
        self._hot.postbox.send()
        if self._held is None:
            super().shutdown()

    def eof_received(self) -> None:
        """See asyncio; the transport closes behind it."""
        self._hot.postbox.send()
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._held = None
        self._reading.is_held = False
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """See httptools."""
        super().on_message_begin()
        scope = cast("dict[str, Any]", self.scope)
        if self._certificate is not None:
            scope[CERTIFICATE] = self._certificate
        scope[ADMITTED], self._is_admitted = self._is_admitted, False
        self._at_start = False
        self._head_bytes = self._fed_bytes = 0
        self.head_since_s = self._crowd.now_s

    def on_url(self, url: bytes) -> None:
        """See httptools."""
        self._weigh(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        self._weigh(len(name) + len(value) + 4)
        super().on_header(name, value)

    def _weigh(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MOST_HEAD_BYTES:
            self._is_too_large = True
            raise ValueError("the head is too large")  # ends the parser's work: it is answered by send_400_response()

    def on_headers_complete(self) -> None:
        """See httptools."""
        super().on_headers_complete()
        self.head_since_s = None
        if self._crowd.leaving:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """See httptools."""
        super().on_message_complete()
        # Behind an upgrade that nobody makes the parser stays where it is: what follows is its affair.
        self._at_start = not self.parser.should_upgrade()
        self.active_s = self._crowd.now_s

    def on_response_complete(self) -> None:
        """See uvicorn."""
        self.active_s = self._crowd.now_s
        if self._broken is not None and not self.pipeline and not self.transport.is_closing():
            self.send_400_response(self._broken)
        super().on_response_complete()
        if self._held is not None and not self.pipeline:
            self.loop.call_soon(self._go_on)

    def send_400_response(self, msg: str) -> None:
        """See uvicorn; a head that is too large is told so, and whole requests before the bad one are answered before it."""
        if self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body:
            self._broken = msg
            self.flow.pause_reading()
        elif self._is_too_large:
            self._refuse(431, b"the request's line and header fields are too large")
        else:
            super().send_400_response(msg)

    def expire(self) -> None:
        """The client took too long to send a request's head."""
        self._refuse(408, b"the request didn't come in time")

    def _refuse(self, status: int, why: bytes) -> None:
        self._hot.postbox.send()
        fields = b"".join(b"%s: %s\r\n" % field for field in self.server_state.default_headers)
        form = b"%s%scontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
        self.transport.write(form % (STATUS_LINE[status], fields, len(why), why))
        self.transport.close()
