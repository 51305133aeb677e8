"""Clients whose updates were refused are asked later each time: BA1 to BA3 of backoff.py."""

from __future__ import annotations

from raffia.rooms.backoff import FIRST_S, FORGET_S, MAX_CLIENTS, MAX_S, Backoff


def test_ba1_each_refusal_doubles_the_wait() -> None:
    backoff, now_s, waits_s = Backoff(), 1000.0, []
    for _ in range(12):
        waits_s.append(backoff.refused("ana", now_s))
        now_s = max(now_s, backoff.ask_after_s("ana")) + 1  # asked, and refused a second later
    assert waits_s == [0, *(min(MAX_S, FIRST_S * 2**n) for n in range(11))]
    assert waits_s[-1] == MAX_S


def test_ba1_after_one_refusal_a_client_is_asked_at_once() -> None:
    backoff = Backoff()
    assert backoff.ask_after_s("ana") == 0
    backoff.refused("ana", 1000.0)
    assert backoff.ask_after_s("ana") == 0


def test_ba2_refusals_of_many_at_once_count_as_one() -> None:
    backoff = Backoff()
    backoff.refused("ana", 1000.0)
    for number in range(100):
        backoff.refused("ana", 1000.0 + number / 1000)
    assert backoff.ask_after_s("ana") == 1000.0 + FIRST_S
    assert backoff.ask_after_s("bo") == 0


def test_ba3_refusals_are_forgotten() -> None:
    backoff = Backoff()
    for number in range(5):
        backoff.refused("ana", 1000.0 + 100 * number)
    assert backoff.refused("ana", 1400.0 + FORGET_S + 1) == 0
    for number in range(2 * MAX_CLIENTS):
        backoff.refused(number, 5000.0)
    assert len(backoff) == MAX_CLIENTS
    assert backoff.ask_after_s("ana") == 0
