"""What sets each alert of infra/prometheus/raffia.rules.yml off: series, one minute without the alert, one with it."""

from __future__ import annotations

from dataclasses import dataclass

HERE = 'job="raffia", instance="a"'


@dataclass(frozen=True)
class Case:
    """Numbers minute by minute in promtool's notation: no alert after `well_min` minutes, one after `fires_min`."""

    series: dict[str, str]
    well_min: int
    fires_min: int
    labels: dict[str, str]


A = {"job": "raffia", "instance": "a"}

CASES = {
    "RaffiaDown": Case({f"up{{{HERE}}}": "1x5 0x10", 'up{job="raffia", instance="b"}': "1x15"}, 5, 10, A),
    "RaffiaNothingIsSaved": Case(
        {
            f"raffia_journal_unsaved_bytes{{{HERE}}}": "4096x5 4096x15",
            f'raffia_acks_total{{{HERE}, result="stored"}}': "0+100x5 500x15",
        },
        5,
        15,
        A,
    ),
    "RaffiaUnsavedGrows": Case(
        {
            f"raffia_journal_unsaved_bytes{{{HERE}}}": "1000000x5 20000000x10",
            f'raffia_acks_total{{{HERE}, result="stored"}}': "0+100x20",
        },
        5,
        12,
        A,
    ),
    "RaffiaJournalFails": Case({f"raffia_journal_failures_total{{{HERE}}}": "0x10 0+1x20"}, 10, 25, A),
    "RaffiaSavesSlowly": Case(
        {
            f'raffia_ack_seconds_bucket{{{HERE}, le="0.5"}}': "0+100x20 2000x30",
            f'raffia_ack_seconds_bucket{{{HERE}, le="4"}}': "0+100x50",
            f'raffia_ack_seconds_bucket{{{HERE}, le="+Inf"}}': "0+100x50",
        },
        15,
        45,
        {"instance": "a"},
    ),
    "RaffiaQuarantined": Case({f"raffia_quarantined_total{{{HERE}}}": "0x10 1x10"}, 9, 15, A),
    "RaffiaLogUnreadable": Case({f"raffia_log_unreadable_total{{{HERE}}}": "0x10 1x10"}, 9, 15, A),
    "RaffiaLogLost": Case({f"raffia_log_resets_total{{{HERE}}}": "0x10 2x10"}, 9, 15, A),
    "RaffiaHearsLate": Case({f"raffia_redis_lag_s{{{HERE}}}": "0.002x10 3x10"}, 9, 18, A),
    "RaffiaRedisConnectionBreaks": Case({f"raffia_redis_reconnects_total{{{HERE}}}": "1x10 1+1x10"}, 10, 19, A),
    "RaffiaInternalErrors": Case(
        {
            f'raffia_refusals_total{{{HERE}, reason="internal"}}': "0x10 3x10",
            f'raffia_refusals_total{{{HERE}, reason="forbidden"}}': "0+9x20",
        },
        9,
        15,
        A | {"reason": "internal"},
    ),
    "RaffiaTurnsPeopleAway": Case(
        {
            f'raffia_refusals_total{{{HERE}, reason="full"}}': "0x10 0+60x20",
            f'raffia_refusals_total{{{HERE}, reason="forbidden"}}': "0+600x30",
        },
        10,
        25,
        {"instance": "a", "reason": "full"},
    ),
    "RaffiaManySlowReaders": Case(
        {f"raffia_slow_readers{{{HERE}}}": "1x10 30x20", f"raffia_sessions{{{HERE}}}": "100x30"}, 10, 25, A
    ),
    "RaffiaFewFileDescriptors": Case(
        {f"process_open_fds{{{HERE}}}": "100x10 900x20", f"process_max_fds{{{HERE}}}": "1000x30"}, 10, 20, A
    ),
    "RaffiaRestartsAgainAndAgain": Case(
        {f"process_start_time_seconds{{{HERE}}}": "1000x10 2000 3000 4000 5000 6000x20"}, 11, 15, A
    ),
    "RaffiaReplicaUnready": Case(
        {
            'haproxy_server_status{proxy="raffia", server="replica1", state="UP"}': "1x5 0x10",
            'haproxy_server_status{proxy="raffia", server="replica2", state="UP"}': "1x15",
        },
        5,
        10,
        {"proxy": "raffia", "server": "replica1", "state": "UP"},
    ),
    "RaffiaAllUnready": Case(
        {'haproxy_backend_active_servers{proxy="raffia"}': "3x5 0x10"}, 5, 10, {"proxy": "raffia"}
    ),
    "RaffiaConnectionsAreRefused": Case(
        {'haproxy_backend_connection_errors_total{proxy="raffia_any"}': "0x5 0+120x10"}, 5, 12, {"proxy": "raffia_any"}
    ),
}
