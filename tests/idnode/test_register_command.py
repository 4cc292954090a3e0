"""`mumian idnode register`: a file until all is durable, whatever breaks off, and a table of what was not taken."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import mumian
from idnode.bulk import display, sending
from idnode.bulk.framing import Format
from idnode.bulk.sending import NotSent, Order, Sender, Unreachable
from idnode.bulk.source import WrongSource, read_source

from .conftest import Server, Servers
from .streams import line, lines
from .test_workers import registrar


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """A node, and the file with its registrar's key."""
    servers = Servers(tmp_path_factory.mktemp("register"))
    server = servers.start()
    key = servers.folder / "key"
    key.write_text(registrar(server)["Authorization"].removeprefix("Bearer "))
    key.chmod(0o600)
    yield server, key
    assert server.stop() == 0


Register = Callable[..., tuple[int, str, str]]


@pytest.fixture
def register(node: tuple[Server, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Register:
    server, key = node
    monkeypatch.setenv("MUMIAN_NODE", server.url)
    monkeypatch.setenv("MUMIAN_KEY_FILE", str(key))

    def call(*words: object) -> tuple[int, str, str]:
        code = mumian.main(["idnode", "register", *map(str, words)])
        out, errors = capsys.readouterr()
        return code, out, errors

    return call


def test_a_file_is_registered_once_however_often_it_is_sent(register: Register, tmp_path: Path) -> None:
    path = tmp_path / "水泵 spring.ndjson"
    path.write_bytes(lines(0, 3000))
    code, out, errors = register(path)
    assert (code, "3000 rows; 3000 created" in out) == (0, True)
    assert "3000 of 3000 rows (100 %)" in errors
    code, out, _ = register(path)
    assert (code, "3000 rows; 3000 created" in out) == (0, True)  # the same job, which is finished
    code, out, _ = register(path, "--job", "again")
    assert (code, "0 created, 3000 there already" in out) == (0, True)


def test_rows_that_are_not_taken_are_in_a_table_by_their_lines(register: Register, tmp_path: Path) -> None:
    path = tmp_path / "pumps.csv"
    rows = ["88.100.1/A,x", "", '88.100.1/B,"two\nlines"', "88.100.2/C,x", "=HYPERLINK(1),x", "88.100.1/P5,x,y", "88.100.1/D,x"]
    path.write_bytes(("\ufeffhandle,3:DESC\n" + "\n".join(rows)).encode())
    code, out, _ = register(path)
    assert (code, "6 rows; 3 created" in out) == (1, True)
    target = tmp_path / "pumps.csv.outcomes.csv"
    assert f"{target}: 3 rows" in out
    content = target.read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    found = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert [(each["line"], each["row"], each["outcome"], each["field"]) for each in found] == [
        ("6", "2", "forbidden", "handle"),
        ("7", "3", "invalid", "handle"),
        ("8", "4", "invalid", ""),
    ]
    assert found[0]["identifier"] == "88.100.2/C"


def test_gb18030_and_standard_input_are_taken(register: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    for _ in range(2):  # the same job again, which is finished
        stdin = io.TextIOWrapper(io.BytesIO("handle,3:DESC\n88.100.1/GB,离心泵\n".encode("gb18030")))
        monkeypatch.setattr("sys.stdin", stdin)
        code, out, errors = register("-", "--format", "csv", "--encoding", "gb18030")
        assert (code, "1 rows; 1 created" in out) == (0, True), errors
        names.append(out.partition(":")[0])
    assert names[0] == names[1]
    assert names[0].startswith("stdin-")


@pytest.mark.parametrize(
    ("name", "content", "words", "code", "told"),
    [
        ("x.txt", b"", [], 2, "--format"),
        ("x.csv", b"", [], 2, "there is no header"),
        ("x.csv", b'handle,3:DESC\n88.100.1/A,"x\n', [], 2, "row 1: the stream ends within its quotes"),
        ("x.csv", b"serial\n1\n", [], 2, "the header can't be used: column 1"),
        ("x.ndjson", b"{}\n", ["--stop"], 2, "row 0: Field required"),
        ("x.ndjson", b"{}\n", ["--enterprise", "forge"], 2, "403"),
        ("missing.ndjson", None, [], 2, "No such file"),
        ("x.ndjson", b"{}\n", ["--key-file", "missing"], 2, "missing"),
        ("x.ndjson", b"{}\n", ["--job", "a b"], 2, "422"),
    ],
)
def test_what_can_t_be_sent_is_said_in_a_line(
    register: Register, tmp_path: Path, name: str, content: bytes | None, words: list[str], code: int, told: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    found, _, errors = register(path, *words)
    assert (found, told in errors.splitlines()[-1]) == (code, True), errors


class Node:
    """One that takes some rows and then does as the test wants."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *endings: Callable[[], httpx.Response]) -> None:
        self.rows = 0
        self.firsts: list[int] = []
        self.endings = list(endings)
        self.now_s = 0.0
        self.pauses: list[float] = []
        client = httpx.Client
        monkeypatch.setattr(httpx, "Client", lambda **given: client(transport=httpx.MockTransport(self.answer), **given))
        monkeypatch.setattr(sending, "_LOOK_S", 5.0)

    def told(self, state: str = "running") -> dict[str, Any]:
        return {"state": state, "rows": self.rows, "exists": 0, "invalid": 0}

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json=self.told()) if self.rows else httpx.Response(404, json={"detail": "none"})
        first = int(request.url.params["from"])
        self.firsts.append(first)
        count = request.read().count(b"\n")
        if self.endings:
            self.rows = max(self.rows, first + count // 2)
            return self.endings.pop(0)()
        self.rows = first + count
        return httpx.Response(200, json=self.told("finished"))

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds

    def send(self, path: Path) -> dict[str, Any]:
        sender = Sender("http://id.test", {}, lambda: self.now_s, self.sleep)
        order = Order(read_source(path, Format.NDJSON), "job", "application/x-ndjson", {}, stop=False)
        return sender.send(order, lambda *_: None, lambda _: None)


def lost() -> httpx.Response:
    raise httpx.ReadError("connection reset")


def busy() -> httpx.Response:
    return httpx.Response(507, json={"detail": "the disk is full"}, headers={"Retry-After": "20"})


def step() -> httpx.Response:
    return httpx.Response(409, json={"detail": "row 8 is next", "type": sending.OUT_OF_STEP})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "x.ndjson"
    made.write_bytes(lines(0, 16))
    return made


def test_what_breaks_off_goes_on_at_the_next_row(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    node = Node(monkeypatch, lost, busy, step)
    assert node.send(path)["state"] == "finished"
    assert node.firsts == [0, 8, 12, 14]
    assert node.pauses == [2.0, 20.0, 2.0]


def test_a_node_that_takes_nothing_is_left_after_a_while(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    node = Node(monkeypatch, *[lost] * 100)
    node.answer = lambda request: lost()  # type: ignore[method-assign]
    with pytest.raises(Unreachable, match="connection reset"):
        node.send(path)
    assert 300 < node.now_s < 400
    assert max(node.pauses) == 30.0


def test_a_refusal_is_not_tried_again(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    node = Node(monkeypatch, lambda: httpx.Response(401, json={"detail": "this needs a valid token"}))
    with pytest.raises(NotSent, match="401: this needs a valid token"):
        node.send(path)
    assert node.pauses == []


def test_a_files_job_is_named_by_its_content(tmp_path: Path) -> None:
    names = []
    for name, content in (("a.ndjson", line(1)), ("a.ndjson", line(2)), ("b.ndjson", line(2)), (".泵.ndjson", line(2))):
        (tmp_path / name).write_bytes(content)
        names.append(read_source(tmp_path / name, Format.NDJSON).job(Path(name).stem))
    digests = [name.rpartition("-")[2] for name in names]
    assert [name.rpartition("-")[0] for name in names] == ["a", "a", "b", "rows"]
    assert digests[0] != digests[1] == digests[2] == digests[3]


def test_chunks_begin_at_any_row_behind_the_header(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b'\xef\xbb\xbfhandle,1:A\r\n\r\na,"1\r\n2"\nb,\n\nc,3')
    source = read_source(path, Format.CSV)
    assert (source.rows, source.header) == (3, b"handle,1:A\r\n")
    assert b"".join(source.chunks(0)) == b'handle,1:A\r\na,"1\r\n2"\nb,\nc,3\n'
    assert b"".join(source.chunks(2)) == b"handle,1:A\r\nc,3\n"
    assert list(source.lines()) == [3, 5, 7]


def test_a_row_beyond_all_bounds_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idnode.bulk.source.MOST_ROW_BYTES", 100)
    path = tmp_path / "x.ndjson"
    path.write_bytes(line(0) + b"x" * 200)
    with pytest.raises(WrongSource, match="row 1 has more than 100 bytes"):
        read_source(path, Format.NDJSON)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_a_bar_with_rows_rate_and_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    out, now = Terminal(), [0.0]
    with display.shown(1000, lambda: now[0], out) as tell:
        for second in range(5):
            now[0] = float(second)
            tell(100 * second, second)
    text = out.getvalue()
    assert "400/1000" in text
    assert "40%" in text
    assert "100 rows/s" in text
    assert "4 ✗" in text
    assert "0:00:06" in text


def test_others_have_a_line_now_and_then() -> None:
    out, now = io.StringIO(), [0.0]
    with display.shown(1000, lambda: now[0], out) as tell:
        for second in range(26):
            now[0] = float(second)
            tell(40 * second, second)
    assert out.getvalue().splitlines() == [
        "400 of 1000 rows (40 %), 40 rows/s, 10 not taken, 15 s left",
        "800 of 1000 rows (80 %), 40 rows/s, 20 not taken, 5 s left",
        "1000 of 1000 rows (100 %), 40 rows/s, 25 not taken",
    ]


def test_no_table_is_left_half_written(tmp_path: Path) -> None:
    from idnode.bulk.command import write_outcomes

    def breaking() -> Iterator[dict[str, Any]]:
        yield {"row": 0, "outcome": "invalid"}
        raise Unreachable("gone")

    with pytest.raises(Unreachable):
        write_outcomes(tmp_path / "x.csv", breaking(), iter([1, 2]))
    assert list(tmp_path.iterdir()) == []
