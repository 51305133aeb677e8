"""`raffia/__init__.py`, the public face: every name of it is there, and importing it alone is cheap."""

from __future__ import annotations

import subprocess
import sys
import typing

import pytest

import raffia


@pytest.mark.parametrize("name", raffia.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(raffia, name) is not None
    assert name in dir(raffia)


def test_type_checkers_see_the_same_names() -> None:
    source = typing.cast(str, raffia.__loader__.get_source("raffia"))  # type: ignore[union-attr]
    for_checkers = source.split("if TYPE_CHECKING:")[1].split("__version__")[0]
    for name in set(raffia.__all__) - {"__version__"}:
        assert name in for_checkers, f"{name} is not imported under TYPE_CHECKING"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Weaver'"):
        raffia.Weaver  # noqa: B018


def imported(module: str, *names: str) -> list[str]:
    """Which of these modules a fresh interpreter has after importing `module`."""
    code = f"import sys, {module}; print(*[name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.split()


def test_importing_the_package_imports_no_server() -> None:
    """A worker process imports `raffia` too; it must not pay for FastAPI."""
    assert imported("raffia.runtime.worker", "fastapi", "redis", "pydantic", "httpx") == []


def test_only_servers_that_fetch_keys_import_an_http_client() -> None:
    for module in ("raffia.embed", "raffia.app", "raffia.cli.main"):
        assert imported(module, "httpx", "fastapi") in (["fastapi"], [])
    assert imported("raffia.auth.jwks", "httpx") == ["httpx"]
