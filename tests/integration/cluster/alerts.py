"""What sets each alert of infra/prometheus/weft.rules.yml off: series, a minute without the alert, a minute with it."""

from __future__ import annotations

from dataclasses import dataclass

HERE = 'job="weft", instance="a"'


@dataclass(frozen=True)
class Case:
    """Numbers minute by minute in promtool's notation: no alert after `well_min` minutes, one after `fires_min`."""

    series: dict[str, str]
    well_min: int
    fires_min: int
    labels: dict[str, str]


A = {"job": "weft", "instance": "a"}

CASES = {
    "WeftDown": Case({f"up{{{HERE}}}": "1x5 0x10", 'up{job="weft", instance="b"}': "1x15"}, 5, 10, A),
    "WeftNothingIsSaved": Case(
        {
            f"weft_journal_unsaved_bytes{{{HERE}}}": "4096x5 4096x15",
            f'weft_acks_total{{{HERE}, result="stored"}}': "0+100x5 500x15",
        },
        5,
        15,
        A,
    ),
    "WeftUnsavedGrows": Case(
        {
            f"weft_journal_unsaved_bytes{{{HERE}}}": "1000000x5 20000000x10",
            f'weft_acks_total{{{HERE}, result="stored"}}': "0+100x20",
        },
        5,
        12,
        A,
    ),
    "WeftJournalFails": Case({f"weft_journal_failures_total{{{HERE}}}": "0x10 0+1x20"}, 10, 25, A),
    "WeftSavesSlowly": Case(
        {
            f'weft_ack_seconds_bucket{{{HERE}, le="0.5"}}': "0+100x20 2000x30",
            f'weft_ack_seconds_bucket{{{HERE}, le="4"}}': "0+100x50",
            f'weft_ack_seconds_bucket{{{HERE}, le="+Inf"}}': "0+100x50",
        },
        15,
        45,
        {"instance": "a"},
    ),
    "WeftQuarantined": Case({f"weft_quarantined_total{{{HERE}}}": "0x10 1x10"}, 9, 15, A),
    "WeftLogUnreadable": Case({f"weft_log_unreadable_total{{{HERE}}}": "0x10 1x10"}, 9, 15, A),
    "WeftLogLost": Case({f"weft_log_resets_total{{{HERE}}}": "0x10 2x10"}, 9, 15, A),
    "WeftHearsLate": Case({f"weft_redis_lag_s{{{HERE}}}": "0.002x10 3x10"}, 9, 18, A),
    "WeftRedisConnectionBreaks": Case({f"weft_redis_reconnects_total{{{HERE}}}": "1x10 1+1x10"}, 10, 19, A),
    "WeftInternalErrors": Case(
        {
            f'weft_refusals_total{{{HERE}, reason="internal"}}': "0x10 3x10",
            f'weft_refusals_total{{{HERE}, reason="forbidden"}}': "0+9x20",
        },
        9,
        15,
        A | {"reason": "internal"},
    ),
    "WeftTurnsPeopleAway": Case(
        {
            f'weft_refusals_total{{{HERE}, reason="full"}}': "0x10 0+60x20",
            f'weft_refusals_total{{{HERE}, reason="forbidden"}}': "0+600x30",
        },
        10,
        25,
        {"instance": "a", "reason": "full"},
    ),
    "WeftManySlowReaders": Case(
        {f"weft_slow_readers{{{HERE}}}": "1x10 30x20", f"weft_sessions{{{HERE}}}": "100x30"}, 10, 25, A
    ),
    "WeftFewFileDescriptors": Case(
        {f"process_open_fds{{{HERE}}}": "100x10 900x20", f"process_max_fds{{{HERE}}}": "1000x30"}, 10, 20, A
    ),
    "WeftRestartsAgainAndAgain": Case(
        {f"process_start_time_seconds{{{HERE}}}": "1000x10 2000 3000 4000 5000 6000x20"}, 11, 15, A
    ),
    "WeftReplicaUnready": Case(
        {
            'haproxy_server_status{proxy="weft", server="replica1", state="UP"}': "1x5 0x10",
            'haproxy_server_status{proxy="weft", server="replica2", state="UP"}': "1x15",
        },
        5,
        10,
        {"proxy": "weft", "server": "replica1", "state": "UP"},
    ),
    "WeftAllUnready": Case({'haproxy_backend_active_servers{proxy="weft"}': "3x5 0x10"}, 5, 10, {"proxy": "weft"}),
    "WeftConnectionsAreRefused": Case(
        {'haproxy_backend_connection_errors_total{proxy="weft_any"}': "0x5 0+120x10"}, 5, 12, {"proxy": "weft_any"}
    ),
}
