"""Settings: C1-C6 of settings.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from raffia.errors import SettingsError
from raffia.settings import GROUPS, MIB, Settings, is_loopback, load_settings, parse_size_bytes, unknown_variables


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"RAFFIA_{name.upper()}", raising=False)


def test_c1_argument_wins_over_variable_and_variable_over_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().port == 8000
    monkeypatch.setenv("RAFFIA_PORT", "8123")
    assert load_settings().port == 8123
    assert load_settings(port=9000).port == 9000


def test_c2_settings_do_not_change() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1
    assert settings.max_frame_bytes > settings.max_update_bytes


def test_c3_a_wrong_value_is_named_with_flag_and_variable() -> None:
    with pytest.raises(SettingsError, match=r"--port \(RAFFIA_PORT\): .*65535"):
        load_settings(port=70_000)
    with pytest.raises(SettingsError, match=r"--max-update-bytes \(RAFFIA_MAX_UPDATE_BYTES\): 'viel' is not a size"):
        load_settings(max_update_bytes="viel")
    with pytest.raises(SettingsError, match="--prot"):
        load_settings(prot=1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"outbox_low_bytes": "1MiB"}, "outbox_low_bytes is 1048576 but has to be below"),
        ({"max_document_bytes": "1MiB"}, "max_document_bytes is 1048576 but one update may have"),
        ({"max_waiting_bytes": "1MiB"}, "max_waiting_bytes"),
        ({"max_unsaved_bytes": "1MiB"}, "max_unsaved_bytes"),
        ({"tls_key": "key.pem"}, "belong together"),
        ({"root_path": "raffia"}, "has to start with /"),
        ({"keepalive_s": 31}, "--keepalive-s"),
    ],
)
def test_c3_combinations_that_cannot_work_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(**values)


@pytest.mark.parametrize(
    ("text", "size"), [("65536", 65536), ("64KiB", 65536), ("1.5 MiB", 1572864), ("2MB", 2_000_000), ("1g", 10**9)]
)
def test_c4_sizes_take_units(text: str, size: int) -> None:
    assert parse_size_bytes(text) == size


def test_c4_names_say_units() -> None:
    """A number without a unit in its name is a count, a factor or a port."""
    counts = {
        "port", "max_sessions_per_document", "max_connections", "max_documents_per_connection", "max_waiting_updates",
        "max_connections_per_address",
        "preauth_documents", "coalesce_factor", "compact_tail_updates", "compact_tail_fraction", "worker_processes",
    }  # fmt: skip
    for name, field in Settings.model_fields.items():
        if field.annotation in {int, float}:
            assert name in counts or name.endswith(("_bytes", "_s")), name


def test_defaults_are_those_of_the_design() -> None:
    settings = load_settings()
    assert (settings.max_update_bytes, settings.max_document_bytes) == (16 * MIB, 64 * MIB)
    assert (settings.max_presence_bytes, settings.max_presence_per_s) == (16 * 1024, 60)
    assert (settings.preauth_bytes, settings.preauth_documents, settings.preauth_s) == (64 * 1024, 100, 10)
    assert (settings.keepalive_s, settings.ready_grace_s, settings.history_s) == (15, 10, 86400)


SECRETS = [name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)]


@pytest.mark.parametrize("name", SECRETS)
def test_c5_a_secret_can_be_in_a_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variable, secret = f"RAFFIA_{name.upper()}", "redis://:pässwörd@127.0.0.1:6379/0"
    (tmp_path / "secret").write_text(f"{secret}\n")
    monkeypatch.setenv(f"{variable}_FILE", str(tmp_path / "secret"))
    assert getattr(load_settings(), name).get_secret_value() == secret
    assert getattr(load_settings(**{name: "redis://given"}), name).get_secret_value() == "redis://given"
    monkeypatch.setenv(variable, "redis://other")
    with pytest.raises(SettingsError, match=f"{variable} and {variable}_FILE are set"):
        load_settings()


def test_c5_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAFFIA_REDIS_FILE", str(tmp_path / "missing"))
    with pytest.raises(SettingsError, match=r"RAFFIA_REDIS_FILE: cannot read .*missing"):
        load_settings()


def test_c5_only_secrets_are_read_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "port").write_text("9000")
    monkeypatch.setenv("RAFFIA_PORT_FILE", str(tmp_path / "port"))
    assert load_settings().port == 8000
    assert "RAFFIA_PORT_FILE" in unknown_variables({"RAFFIA_PORT_FILE": "x"})


def test_c6_unknown_variables_are_found_with_what_was_meant() -> None:
    environ = {
        "RAFFIA_ALOWED_ORIGINS": "*",
        "RAFFIA_PROT": "1",
        "RAFFIA_FOO": "1",
        "RAFFIA_PORT": "1",
        "RAFFIA_REDIS_FILE": "x",
        "RAFFIAPORT": "1",
        "PATH": "x",
    }
    assert unknown_variables(environ) == {
        "RAFFIA_ALOWED_ORIGINS": "RAFFIA_ALLOWED_ORIGINS",
        "RAFFIA_FOO": None,
        "RAFFIA_PROT": "RAFFIA_PORT",
    }


def test_lists_are_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAFFIA_ALLOWED_ORIGINS", "https://a.example, https://é.example:8443,")
    assert load_settings().allowed_origins == ("https://a.example", "https://é.example:8443")


def test_every_setting_is_described_and_grouped() -> None:
    assert all(field.description for field in Settings.model_fields.values())
    assert next(iter(Settings.model_fields)) in GROUPS
    assert set(GROUPS) <= set(Settings.model_fields)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LOCALHOST.", "::ffff:127.0.0.1"]
)
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.7", "raffia.example", "localhost.example", "127.0.0.1.example", ""]
)
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)
