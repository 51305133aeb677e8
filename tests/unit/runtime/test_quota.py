"""QT1, QT2: budgets of many people."""

from __future__ import annotations

from raffia.runtime.quota import Quota


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_qt1_budgets_are_used_up_and_gain() -> None:
    clock = Clock()
    quota = Quota(10, 2.0, clock)
    for _ in range(10):
        assert quota.wait_s("zoe", 1) == 0
        quota.charge("zoe", 1)
    assert quota.wait_s("zoe", 1) == 0.5
    assert quota.wait_s("zoe", 1000) == 5
    assert quota.wait_s("bo", 1000) == 0
    clock.now_s += 0.5
    assert quota.wait_s("zoe", 1) == 0
    clock.now_s += 100
    quota.charge("zoe", 1000)
    assert quota.wait_s("zoe", 10) == 5


def test_qt2_people_are_forgotten() -> None:
    clock = Clock()
    quota = Quota(10, 1.0, clock)
    for number in range(5000):
        quota.charge(f"{number}", 1)
        clock.now_s += 1
    assert len(quota) <= 1001
