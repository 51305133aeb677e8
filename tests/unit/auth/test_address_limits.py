"""What one address may do: AD1-AD7 of addresses.py; over real sockets in integration/attacks."""

from __future__ import annotations

import pytest

from raffia.auth import address_limits as module
from raffia.auth.address_limits import BURST_S, AddressLimits, counted
from raffia.errors import RoomFullError, TooFastError
from raffia.settings import load_settings


@pytest.mark.parametrize(
    ("address", "as_"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("127.0.0.1", None),
        ("127.9.9.9", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("", None),
        ("testclient", None),
        ("unknown é", None),
    ],
)
def test_ad1_ad2_what_an_address_counts_as(address: str, as_: str | None) -> None:
    assert counted(address) == as_


def limits(connections: int = 3, handshakes: int = 0, failures: int = 0) -> AddressLimits:
    return AddressLimits(
        load_settings(
            max_connections_per_address=connections,
            max_handshakes_per_address_per_s=handshakes,
            max_failures_per_address_per_s=failures,
        )
    )


def test_ad3_connections() -> None:
    all_ = limits()
    names = [all_.enter(f"2001:db8::{number:x}", 0.0) for number in range(3)]
    with pytest.raises(RoomFullError, match="has 3 connections"):
        all_.enter("2001:db8::ffff", 0.0)
    assert all_.enter("2001:db8:0:1::1", 0.0) is not None
    all_.leave(names[0])
    assert all_.enter("2001:db8::ffff", 0.0) == names[0]
    all_.leave(None)


def test_ad3_ad5_handshakes() -> None:
    all_ = limits(0, handshakes=2)
    for _ in range(int(2 * BURST_S)):
        all_.enter("203.0.113.7", 100.0)
    with pytest.raises(TooFastError, match="2 times a second"):
        all_.enter("203.0.113.7", 100.0)
    all_.enter("203.0.113.8", 100.0)
    all_.enter("203.0.113.7", 100.6)
    with pytest.raises(TooFastError):
        all_.enter("203.0.113.7", 100.6)


def test_ad4_failures() -> None:
    all_ = limits(0, failures=1)
    for _ in range(int(BURST_S)):
        all_.check("203.0.113.7", 100.0)
        all_.failed("203.0.113.7", 100.0)
    for refused in (all_.check, all_.enter):
        with pytest.raises(TooFastError, match="refused too often"):
            refused("203.0.113.7", 100.0)
    all_.check("203.0.113.8", 100.0)
    all_.check("203.0.113.7", 101.1)


def test_ad6_the_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ADDRESSES", 100)
    all_ = limits(3, failures=1)
    kept = all_.enter("198.51.100.1", 0.0)
    for number in range(1000):
        all_.failed(f"2001:db8:{number:x}::1", 0.0)
        assert len(all_) <= 101
    all_.failed("203.0.113.7", 0.0)
    all_.leave(kept)
    for _ in range(3):
        all_.enter("198.51.100.1", 0.0)
    with pytest.raises(RoomFullError):
        all_.enter("198.51.100.1", 0.0)


def test_ad7_zero_is_none() -> None:
    all_ = limits(0)
    for _ in range(1000):
        all_.enter("203.0.113.7", 0.0)
        all_.failed("203.0.113.7", 0.0)
        all_.check("203.0.113.7", 0.0)
