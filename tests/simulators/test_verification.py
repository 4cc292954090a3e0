"""The verdict on hand-made books: each fault is found, and nothing else is called one."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from config.problems import ConfigError
from simulators.verdict import Verdict
from simulators.verification import verify
from tests.simulators.books import Message, Service, judge, write_delivered, write_ledger


def polled(*values: float, every_ms: int = 100) -> list[Service]:
    """`current`, polled; the value number n is served at n * every_ms and a bit."""
    return [Service(at * every_ms + 0.25, {"current": value}) for at, value in enumerate(values)]


def sent(*values: float, every_ms: int = 100) -> list[Message]:
    """As a gateway sends what it had two ms after it was served."""
    return [Message(at * every_ms + 2, {"current": value}) for at, value in enumerate(values)]


def counts(verdict: Verdict) -> dict[str, int]:
    """Everything that isn't zero."""
    names = ("delivered", "filtered", "lost", "altered", "reordered", "repeated", "heartbeats", "bad", "cut")
    return {name: count for name in names if (count := getattr(verdict, name))}


def test_all_delivered_is_clean(tmp_path: Path) -> None:
    verdict = judge(tmp_path, polled(1.0, 2.0, 3.0), sent(1.0, 2.0, 3.0))
    assert counts(verdict) == {"delivered": 3}
    assert (verdict.read, verdict.messages, verdict.clean, verdict.examples) == (3, 3, True, ())


def test_a_reading_lost_in_the_middle_is_found(tmp_path: Path) -> None:
    messages = sent(1.0, 2.0, 3.0)
    del messages[1]
    verdict = judge(tmp_path, polled(1.0, 2.0, 3.0), messages)
    assert counts(verdict) == {"delivered": 2, "lost": 1}
    assert verdict.examples == ("press.current: 2.0 at 1790000000100 is lost (last delivered: 1.0)",)
    assert not verdict.clean


def test_a_reading_lost_at_the_end_is_found(tmp_path: Path) -> None:
    assert counts(judge(tmp_path, polled(1.0, 2.0, 3.0), sent(1.0, 2.0))) == {"delivered": 2, "lost": 1}


def test_a_tag_of_which_nothing_came_is_lost_whole(tmp_path: Path) -> None:
    assert counts(judge(tmp_path, polled(1.0, 1.0), [])) == {"lost": 2}


def test_a_value_off_by_one_ulp_is_altered_and_not_lost_as_well(tmp_path: Path) -> None:
    verdict = judge(tmp_path, polled(1.0, 0.1, 3.0), sent(1.0, math.nextafter(0.1, 1.0), 3.0))
    assert counts(verdict) == {"delivered": 3, "altered": 1}
    assert "press.current: 0.10000000000000002 at 1790000000102 was served as 0.1" in verdict.examples


def test_values_that_changed_places_are_altered(tmp_path: Path) -> None:
    assert counts(judge(tmp_path, polled(1.0, 2.0, 3.0), sent(1.0, 3.0, 2.0))) == {"delivered": 3, "altered": 2}


def test_messages_that_changed_places_are_reordered(tmp_path: Path) -> None:
    one, two, three = sent(1.0, 2.0, 3.0)
    assert counts(judge(tmp_path, polled(1.0, 2.0, 3.0), [one, three, two])) == {"delivered": 3, "reordered": 1}


def historical(message: Message, seq: int | None = None) -> Message:
    return Message(message.t_ms, message.values, seq=seq, historical=True, received_ms=60_000)


def test_i6_live_and_historical_values_each_have_an_order_of_their_own(tmp_path: Path) -> None:
    one, two, three, four = sent(1.0, 2.0, 3.0, 4.0)
    served = polled(1.0, 2.0, 3.0, 4.0)
    for name in ("in_order", "late"):
        (tmp_path / name).mkdir()
    assert judge(tmp_path / "in_order", served, [three, historical(one), four, historical(two)]).clean
    late = [three, historical(two), historical(one), four]
    assert counts(judge(tmp_path / "late", served, late)) == {"delivered": 4, "reordered": 1}


def test_i6_the_age_is_that_of_live_values(tmp_path: Path) -> None:
    one, two = sent(1.0, 2.0)
    verdict = judge(tmp_path, polled(1.0, 2.0), [two, historical(one)])
    assert verdict.age_ms_p99 is not None
    assert verdict.age_ms_p99 < 1000


def test_i6_what_went_live_and_comes_again_as_history_is_a_repeat(tmp_path: Path) -> None:
    one, two = sent(1.0, 2.0)
    assert counts(judge(tmp_path, polled(1.0, 2.0), [one, two, historical(one, seq=1)])) == {"delivered": 2, "repeated": 1}


def test_i6_what_comes_again_as_history_with_another_value_is_altered(tmp_path: Path) -> None:
    one, two = sent(1.0, 2.0)
    other = historical(Message(one.t_ms, {"current": 2.0}), seq=1)
    assert counts(judge(tmp_path, polled(1.0, 2.0), [one, two, other])) == {"delivered": 2, "altered": 1}


def test_a_repeat_is_counted_once_and_is_no_fault(tmp_path: Path) -> None:
    one, two = sent(1.0, 2.0)
    again = Message(one.t_ms, one.values, seq=1)
    verdict = judge(tmp_path, polled(1.0, 2.0), [one, two, again])
    assert counts(verdict) == {"delivered": 2, "repeated": 1}
    assert verdict.clean


def test_a_repeat_with_other_bytes_is_altered(tmp_path: Path) -> None:
    one, two = sent(1.0, 2.0)
    verdict = judge(tmp_path, polled(1.0, 2.0), [one, two, Message(one.t_ms, {"current": 1.5}, seq=1)])
    assert counts(verdict) == {"delivered": 2, "altered": 1}
    assert verdict.examples == ("message 3 repeats ('g', 'e', 1) with other bytes",)


@pytest.mark.parametrize(
    "phantom",
    [
        Message(-50, {"current": 1.0}),
        Message(110, {"voltage": 230.0}),
        Message(110, {"current": 1.0}, device="lathe"),
    ],
)
def test_a_reading_that_was_never_served_is_altered(tmp_path: Path, phantom: Message) -> None:
    verdict = judge(tmp_path, polled(1.0, 2.0), [*sent(1.0, 2.0), phantom])
    assert counts(verdict) == {"delivered": 2, "altered": 1}
    assert "was never served" in verdict.examples[0]


def test_what_is_not_telemetry_is_altered(tmp_path: Path) -> None:
    verdict = judge(tmp_path, polled(1.0), [*sent(1.0), Message(9, {}, text='{"t": '), Message(9, {}, text='{"values": 1}')])
    assert counts(verdict) == {"delivered": 1, "altered": 2}


def test_changes_within_the_deadband_of_the_last_delivered_value_are_filtered(tmp_path: Path) -> None:
    verdict = judge(tmp_path, polled(10.0, 10.5, 9.5, 10.6, 10.2), sent(10.0), {("press", "current"): 0.5})
    assert counts(verdict) == {"delivered": 1, "filtered": 3, "lost": 1}
    assert "10.6" in verdict.examples[0]


def test_the_deadband_counts_from_the_last_delivered_value_not_from_the_last_read(tmp_path: Path) -> None:
    creeping = polled(10.0, 10.4, 10.8, 11.2)
    messages = [sent(10.0)[0], Message(202, {"current": 10.8})]
    assert counts(judge(tmp_path, creeping, messages, {("press", "current"): 0.5})) == {"delivered": 2, "filtered": 2}


def test_the_first_reading_of_a_tag_is_never_filtered(tmp_path: Path) -> None:
    verdict = judge(tmp_path, polled(10.0, 10.1), sent(10.0, 10.1)[1:], {("press", "current"): 0.5})
    assert counts(verdict) == {"delivered": 1, "lost": 1}


def test_an_unchanged_value_may_stay_away_or_come_as_a_heartbeat(tmp_path: Path) -> None:
    one, _, three = sent(7.0, 7.0, 7.0)
    assert counts(judge(tmp_path, polled(7.0, 7.0, 7.0), [one, three])) == {"delivered": 2, "filtered": 1}


def test_a_bit_has_no_deadband(tmp_path: Path) -> None:
    services = [Service(at, {"light": light}) for at, light in ((0, True), (100, False), (200, False))]
    verdict = judge(tmp_path, services, [Message(1, {"light": True})], {("press", "light"): 5.0})
    assert counts(verdict) == {"delivered": 1, "lost": 2}


@pytest.mark.parametrize(("served", "got"), [(True, 1), (1, True), ("1", 1), (0, False)])
def test_a_value_of_another_kind_is_altered(tmp_path: Path, served: bool | int | str, got: bool | int) -> None:
    assert judge(tmp_path, [Service(0, {"tag": served})], [Message(1, {"tag": got})]).altered == 1


def test_a_whole_number_may_be_written_with_or_without_a_point(tmp_path: Path) -> None:
    services = [Service(0, {"whole": 3.0, "count": 2**53})]
    assert judge(tmp_path, services, [Message(1, {"whole": 3, "count": 2**53})]).clean


def test_what_a_kill_cut_off_may_be_missing_or_there(tmp_path: Path) -> None:
    services = [
        Service(0, {"current": 1.0}),
        Service(100, {"current": 2.0}, acknowledged=False),
        Service(900, {"current": 3.0}, connection=2),
        Service(1000, {"current": 4.0}, connection=2, acknowledged=False),
    ]
    messages = [Message(1, {"current": 1.0}), Message(901, {"current": 3.0}), Message(1001, {"current": 4.0})]
    verdict = judge(tmp_path, services, messages)
    assert counts(verdict) == {"delivered": 3, "cut": 1}
    assert verdict.read == 3


def test_a_bad_status_is_no_reading_and_no_fault(tmp_path: Path) -> None:
    bad = Message(150, {"current": None}, status={"current": "BadTimeout"})
    one, two = sent(1.0, 2.0)
    assert counts(judge(tmp_path, polled(1.0, 2.0), [one, two, bad])) == {"delivered": 2, "bad": 1}


@pytest.mark.parametrize(
    "message",
    [Message(150, {"current": None}), Message(150, {"current": 2.0}, status={"current": "BadTimeout"})],
)
def test_a_status_that_contradicts_its_value_is_altered(tmp_path: Path, message: Message) -> None:
    assert judge(tmp_path, polled(1.0, 2.0), [*sent(1.0, 2.0), message]).altered == 1


def test_an_uncertain_value_is_a_reading(tmp_path: Path) -> None:
    message = Message(2, {"current": 1.0}, status={"current": "UncertainLastUsableValue"})
    assert counts(judge(tmp_path, polled(1.0), [message])) == {"delivered": 1}


def test_a_reading_served_in_the_millisecond_in_which_the_one_before_arrived_is_told_apart(tmp_path: Path) -> None:
    # Served 0.9 and 1.8; the first arrived at 1.2, so both have t = 1 ms and later.
    services = [Service(0.9, {"current": 5.0}), Service(1.8, {"current": 6.0}), Service(2.5, {"current": 6.0})]
    messages = [Message(1, {"current": 5.0}), Message(2, {"current": 6.0})]
    assert counts(judge(tmp_path, services, messages)) == {"delivered": 2, "filtered": 1}
    equal = [Service(0.9, {"current": 5.0}), Service(1.8, {"current": 5.0})]
    again = tmp_path / "again"
    assert counts(judge(again, equal, [Message(1, {"current": 5.0}), Message(2, {"current": 5.0})])) == {"delivered": 2}


def sampled(*samples: tuple[int, float], served_ms: int, **more: int | bool) -> list[Service]:
    """`pressure` of the bench, pushed together."""
    connection = int(more.get("connection", 1))
    acknowledged = bool(more.get("acknowledged", True))
    return [Service(served_ms, {"pressure": value}, "bench", connection, source_ms, acknowledged) for source_ms, value in samples]


def pushed(source_ms: int, value: float, t_ms: int) -> Message:
    return Message(t_ms, {"pressure": value}, "bench", source_ms)


def test_a_device_with_its_own_time_is_matched_by_it(tmp_path: Path) -> None:
    services = sampled((100, 1.0), (110, 2.0), (120, 3.0), served_ms=150)
    messages = [pushed(100, 1.0, 152), pushed(110, 2.0, 152), pushed(120, 3.0, 152)]
    assert counts(judge(tmp_path, services, messages)) == {"delivered": 3}


@pytest.mark.parametrize("wrong", [pushed(110, 2.0, 152), Message(152, {"pressure": 2.0}, "bench")])
def test_a_time_at_which_the_device_had_no_reading_is_a_phantom(tmp_path: Path, wrong: Message) -> None:
    services = sampled((100, 1.0), (120, 2.0), served_ms=150)
    assert counts(judge(tmp_path, services, [pushed(100, 1.0, 152), wrong])) == {"delivered": 1, "lost": 1, "altered": 1}


def test_a_value_that_a_new_subscription_begins_with_may_have_been_served_before(tmp_path: Path) -> None:
    services = [
        *sampled((100, 1.0), served_ms=150),
        *sampled((110, 2.0), served_ms=160, acknowledged=False),
        *sampled((110, 2.0), served_ms=900, connection=2),
    ]
    again = [pushed(100, 1.0, 152), pushed(110, 2.0, 902)]
    assert counts(judge(tmp_path, services, again)) == {"delivered": 2}
    assert counts(judge(tmp_path / "lost", services, again[:1])) == {"delivered": 1, "lost": 1}


def test_a_heartbeat_of_a_pushed_value_is_no_fault(tmp_path: Path) -> None:
    services = sampled((100, 1.0), (110, 2.0), served_ms=150)
    messages = [pushed(100, 1.0, 152), pushed(110, 2.0, 152), pushed(110, 2.0, 10_152)]
    assert counts(judge(tmp_path, services, messages)) == {"delivered": 2, "heartbeats": 1}


def test_a_ledger_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    services = [*sampled((100, 1.0), served_ms=150), *sampled((100, 1.5), served_ms=160)]
    with pytest.raises(ConfigError, match=r"ledger\.db: contradicts itself: bench\.pressure"):
        judge(tmp_path, services, [])


def test_age_counts_from_service_or_from_the_devices_own_time(tmp_path: Path) -> None:
    services = [*polled(*map(float, range(100))), *sampled((1, 0.0), (50, 1.0), (9900, 2.0), served_ms=9950)]
    messages = [Message(m.t_ms, m.values, received_ms=m.t_ms + 8) for m in sent(*map(float, range(100)))]
    messages += [
        Message(9952, {"pressure": 0.0}, "bench", 1, received_ms=9960),
        Message(9952, {"pressure": 1.0}, "bench", 50, received_ms=9960),
        Message(9952, {"pressure": 2.0}, "bench", 9900, received_ms=9960),
        Message(60_000, {"pressure": 2.0}, "bench", 9900),
    ]
    verdict = judge(tmp_path, services, messages)
    assert verdict.age_ms_p50 == 9.75
    # Of 102 ages the oldest but one is the 60 ms of 9900; neither the first value of the subscription nor the heartbeat counts.
    assert verdict.age_ms_p99 == 60.0
    assert verdict.clean


def test_no_reading_has_no_age(tmp_path: Path) -> None:
    verdict = judge(tmp_path, [], [])
    assert (verdict.age_ms_p50, verdict.age_ms_p99, verdict.read) == (None, None, 0)


def test_a_tag_that_the_gateway_was_not_told_to_collect_is_not_missed(tmp_path: Path) -> None:
    services = [Service(0, {"light": True, "door": False})]
    messages = [Message(1, {"light": True})]
    assert judge(tmp_path, services, messages).lost == 1
    assert judge(tmp_path / "told", services, messages, collected={("press", "light")}).clean


def test_findings_are_told_but_not_without_end(tmp_path: Path) -> None:
    verdict = judge(tmp_path, polled(*map(float, range(50))), sent(0.0))
    assert verdict.lost == 49
    assert len(verdict.examples) == 5
    text = verdict.as_text()
    assert "lost 49" in text
    assert text.endswith("NOT clean\n")


def test_a_verdict_can_be_written_as_json(tmp_path: Path) -> None:
    document = json.loads(json.dumps(judge(tmp_path, polled(1.0, 2.0), sent(1.0)).as_json()))
    assert document.items() >= {"clean": False, "read": 2, "delivered": 1, "lost": 1, "altered": 0, "repeated": 0}.items()
    assert document["tags"][0].items() >= {"device": "press", "tag": "current", "read": 2, "lost": 1}.items()
    assert len(document["examples"]) == 1


def test_a_missing_or_wrong_file_is_named(tmp_path: Path) -> None:
    ledger, delivered = tmp_path / "ledger.db", tmp_path / "delivered.db"
    write_ledger(ledger, [])
    with pytest.raises(ConfigError, match=r"delivered\.db: no such file"):
        verify(ledger, delivered, {})
    write_delivered(delivered, [])
    with pytest.raises(ConfigError, match=r"ledger\.db: not a subscriber's file"):
        verify(ledger, ledger, {})
    with pytest.raises(ConfigError, match=r"delivered\.db: not a ledger"):
        verify(delivered, delivered, {})
