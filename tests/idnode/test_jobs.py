"""Bulk registration over HTTP: what is a row, and which are taken."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from idnode.store.memory import MemoryStore

from .conftest import House, housed
from .streams import CSV, bad_rows, job, line, lines, stream

HEADER = b"handle,3:DESC\r\n"
NAME = {"zh": "泵", "en": "pump"}


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """In memory: what is taken is the same, whatever the store."""
    async with housed(MemoryStore()) as made:
        yield made


class TestRows:
    async def test_all_rows_are_registered_and_the_job_tells_of_it(self, house: House) -> None:
        status, told = await stream(house, query="total=10").send([lines(0, 10)])
        assert status == 200
        assert told == {
            "job": "spring",
            "enterprise": "pumpworks",
            "author": "pumpworks:registrar",
            "state": "finished",
            "began": "2026-09-21T14:13:20.123Z",
            "finished": "2026-09-21T14:13:20.123Z",
            "rows": 10,
            "total": 10,
            "created": 10,
            "repeated": 0,
            "exists": 0,
            "invalid": 0,
        }
        assert await job(house) == told
        found = (await house.client.get("/v1/identifiers/88.100.1/P7")).json()
        assert found["values"][1]["data"] == {"format": "string", "value": "a pump"}

    async def test_the_same_stream_again_changes_nothing(self, house: House) -> None:
        first = await stream(house).send([lines(0, 10)])
        assert await stream(house).send([lines(0, 10)]) == first
        status, told = await stream(house, job="summer").send([lines(0, 12)])
        assert (status, told["created"], told["repeated"]) == (200, 2, 10)

    async def test_exactly_the_bad_rows_are_named(self, house: House) -> None:
        rows = [line(number) for number in range(2000)]
        rows[7] = b'{"handle":"88.100.1/P7"\n'
        rows[900] = line(900, "88.100.2")
        rows[1999] = b'{"handle":"99.1/P","values":[]}\n'
        await house.post("/v1/identifiers", "registrar", {"handle": "88.100.1/P5", "values": []})
        status, told = await stream(house).send([b"".join(rows)])
        assert (status, told["rows"], told["created"], told["exists"], told["invalid"]) == (200, 2000, 1996, 1, 3)
        assert await bad_rows(house) == [
            (5, "exists", "", "is registered with other content, or in another state"),
            (7, "invalid", "", "it is no JSON that can be taken: line 1, column 24: Expecting ',' delimiter"),
            (900, "forbidden", "/handle", "88.100.2 is not open to this token"),
            (1999, "invalid", "/handle", "an identifier begins with a prefix such as 88.100.1"),
        ]

    @pytest.mark.parametrize(
        ("row", "field", "reason"),
        [
            (b'{"handle":"88.100.1/A","values":[{"index":0,"type":"D","data":"x"}]}', "/values/0/index", "greater than or equal"),
            (b'{"handle":"88.100.1/A","values":[{"index":1,"type":"D D","data":"x"}]}', "/values/0/type", "match pattern"),
            (b'{"handle":"88.100.1/A","values":[],"colour":"red"}', "/colour", "Extra inputs"),
            (b'{"handle":"88.100.1/A"}', "/values", "Field required"),
            (b'{"handle":"88.100.1/A","handle":"88.100.1/B","values":[]}', "", "'handle' is there twice"),
            (b'{"handle":"88.100.1/A","values":[{"index":1,"index" :2,"type":"D","data":"x"}]}', "", "'index' is there twice"),
            (b'{"handle":"88.100.1/\xff","values":[]}', "", "byte 20 is not UTF-8"),
            (b'{"handle":"88.100.1/\x00","values":[]}', "", "Invalid control character"),
            (b'{"handle":"88.100.1/\\u0000","values":[]}', "/handle", "control characters"),
            (b'{"handle":"88.100.1/\\ud800","values":[]}', "", "half a surrogate pair"),
            (b'{"handle":"88.100.1/A","values":[]}\r{"handle":"88.100.1/B","values":[]}', "", "Extra data"),
            (b'{"handle":"88.100.1/' + b"A" * 300 + b'","values":[]}', "/handle", "at most 255 characters"),
            (b'{"handle":"gs1:01/09506000134353","values":[]}', "/handle", "check digit"),
            (b'{"handle":"88.100.1/A","values":[],"template":{"name":"pump","version":1}}', "/template", "no version 1"),
            (b'{"handle":"88.100.1/A","values":[],"typed_links":[{"relation":"x","href":"y","title":"z"}]}', "/typed_links", ""),
            (b"[" * 1000, "", "it is no JSON that can be taken"),
            (b"null", "", "valid dictionary"),
            (b"\xef\xbb\xbf{}", "", "it is no JSON that can be taken"),
        ],
    )
    async def test_a_bad_row_says_where_and_why_and_stops_no_other(
        self, house: House, row: bytes, field: str, reason: str
    ) -> None:
        status, told = await stream(house).send([line(0) + row + b"\n" + line(1)])
        assert (status, told["created"], told["invalid"]) == (200, 2, 1)
        (found,) = await bad_rows(house)
        assert found[:3] == (1, "invalid", field)
        assert reason in found[3]

    async def test_a_row_may_be_as_long_as_a_body_and_no_longer(self, house: House) -> None:
        most = house.node.settings.capture.most_bytes
        bare = len(line(1, text=""))
        rows = [line(0), line(1, text="x" * (most - bare + 1)), line(2, text="x" * (most - bare + 2)), line(3)]
        assert len(rows[1]) == most + 1  # the newline is none of it
        status, told = await stream(house).send([b"".join(rows)[at : at + 777] for at in range(0, 2 * most + 400, 777)])
        assert (status, told["created"]) == (200, 3)
        assert await bad_rows(house) == [(2, "invalid", "", f"a row has at most {most} bytes")]

    async def test_empty_lines_and_a_byte_order_mark_are_no_rows(self, house: House) -> None:
        body = b"\xef\xbb\xbf\n \r\n" + line(0) + b"\r\n\n" + line(1).replace(b"\n", b"\r\n") + line(2)[:-1]
        status, told = await stream(house).send([body[at : at + 1] for at in range(len(body))])
        assert (status, told["rows"], told["created"]) == (200, 3, 3)

    async def test_an_empty_stream_is_a_job_without_rows(self, house: House) -> None:
        status, told = await stream(house).send([])
        assert (status, told["rows"], told["state"]) == (200, 0, "finished")

    async def test_rows_may_name_templates(self, house: House) -> None:
        item = {"index": 2000, "type": "SERIAL", "name": NAME, "kind": "text", "required": True}
        order = {"prefix": "88.100.1", "name": "pump", "title": NAME, "items": [item]}
        made = await house.post("/v1/templates", "registrar", order)
        if made.status_code != 201:
            pytest.fail(made.text)
        await house.post("/v1/templates/88.100.1/pump/1/publish", "registrar", {})
        body = "handle,2000:SERIAL,template\nA,1,\n88.100.1/A,7,pump/1\n88.100.1/B,,pump/1\n88.100.1/C,7,pump\n"
        status, told = await stream(house, media_type=CSV).send([body.encode()])
        assert (status, told["created"], told["invalid"]) == (200, 1, 3)
        assert [each[:3] for each in await bad_rows(house)] == [
            (0, "invalid", "handle"),
            (2, "invalid", "2000"),
            (3, "invalid", "template"),
        ]


class TestCsv:
    async def send(self, house: House, body: bytes, media_type: str = CSV) -> tuple[int, dict[str, Any]]:
        return await stream(house, media_type=media_type).send([body[at : at + 7] for at in range(0, len(body), 7)])

    async def test_quotes_newlines_and_empty_cells_are_read_as_the_standard_has_it(self, house: House) -> None:
        body = '\ufeffhandle,3:DESC,"4:URL"\r\n88.100.1/A,"a ""pump"",\r\nof 5\r bar",\r\n\r\n"88.100.1/B",泵,"http://x.cn/"'
        status, told = await self.send(house, body.encode())
        assert (status, told["created"], told["rows"]) == (200, 2, 2), await bad_rows(house)
        values = (await house.client.get("/v1/identifiers/88.100.1/A")).json()["values"]
        assert [each["data"]["value"] for each in values if each["index"] > 2] == ['a "pump",\r\nof 5\r bar']
        values = (await house.client.get("/v1/identifiers/88.100.1/B")).json()["values"]
        assert [each["data"]["value"] for each in values if each["index"] > 2] == ["泵", "http://x.cn/"]

    async def test_bad_records_are_named_by_column(self, house: House) -> None:
        rows = [
            "88.100.1/A,x",
            "88.100.1/B",
            "nothing,x",
            '88.100.1/C,"x"y',
            "88.100.1/D,x\ry",
            "88.100.1/E,x\0",
            "88.100.1/F,x,y",
            '88.100.1/G,5" pipe',
        ]
        body = HEADER + "\n".join(rows).encode() + b"\n88.100.1/H,\xff\n" + b"88.100.1/I,ok\n"
        status, told = await self.send(house, body)
        assert (status, told["created"], told["invalid"]) == (200, 3, 7)
        assert [(row, field, reason[:30]) for row, _, field, reason in await bad_rows(house)] == [
            (1, "", "it has 1 cells, the header has"),
            (2, "handle", "an identifier begins with a pr"),
            (3, "", "',' expected after '\"'"),
            (4, "", "a carriage return stands outsi"),
            (5, "", "there is a NUL in it: is this "),
            (6, "", "it has 3 cells, the header has"),
            (8, "", "byte 11 is not UTF-8"),
        ]

    @pytest.mark.parametrize(
        ("header", "detail"),
        [
            ("", "there is no header"),
            ("serial,1:DESC\n", "column 1: 'serial' is none of handle, template and <index>:<type>"),
            ("1:DESC\n", "no column is called handle"),
            ("handle,handle\n", "column 2: 'handle' is there twice"),
            ("handle,1:A,1:B\n", "column 3: another column has the index 1 too"),
            ("handle,0:A\n", "column 2"),
            ("handle,9999999999:A\n", "column 2"),
            ('handle,"1:A\n', "quotes"),
        ],
    )
    async def test_a_header_by_which_nothing_can_be_read_is_refused(self, house: House, header: str, detail: str) -> None:
        status, told = await self.send(house, header.encode())
        assert status in (400, 422)
        assert detail in told["detail"]
        assert told["rows"] == 0

    async def test_gb18030_is_read_where_it_is_said(self, house: House) -> None:
        status, told = await self.send(house, "handle,3:DESC\n88.100.1/A,离心泵\n".encode("gb18030"), f"{CSV}; charset=GB2312")
        assert (status, told["created"]) == (200, 1)
        values = (await house.client.get("/v1/identifiers/88.100.1/A")).json()["values"]
        assert values[1]["data"]["value"] == "离心泵"

    async def test_utf_16_is_told_from_rows(self, house: House) -> None:
        status, told = await self.send(house, "handle,3:DESC\n".encode("utf-16"))
        assert (status, told["detail"]) == (400, "row 0: this is UTF-16: save it as UTF-8")

    async def test_quotes_without_an_end_stop_the_stream_before_their_row(self, house: House) -> None:
        body = HEADER + b'88.100.1/A,x\n88.100.1/B,"x\n' + b"88.100.1/C,x\n" * 3000
        status, told = await self.send(house, body)
        assert (status, told["rows"]) == (400, 1)
        assert "row 1: quotes that opened in it aren't closed within 20000 bytes" in told["detail"]
        mended = HEADER + b"88.100.1/B,x\n88.100.1/C,x\n"
        status, told = await stream(house, media_type=CSV, query="from=1").send([mended])
        assert (status, told["rows"], told["created"]) == (200, 3, 3)
