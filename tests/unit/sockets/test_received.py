"""RM1, RM2, X12: unfinished messages and large updates of one person."""

from __future__ import annotations

from raffia.sockets.received import MESSAGES, PROCESS_BYTES, Received, received_budget

MIB = 1024 * 1024


def test_rm1_one_person_holds_two_large_messages_on_all_connections() -> None:
    budget = received_budget(16 * MIB)
    connections = [Received(budget) for _ in range(60)]
    for one in connections:
        one.signed_in("user mallory")
    assert [one.arriving(15 * MIB) for one in connections] == [True] * MESSAGES + [False] * (60 - MESSAGES)
    other = Received(budget)
    other.signed_in("user vera")
    assert other.arriving(15 * MIB)
    assert budget.held_bytes < 48 * MIB
    for one in (*connections, other):
        one.release()
    assert (budget.held_bytes, len(budget)) == (0, 0)


def test_rm1_an_update_that_is_being_read_counts_instead_of_its_message() -> None:
    budget = received_budget(16 * MIB)
    one, two, three = (Received(budget) for _ in range(3))
    for connection in (one, two, three):
        connection.signed_in("user mallory")
    assert one.arriving(15 * MIB)
    assert one.reading(16 * MIB)
    assert two.reading(15 * MIB)
    assert not three.reading(15 * MIB)
    assert one.reading(0)
    assert three.reading(15 * MIB)


def test_rm1_the_process_has_a_budget_too() -> None:
    budget = received_budget(16 * MIB)
    held = 0
    for number in range(60):
        one = Received(budget)
        one.signed_in(f"user {number}")
        held += one.arriving(15 * MIB)
    assert held == PROCESS_BYTES // (15 * MIB)


def test_without_a_budget_everything_is_taken() -> None:
    one = Received(None)
    one.signed_in("user zoe")
    assert not one.is_limited
    assert one.arriving(1 << 40)
    assert one.reading(1 << 40)
    one.release()
