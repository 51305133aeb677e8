"""Which tests share a process in `make test` (CNF2 of tests/conftest.py)."""

from __future__ import annotations

import pytest
from tests.conftest import SPREAD, TOGETHER, group
from tests.support.server import ROOT


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("tests/browser/test_home.py::test_make[replicas]", "browser replicas"),
        ("tests/browser/test_home.py::test_make[alone]", "browser alone"),
        ("tests/browser/test_axe.py::test_every_state[light]", "browser alone"),
        ("tests/unit/wire/test_lib0.py::test_lb1[a::b]", "tests/unit/wire/test_lib0.py"),
        ("tests/contract/test_redis.py::TestRedis::test_j1[é]", "tests/contract/test_redis.py::TestRedis"),
        ("tests/interop/judge/test_squash.py::test_automerge_paper", "tests/interop/judge/test_squash.py"),
        ("tests/interop/test_clients.py::test_one[3]", "tests/interop/test_clients.py::test_one[3]"),
    ],
)
def test_cnf2_tests_that_share_servers_share_a_process(test: str, expected: str) -> None:
    assert group(test) == expected


def test_cnf2_the_folders_are_there() -> None:
    assert [name for name in SPREAD if not (ROOT / "tests" / name).is_dir()] == []
    assert [name for name in TOGETHER if not (ROOT / name).is_file()] == []
