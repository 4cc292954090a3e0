from __future__ import annotations

import pytest

from gateway.sinks.batching import Batcher
from gateway.sinks.blame import CLOSES_TO_BLAME, CLOSES_TO_DOUBT, Blame
from gateway.sinks.flow import Flow
from gateway.sinks.packets import Publisher, PublishOptions


def deliver(blame: Blame, count: int, poison: set[int], window: int = 10) -> tuple[list[int], list[int], int]:
    """What a sink would do with seqs 1 to count at a broker that closes on `poison`: passed, set aside, closes."""
    passed: list[int] = []
    aside: list[int] = []
    at, closes = 1, 0
    while at <= count and closes < 200:
        in_flight = list(range(at, min(count, at + (1 if blame.is_probing else window) - 1) + 1))
        if (blame.take_blamed(at)) is not None:
            aside.append(at)
            at += 1
            continue
        bad = [seq for seq in in_flight if seq in poison]
        taken = [seq for seq in in_flight if not bad or seq < bad[0]]
        for seq in taken:
            blame.note_passed(seq)
        passed += taken
        at += len(taken)
        if bad:
            closes += 1
            blame.note_close([seq for seq in in_flight if seq not in taken])
    return passed, aside, closes


def test_the_record_that_closes_is_set_aside_and_its_neighbours_pass() -> None:
    blame = Blame()
    passed, aside, closes = deliver(blame, 30, {7})
    assert aside == [7]
    assert passed == [*range(1, 7), *range(8, 31)]
    assert closes == CLOSES_TO_DOUBT + CLOSES_TO_BLAME
    assert not blame.is_probing


def test_each_of_several_is_found() -> None:
    _, aside, _ = deliver(Blame(), 60, {7, 9, 40})
    assert aside == [7, 9, 40]


def test_a_broker_that_closes_on_everything_costs_one_record_at_most() -> None:
    _, aside, closes = deliver(Blame(), 30, set(range(1, 31)))
    assert aside == [1]
    assert closes == 200


def test_one_or_two_closes_blame_nobody() -> None:
    blame = Blame()
    blame.note_close([3, 4])
    assert not blame.is_probing
    blame.note_passed(3)
    blame.note_close([4])
    assert not blame.is_probing
    assert blame.take_blamed(4) is None


def test_a_close_with_nothing_on_its_way_blames_nobody() -> None:
    blame = Blame()
    for _ in range(20):
        blame.note_close([])
    assert not blame.is_probing


def test_a_record_that_passes_after_all_is_not_blamed() -> None:
    blame = Blame()
    for _ in range(CLOSES_TO_BLAME):
        blame.note_close([3])
    blame.note_passed(3)
    assert blame.take_blamed(3) is None


def test_records_go_one_by_one_through_the_last_that_was_on_its_way_with_the_suspect() -> None:
    blame = Blame()
    blame.note_close([3, 4, 5])
    blame.note_close([3, 4, 5])
    for seq in (3, 4):
        blame.note_passed(seq)
        assert blame.is_probing
    blame.note_passed(5)
    assert not blame.is_probing


def test_i6_a_record_in_one_lane_is_found_though_others_pass_in_the_other() -> None:
    """The broker closes on 7, which waits as history; each connection takes some live records before."""
    blame, live, closes = Blame(), 100, 0
    while (reason := blame.take_blamed(7)) is None:
        assert closes < 20
        if blame.is_probing:
            blame.note_passed(live)
            blame.note_close([7])
            live += 1
        else:
            blame.note_passed(live)
            blame.note_close([7, 8, live + 1, live + 2])
            live += 3
        closes += 1
    assert reason.startswith("broker closes")
    assert closes <= CLOSES_TO_DOUBT + CLOSES_TO_BLAME + 1


def test_suspects_that_never_come_again_do_not_slow_a_sink_for_ever() -> None:
    blame = Blame()
    for _ in range(CLOSES_TO_DOUBT):
        blame.note_close([3, 4, 5])
    for seq in range(100, 107):
        assert blame.is_probing
        blame.note_passed(seq)
    assert not blame.is_probing


def flow(records: int = 3, age_s: float = 1.0) -> tuple[Flow, Publisher]:
    return Flow(Batcher(records, age_s)), Publisher(PublishOptions(), has_properties=False, topic_aliases=0)


def payloads(packets: bytes) -> list[bytes]:
    """Of PUBLISH packets with the topic t and short lengths."""
    found = []
    while packets:
        length = packets[1]
        found.append(packets[7 : 2 + length])
        packets = packets[2 + length :]
    return found


def test_a_batch_goes_when_it_is_full_and_acknowledges_all_its_records() -> None:
    made, publisher = flow()
    for seq in (1, 2):
        made.take(seq, [("t", b"%d" % seq)], now=0.0)
    assert made.publish(publisher, 10, None) == b""
    made.take(3, [("t", b"3")], now=0.0)
    made.take(4, [("t", b"4")], now=0.0)
    assert payloads(made.publish(publisher, 10, None)) == [b"[1,2,3]"]
    message = made.pop(1)
    assert message is not None
    made.settle(message.seqs)
    assert made.acknowledged == [1, 2, 3]
    assert not made.is_empty


def test_a_batch_goes_when_its_first_record_has_waited_long_enough() -> None:
    made, publisher = flow()
    made.take(1, [("t", b"1")], now=10.0)
    made.take(2, [("t", b"2")], now=10.9)
    assert made.batcher.due_at == 11.0
    assert not made.take_due(10.99)
    assert made.take_due(11.0)
    assert payloads(made.publish(publisher, 10, None)) == [b"[1,2]"]
    assert made.batcher.due_at is None


def test_each_topic_has_its_own_batch_and_its_own_order() -> None:
    made, publisher = flow(records=2)
    for seq, topic in ((1, "a"), (2, "b"), (3, "a"), (4, "b")):
        made.take(seq, [(topic, b"%d" % seq)], now=0.0)
    assert payloads(made.publish(publisher, 10, None)) == [b"[1,3]", b"[2,4]"]


def test_i6_historical_and_live_records_never_share_a_message() -> None:
    made, publisher = flow(records=2)
    for seq, historical in ((11, False), (1, True), (12, False), (2, True)):
        made.take(seq, [("t", b"%d" % seq)], now=0.0, historical=historical)
    assert sorted(payloads(made.publish(publisher, 10, None))) == [b"[1,2]", b"[11,12]"]


def test_i6_the_many_messages_of_a_historical_record_do_not_hold_up_a_live_one() -> None:
    made, publisher = flow(records=1)
    made.take(1, [("t", b"h")] * 50, now=0.0, historical=True)
    made.take(9, [("t", b"live")] * 2, now=0.0)
    assert payloads(made.publish(publisher, 5, None)) == [b"live", b"h", b"live", b"h", b"h"]


def test_a_batch_that_would_grow_too_large_goes_before() -> None:
    made, publisher = flow(records=100)
    made.batcher.most_bytes = 10
    for seq in (1, 2, 3):
        made.take(seq, [("t", b"12345")], now=0.0)
    assert payloads(made.publish(publisher, 10, None)) == [b"[12345]", b"[12345]"]


def test_a_batch_that_is_refused_is_sent_record_by_record_in_its_order() -> None:
    made, publisher = flow()
    for seq in (1, 2, 3):
        made.take(seq, [("t", b"%d" % seq)], now=0.0)
    made.publish(publisher, 10, None)
    message = made.pop(1)
    assert message is not None
    made.refuse(message, "malformed: x")
    assert made.rejected == []
    assert payloads(made.publish(publisher, 10, None)) == [b"[1]", b"[2]", b"[3]"]
    second = made.pop(3)
    assert second is not None
    made.refuse(second, "malformed: x")
    assert made.rejected == [(2, "malformed: x")]


def test_a_record_of_several_messages_is_acknowledged_by_the_last() -> None:
    made, publisher = flow(records=1)
    made.take(7, [("a", b"1"), ("b", b"2"), ("c", b"3")], now=0.0)
    made.publish(publisher, 2, None)
    assert made.seqs_in_flight() == [7]
    for mid in (2, 1):
        message = made.pop(mid)
        assert message is not None
        made.settle(message.seqs)
    assert made.acknowledged == []
    made.publish(publisher, 2, None)
    message = made.pop(3)
    assert message is not None
    made.settle(message.seqs)
    assert made.acknowledged == [7]
    assert made.is_empty


def test_a_record_that_makes_no_message_is_acknowledged_at_once() -> None:
    made, _ = flow()
    made.take(7, [], now=0.0)
    assert made.acknowledged == [7]
    assert made.is_empty


def test_a_packet_identifier_is_not_given_twice_at_a_time() -> None:
    made, publisher = flow(records=1)
    made.take(1, [("t", b"1")], now=0.0)
    made.publish(publisher, 10, None)
    made._mid = 65_534
    for seq in (2, 3, 4):
        made.take(seq, [("t", b"x")], now=0.0)
    made.publish(publisher, 10, None)
    assert sorted(made._in_flight) == [1, 2, 3, 65_535]


@pytest.mark.parametrize("mid", [0, 9, 65_535])
def test_an_acknowledgement_of_nothing_is_nothing(mid: int) -> None:
    made, _ = flow()
    assert made.pop(mid) is None
