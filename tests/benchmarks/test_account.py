"""What the benchmarks call missing, repeated, altered and late; no process is started."""

from __future__ import annotations

import binascii
import json
import struct

import numpy as np
import pytest

from benchmarks.account import Account, ages_ms, fate, share
from benchmarks.outage import Outage, judge

MS = 1_000_000
S = 1000 * MS


def message(serial: int, *, device: int = 0, historical: bool = False, registers: int = 3) -> bytes:
    body = {"gateway": "line", "epoch": "e", "seq": 1, "device": f"d{device}", "t": 5}
    values = {f"r{n}": (serial + n) & 0xFFFF for n in range(registers)}
    return json.dumps(body | ({"historical": True} if historical else {}) | {"values": values}).encode()


def account_of(*came: tuple[int, bytes]) -> Account:
    account = Account(3)
    for at_ns, payload in came:
        account.take(at_ns, "t", payload)
    return account


def test_what_never_came_is_missing_and_what_came_twice_is_repeated() -> None:
    account = account_of((30, message(1)), (50, message(3)), (60, message(3)), (70, message(1, device=1)))
    served = [np.array([10, 20, 40, 80]), np.array([15])]
    found = fate(account.columns(), served, 0, 80)
    assert (found.polls, found.missing, found.repeated) == (4, 1, 1)
    assert found.first_at_ns[0].tolist() == [30, 0, 50, 0]
    assert account.values == 12
    assert (account.count, account.distinct) == (4, 3)


def test_a_message_that_no_poll_held_is_altered() -> None:
    swapped = json.loads(message(1))
    swapped["values"]["r2"] = 7
    lost = json.loads(message(2))
    del lost["values"]["r1"]
    bad = json.loads(message(3))
    bad["values"]["r0"] = None
    account = account_of(*((1, json.dumps(body).encode()) for body in (swapped, lost, bad)))
    assert (account.altered, account.count) == (3, 0)


def test_what_the_floor_sends_tells_its_poll_too() -> None:
    account = Account(3)
    for registers in ((5, 6, 7), (6, 6, 7)):
        account.take_raw(9, "mumian/floor/d4", binascii.b2a_base64(struct.pack(">q3H", 8, *registers), newline=False))
    columns = account.columns()
    assert (columns.device.tolist(), columns.serial.tolist(), columns.t_ms.tolist()) == ([4], [5], [8])
    assert (account.values, account.altered) == (6, 1)


def test_a_gap_is_no_telemetry() -> None:
    gap = b'{"gateway":"line","epoch":"e","seq":9,"gap":{"first":1,"last":9,"count":9,"reasons":{"size":9},"devices":["d0"]}}'
    account = account_of((1, gap))
    assert (account.unexpected, account.altered, account.count) == (1, 0, 0)


def test_the_one_register_that_changed_tells_the_poll() -> None:
    account = Account(100, every=100)
    for name, value in (("r99", 1), ("r0", 1), ("r98", 2)):
        account.take(1, "t", json.dumps({"device": "d0", "values": {name: value}}).encode())
    account.take(1, "t", json.dumps({"device": "d0", "values": {"r0": 0, "r1": 0}}).encode())
    assert account.columns().serial.tolist() == [1, 100, 102]
    assert account.values == 5


def test_registers_that_wrapped_can_t_tell_polls_apart() -> None:
    with pytest.raises(ValueError, match="65535"):
        fate(Account(3).columns(), [np.zeros(1 << 16, np.int64)], 0, 1)


def test_age_is_from_the_device_s_answer() -> None:
    account = account_of((30 * MS, message(1)), (45 * MS, message(2)), (99 * MS, message(3)))
    ages = ages_ms(account.columns(), [np.array([10, 40, 41]) * MS], 0, 90 * MS)
    assert ages.tolist() == [5, 20]
    assert (share(ages, 0.5), share(ages, 1.0), share(ages[:0], 0.5)) == (20.0, 20.0, None)


def served_each_second(count: int) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    return [np.arange(1, count + 1, dtype=np.int64) * S]


OUTAGE = Outage(gone_ns=2 * S - 1, back_ns=7 * S, over_ns=30 * S, outbox_bytes=1 << 20)


def test_with_one_lane_live_data_waits_for_the_backlog() -> None:
    came = [(serial * S, message(serial)) for serial in (1, 2)]
    came += [((8 + serial) * S, message(serial)) for serial in range(3, 12)]
    found = judge(account_of(*came).columns(), served_each_second(11), OUTAGE, 1000)
    assert (found["missing"], found["out_of_order"], found["backlog_marked_historical"]) == (0, 0, 0.0)
    assert found["reconnect_s"] == 4.0
    assert found["backlog_polls"] == 8
    assert found["live_age_ms_max"] == 8000.0


def test_with_two_lanes_it_does_not_and_the_mark_is_counted() -> None:
    came = [(serial * S, message(serial)) for serial in (1, 2)]
    for serial in range(3, 8):
        came.append(((5 + serial) * S + 1, message(serial, historical=True)))
        came.append(((5 + serial) * S + 2, message(5 + serial)))
    found = judge(account_of(*came).columns(), served_each_second(12), OUTAGE, 1000)
    assert (found["missing"], found["out_of_order"], found["live_marked_historical"]) == (0, 0, 0)
    assert found["live_age_ms_max"] == 0.0
    assert found["backlog_marked_historical"] > 0.8


def test_a_backlog_out_of_order_and_a_loss_are_seen() -> None:
    came = [(serial * S, message(serial)) for serial in (1, 2)]
    came += [((10 + place) * S, message(serial)) for place, serial in enumerate((4, 3, 6, 7, 8))]
    found = judge(account_of(*came).columns(), served_each_second(8), OUTAGE, 1000)
    assert (found["missing"], found["out_of_order"]) == (1, 1)
