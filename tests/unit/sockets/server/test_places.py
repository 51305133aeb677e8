"""Places of plain connections: places.py, and AD8 of address_limits.py."""

from __future__ import annotations

from typing import Any

from raffia.auth.address_limits import AddressLimits
from raffia.settings import Settings
from raffia.sockets.server.places import Place, Places, spare

PROXY = "10.0.0.1"


def places(max_connections: int = 100, per_address: int = 3, websockets: int = 0, **settings: Any) -> Places:
    chosen = Settings(max_connections_per_address=per_address, **settings)
    return Places(AddressLimits(chosen), max_connections, lambda: websockets, PROXY)


def fail() -> None:
    raise AssertionError("nobody gives a place up here")


def test_pl1_the_process_has_so_many_places() -> None:
    here = places(100, websockets=90)
    held = [here.enter("127.0.0.1", fail) for _ in range(10 + spare(100))]
    assert None not in held
    assert here.enter("127.0.0.1", fail) is None
    assert here.enter("203.0.113.1", fail) is None
    assert held[0] is not None
    held[0].leave()
    assert here.enter("203.0.113.1", fail) is not None


def test_pl2_an_address_has_so_many_and_others_get_in() -> None:
    here = places()
    held = [here.enter(f"2001:db8:0:7::{number:x}", fail) for number in range(1, 4)]
    assert None not in held
    assert here.enter("2001:db8:0:7:ffff::1", fail) is None
    assert here.enter("2001:db8:0:8::1", fail) is not None
    assert held[0] is not None
    held[0].leave()
    assert here.enter("2001:db8:0:7:ffff::1", fail) is not None


def test_pl2_websockets_of_an_address_count_with_its_plain_connections() -> None:
    here = places()
    for _ in range(3):
        here.addresses.enter("203.0.113.1", 0.0)
    assert here.enter("203.0.113.1", fail) is None


def test_pl2_a_proxy_stands_for_many() -> None:
    here = places()
    held = [here.enter(PROXY, fail) for _ in range(8)]
    said = [place is not None and place.named(b"198.51.100.9, 203.0.113.1") for place in held]
    assert said == [True] * 3 + [False] * 5
    assert held[3] is not None
    assert held[3].named(b"203.0.113.2")
    assert held[0] is not None
    assert held[0].named(b"203.0.113.2")  # the first client's place is free again
    assert held[4] is not None
    assert held[4].named(b"203.0.113.1")
    assert held[5] is not None
    assert held[5].named(b"")


def test_pl1_everything_is_given_back() -> None:
    here = places()
    held = [here.enter(PROXY, fail), here.enter("203.0.113.1", fail)]
    for place in held:
        assert place is not None
        place.named(b"203.0.113.1")
        place.leave()
    assert here.taken == 0
    assert all(known.connections == 0 for known in here.addresses._known.values())


def test_pl5_who_waits_longest_for_a_head_gives_way() -> None:
    here = places(100, websockets=90)
    ended: list[int] = []
    held: dict[int, Place] = {}

    def enter(number: int) -> Place:
        def end() -> None:
            ended.append(number)
            held.pop(number).leave()

        place = here.enter(PROXY, end)
        assert place is not None
        held[number] = place
        place.await_head()
        return place

    most = 10 + spare(100)
    for number in range(most):
        enter(number)
    held[0].has_head()
    held[1].has_head()
    held[1].await_head()  # its next request
    held[2].await_head()  # still the same head
    for number in range(most, most + 3):
        enter(number)
    assert ended == [2, 3, 4]
    assert here.taken == most
    for place in held.values():
        place.has_head()
    assert here.enter(PROXY, fail) is None
    for number in [*held]:
        held.pop(number).leave()
    assert here.taken == 0
    assert not here.headless
