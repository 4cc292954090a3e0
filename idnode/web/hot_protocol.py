"""One connection: uvicorn's HTTP/1.1 protocol with a short way for hot requests, and limits on what a client may cost.

While no request of this connection is under way and what comes begins at a request's first byte, hot requests are answered in
place. Whatever else goes through uvicorn's parser, in the order in which it came. A connection never has more unsent answers than
its transport takes before it asks to pause, and never keeps the loop for more than a few requests: what it sent beyond waits in
`_held`, and nothing more is read from it.
"""

from __future__ import annotations

import time
from typing import Any, cast

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from idnode.operations.limits import caller_key
from idnode.web.handle_api.authentication import CERTIFICATE
from idnode.web.hot import Hot, take_request

MOST_HEAD_BYTES = 65_536
"""Of a request's line and fields."""
MOST_IN_A_TURN = 32
"""Hot requests of one connection that are answered before others have their turn."""


_PIECE_OF_HEADS = 2048
_PIECE_OF_BODY = 16_384
"""Bytes that the parser gets at once."""


class _Flow(FlowControl):
    """uvicorn's, which reads no further while something is held, whoever asks for it."""

    is_held = False

    def resume_reading(self) -> None:
        if not self.is_held:
            super().resume_reading()


class HotProtocol(HttpToolsProtocol):
    """See uvicorn's; `hot` and `crowd` are shared by all connections."""

    def __init__(self, hot: Hot, crowd: Crowd, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._hot = hot
        self._crowd = crowd
        self._caller = ""
        self._certificate: bytes | None = None
        """The client's, DER, where it showed one."""
        self._reading: _Flow = None  # type: ignore[assignment]  # as uvicorn has it for flow
        self._at_start = True
        """The parser stands between two requests."""
        self._held: bytes | None = None
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
        self.flow = self._reading = _Flow(transport)
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
            kept = (hot.admit(self._caller, began) if limited else None) or hot.find(learned, target)
            if kept is None:
                break
            if limited:
                kept = hot.spare(kept, began)
            opening = hot.opening(kept.status, self.server_state.default_headers)
            answer = opening + (kept.head if head else kept.whole)
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
                hot.slow.note("hot", "", data[:position].partition(b"\r\n")[0], 0, took_s, time.time_ns() // 1_000_000)
        return position

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

    def _go_on(self) -> None:
        if self._held is None or self.transport.is_closing():
            self._held = None
            return
        if self.pipeline:
            return  # it is called again when they are answered
        data, self._held = self._held, None
        self._reading.is_held = False
        self.data_received(data)
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
        if self._certificate is not None:
            cast("dict[str, Any]", self.scope)[CERTIFICATE] = self._certificate
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


class Crowd:
    """All connections of a process: how many there may be, and for how long one may do nothing."""

    def __init__(self, most: int, idle_s: float, head_s: float, stuck_s: float) -> None:
        """
        Args:
            most: connections; one more is answered 503 and closed.
            idle_s: without a request.
            head_s: from a request's first byte to the end of its head.
            stuck_s: without taking anything of an answer that was written.
        """
        self.most = most
        self.now_s = 0.0
        """Monotonic, as of the last look."""
        self.leaving = False
        """Every answer says that its connection is closed."""
        self._idle_s, self._head_s, self._stuck_s = idle_s, head_s, stuck_s

    def look(self, connections: set[Any], now_s: float) -> None:
        """Close those that are over their time; to be called about once a second."""
        self.now_s = now_s
        for connection in [each for each in connections if isinstance(each, HotProtocol)]:
            if connection.is_stuck:
                if now_s - connection.active_s > self._stuck_s:
                    connection.transport.abort()
            elif connection.head_since_s is not None:
                if now_s - connection.head_since_s > self._head_s and connection.is_waiting:
                    connection.expire()
            elif connection.is_idle and now_s - connection.active_s > self._idle_s:
                connection.transport.close()
