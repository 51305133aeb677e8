"""RFC 6455 as a table: what a client sends, what it must get for it, and the section that says so. No I/O.

Rules:
    CAS1  A step is a piece of the client's stream and the frames that must come back before the next piece is sent. So
          "at once" is a step of its own, and what may wait is one step.
    CAS2  `ends` is the code of the close frame that ends the case, EMPTY for one without a payload, TOO_LARGE for 1009
          or the endpoint's own code for it, or None when the connection has to be usable afterwards.
    CAS3  A case in which no message arrives whole holds at any endpoint, whatever its dialect: `is_framing_only`.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.integration.server.raw import BINARY, CLOSE, CONT, PING, PONG, TEXT, close_frame, frame

LIMIT_BYTES = 100_000
"""Largest message that the endpoints of these cases take."""
EMPTY = -1
TOO_LARGE = -2
HELLO = "κόσμε 🎈 é".encode()

Answer = tuple[int, bytes]
Step = tuple[bytes, tuple[Answer, ...]]


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes:
        section: of RFC 6455.
        name: what it is about.
        steps: what is sent, and what must come back for it (CAS1).
        ends: how it ends (CAS2).
    """

    section: str
    name: str
    steps: tuple[Step, ...]
    ends: int | None = None

    @property
    def stream(self) -> bytes:
        """All that is sent."""
        return b"".join(sent for sent, _ in self.steps)

    @property
    def answers(self) -> list[Answer]:
        """All that comes back before the close."""
        return [answer for _, answers in self.steps for answer in answers]

    @property
    def is_framing_only(self) -> bool:
        """Whether no message arrives whole (CAS3)."""
        return not any(opcode in (TEXT, BINARY) for opcode, _ in self.answers)

    @property
    def goes_on_after_close(self) -> bool:
        """Whether more is sent after a valid close, which no client may do."""
        return "close, then" in self.name or "which then goes on" in self.name

    def __str__(self) -> str:
        return f"{self.section} {self.name}"


def one(section: str, name: str, sent: bytes, *answers: Answer, ends: int | None = None) -> Case:
    """A case of one step."""
    return Case(section, name, ((sent, answers),), ends)


def _lengths() -> list[Case]:
    cases = []
    for size in (0, 1, 125, 126, 127, 65_535, 65_536, LIMIT_BYTES):
        payload = (b"0123456789" * (size // 10 + 1))[:size]
        for kind, opcode in (("text", TEXT), ("binary", BINARY)):
            cases.append(one("5.2", f"{kind} of {size} bytes", frame(opcode, payload), (opcode, payload)))
    for size, wide in ((0, 2), (1, 2), (125, 2), (0, 8), (125, 8), (126, 8), (65_535, 8)):
        cases.append(one("5.2", f"length {size} in {wide} bytes", frame(BINARY, b"x" * size, wide=wide), ends=1002))
    for name, length in (("2^63", 1 << 63), ("2^64 - 1", (1 << 64) - 1), ("2^63 + 5", (1 << 63) + 5)):
        cases.append(one("5.2", f"length {name}", b"\x82\xff" + length.to_bytes(8, "big"), ends=1002))
    for length in (LIMIT_BYTES + 1, 1 << 32, (1 << 63) - 1):
        head = b"\x82\xff" + length.to_bytes(8, "big")
        cases.append(one("7.4.1", f"announces {length} bytes", head, ends=TOO_LARGE))
    return cases


def _masks() -> list[Case]:
    cases = [
        one("5.3", f"mask {mask.hex()}, {size} bytes", frame(BINARY, b"z" * size, mask=mask), (BINARY, b"z" * size))
        for mask in (bytes(4), b"\xff" * 4, b"\0\0\0\1", b"\1\0\0\0", b"abcd")
        for size in (1, 3, 4, 5, 300)
    ]
    for opcode in (TEXT, BINARY, PING, PONG, CLOSE):
        for payload in (b"", b"\x03\xe8"):
            unmasked = frame(opcode, payload, mask=None)
            cases.append(one("5.1", f"unmasked, opcode {opcode}, {len(payload)} bytes", unmasked, ends=1002))
    started = frame(BINARY, b"a", fin=False)
    cases.append(one("5.1", "unmasked continuation", started + frame(CONT, b"b", mask=None), ends=1002))
    cases.append(one("5.1", "unmasked, 200 bytes", frame(BINARY, b"x" * 200, mask=None)[:2], ends=1002))
    return cases


def _reserved() -> list[Case]:
    cases = []
    for rsv in range(1, 8):
        for opcode in (TEXT, BINARY, PING, PONG, CLOSE):
            name = f"reserved bits {rsv:03b}, opcode {opcode}"
            cases.append(one("5.2", name, frame(opcode, rsv=rsv), ends=1002))
        continued = frame(BINARY, b"a", fin=False) + frame(CONT, b"b", rsv=rsv)
        cases.append(one("5.2", f"reserved bits {rsv:03b} of a continuation", continued, ends=1002))
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        for payload in (b"", b"x" * 5, b"x" * 126):
            for fin in (True, False):
                sent = frame(opcode, payload, fin=fin)
                name = f"reserved opcode {opcode}, {len(payload)} bytes, fin {fin:d}"
                cases.append(one("5.2", name, sent, ends=1002))
        within = frame(TEXT, b"a", fin=False) + frame(opcode)
        cases.append(one("5.2", f"reserved opcode {opcode} between fragments", within, ends=1002))
    after = frame(PING, b"before") + frame(3)
    cases.append(one("5.2", "reserved opcode after a ping", after, (PONG, b"before"), ends=1002))
    return cases


def _fragments() -> list[Case]:
    cases = []
    for kind, opcode in (("text", TEXT), ("binary", BINARY)):
        start = frame(opcode, HELLO[:3], fin=False)
        rest = frame(CONT, HELLO[3:])
        whole = (opcode, HELLO)
        cases += [
            one("5.4", f"{kind} in two fragments", start + rest, whole),
            Case(
                "5.5.2",
                f"{kind}: a ping between fragments is answered before the message ends",
                ((start + frame(PING, b"now"), ((PONG, b"now"),)), (rest, (whole,))),
            ),
            Case(
                "5.5.2",
                f"{kind}: pings around and between all fragments",
                (
                    (frame(PING, b"0") + start, ((PONG, b"0"),)),
                    (frame(PING, b"1") + frame(CONT, b"", fin=False), ((PONG, b"1"),)),
                    (frame(PONG, b"unasked") + frame(PING, b""), ((PONG, b""),)),
                    (rest + frame(PING, b"3"), (whole, (PONG, b"3"))),
                ),
            ),
            one("5.4", f"{kind}: all fragments empty", frame(opcode, fin=False) + frame(CONT), (opcode, b"")),
            one(
                "5.4",
                f"{kind}: empty fragments in front, between and behind",
                frame(opcode, fin=False)
                + frame(CONT, b"", fin=False) * 5
                + frame(CONT, b"ab", fin=False)
                + frame(CONT, b"", fin=False) * 5
                + frame(CONT, b"c", fin=False)
                + frame(CONT),
                (opcode, b"abc"),
            ),
            one(
                "5.4",
                f"{kind}: 3000 fragments of one byte",
                frame(opcode, fin=False) + frame(CONT, b"x", fin=False) * 3000 + frame(CONT),
                (opcode, b"x" * 3000),
            ),
            one(
                "5.4",
                f"{kind}: fragments of every length encoding",
                frame(opcode, b"a" * 125, fin=False)
                + frame(CONT, b"b" * 126, fin=False)
                + frame(CONT, b"c" * 65_536, fin=False)
                + frame(CONT, b"d"),
                (opcode, b"a" * 125 + b"b" * 126 + b"c" * 65_536 + b"d"),
            ),
            one(
                "5.4",
                f"{kind}: exactly the limit in fragments",
                frame(opcode, b"x" * 60_000, fin=False) + frame(CONT, b"x" * (LIMIT_BYTES - 60_000)),
                (opcode, b"x" * LIMIT_BYTES),
            ),
            one(
                "7.4.1",
                f"{kind}: fragments over the limit in total",
                frame(opcode, b"x" * 60_000, fin=False) + frame(CONT, b"x" * (LIMIT_BYTES - 59_999))[:8],
                ends=TOO_LARGE,
            ),
            one("5.4", f"{kind} within a fragmented {kind}", start + frame(opcode, b"b"), ends=1002),
            one("5.4", f"{kind} that begins within another", start + frame(opcode, b"b", fin=False), ends=1002),
            one("5.4", f"{kind}: continued after its end", start + rest + frame(CONT, b"x"), whole, ends=1002),
            one("5.5.3", f"{kind}: a pong between fragments", start + frame(PONG, b"p") + rest, whole),
        ]
    for fin in (True, False):
        for payload in (b"", b"x"):
            name = f"continuation of nothing, {len(payload)} bytes, fin {fin:d}"
            cases.append(one("5.4", name, frame(CONT, payload, fin=fin), ends=1002))
    other = frame(TEXT, b"a", fin=False) + frame(BINARY, b"b")
    cases.append(one("5.4", "binary within a fragmented text", other, ends=1002))
    twice = (frame(TEXT, b"a", fin=False) + frame(CONT, b"b")) * 2
    cases.append(one("5.4", "one fragmented text after another", twice, (TEXT, b"ab"), (TEXT, b"ab")))
    return cases


def _control() -> list[Case]:
    cases = [
        one("5.5.2", f"ping of {size} bytes", frame(PING, bytes(range(size))), (PONG, bytes(range(size))))
        for size in (0, 1, 2, 124, 125)
    ]
    cases.append(one("5.5.2", "ping of bytes that are no UTF-8", frame(PING, b"\0\xff\xfe"), (PONG, b"\0\xff\xfe")))
    many = tuple((PONG, b"%d" % n) for n in range(300))
    cases.append(one("5.5.2", "300 pings at once", b"".join(frame(PING, b"%d" % n) for n in range(300)), *many))
    cases += [one("5.5.3", f"unasked pong of {size} bytes", frame(PONG, b"p" * size)) for size in (0, 1, 125)]
    cases.append(one("5.5.3", "1000 unasked pongs", frame(PONG, b"p") * 1000))
    for name, opcode in (("close", CLOSE), ("ping", PING), ("pong", PONG)):
        for size in (126, 127, 65_536):
            large = frame(opcode, b"\x03\xe8" + b"x" * (size - 2))
            cases.append(one("5.5", f"{name} of {size} bytes", large, ends=1002))
        cases.append(one("5.5", f"{name} of 126 bytes, its first two", frame(opcode, b"x" * 126)[:2], ends=1002))
        cases.append(one("5.5", f"fragmented {name}", frame(opcode, b"", fin=False), ends=1002))
        split = frame(opcode, b"\x03", fin=False) + frame(CONT, b"\xe8")
        cases.append(one("5.5", f"{name} in two fragments", split, ends=1002))
        for wide in (2, 8):
            long = frame(opcode, b"\x03\xe8", wide=wide)
            cases.append(one("5.5", f"{name} with its length in {wide} bytes", long, ends=1002))
    return cases


def _close() -> list[Case]:
    valid = (*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4413, 4999)
    invalid = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 65_535)
    cases = [one("7.4", f"close {code}", close_frame(code, "é".encode()), ends=code) for code in valid]
    cases += [one("7.4", f"close {code} is refused", close_frame(code), ends=1002) for code in invalid]
    within = frame(TEXT, b"fragment1", fin=False)
    cases += [
        one("5.5.1", "close without a payload", close_frame(), ends=EMPTY),
        one("5.5.1", "close of one byte", frame(CLOSE, b"\x03"), ends=1002),
        one("5.5.1", "close with the longest reason", close_frame(1000, b"*" * 123), ends=1000),
        one("5.5.1", "close with a reason that is too long", close_frame(1000, b"*" * 124), ends=1002),
        one("8.1", "close with a surrogate in its reason", close_frame(1000, b"\xce\xba\xed\xa0\x80"), ends=1007),
        one("8.1", "close with a reason that is cut short", close_frame(1000, "é".encode()[:1]), ends=1007),
        one("5.4", "close within a fragmented text, which then goes on (Autobahn 7.1.5)",
            within + close_frame(1000) + frame(CONT, b"fragment2"), ends=1000),
        one("5.4", "close within a fragmented binary", frame(BINARY, b"a", fin=False) + close_frame(3000), ends=3000),
        one("5.4", "close without a payload within a text", within + close_frame(), ends=EMPTY),
        one("5.4", "close within a code point", frame(TEXT, b"\xf0\x9f", fin=False) + close_frame(1000), ends=1000),
        one("5.5.1", "a text, then close", frame(TEXT, b"last") + close_frame(1000), (TEXT, b"last"), ends=1000),
    ]  # fmt: skip
    for name, after in (
        ("a text", frame(TEXT, b"late")),
        ("a ping", frame(PING, b"late")),
        ("a second close", close_frame(1001)),
        ("a frame that breaks every rule", b"\xff\x7f" + b"\xff" * 20),
        ("a close of a bad code", close_frame(1005)),
    ):
        cases.append(one("5.5.1", f"close, then {name}", close_frame(1000) + after, ends=1000))
    return cases


VALID_TEXT = ["a", "é", "κόσμε", "\ufffd\uffff\ufffe", "\U0010ffff", "\U00010000", "\0", "\ud7ff\ue000", "🎈" * 60]
# Valid bytes, bytes that can be continued to something valid, and the first byte that no continuation can mend.
INVALID_TEXT = [
    (b"", b"", b"\x80"),
    (b"ok", b"", b"\xbf"),
    (b"", b"", b"\xc0"),
    (b"", b"", b"\xc1"),
    (b"", b"\xc3", b"\x28"),
    (b"", b"\xdf", b"\xc3"),
    (b"", b"\xe0", b"\x80"),
    (b"", b"\xe0", b"\x9f"),
    (b"", b"\xe2\x82", b"\x41"),
    (b"", b"\xed", b"\xa0"),
    (b"\xce\xba\xe1\xbd\xb9", b"\xed", b"\xbf"),
    (b"", b"\xf0", b"\x80"),
    (b"", b"\xf0", b"\x8f"),
    (b"", b"\xf0\x9f", b"\xc0"),
    (b"", b"\xf0\x9f\x8e", b"\xf0"),
    (b"", b"\xf4", b"\x90"),
    (b"", b"", b"\xf5"),
    (b"", b"", b"\xf8"),
    (b"", b"", b"\xfe"),
    (b"", b"", b"\xff"),
]


def _utf8() -> list[Case]:
    cases = []
    for text in VALID_TEXT:
        payload = text.encode()
        octets = b"".join(frame(CONT, bytes([octet]), fin=False) for octet in payload)
        cases += [
            one("5.6", f"text {payload[:12].hex()}", frame(TEXT, payload), (TEXT, payload)),
            one("5.6", f"text {payload[:12].hex()}, an octet a fragment",
                frame(TEXT, b"", fin=False) + octets + frame(CONT), (TEXT, payload)),
        ]  # fmt: skip
    for valid, open_end, wrong in INVALID_TEXT:
        name = (valid + open_end + wrong).hex()
        bad = valid + open_end + wrong
        start = frame(TEXT, valid + open_end, fin=False) + frame(PING)
        cases += [
            one("8.1", f"text {name}", frame(TEXT, bad), ends=1007),
            one("8.1", f"text {name}, whole within the frame", frame(TEXT, bad + b" and more text"), ends=1007),
            # Fail fast: the byte that no continuation can mend is refused as soon as it is here.
            Case("8.1", f"text {name}, cut before its last byte, which is refused at once",
                 ((start, ((PONG, b""),)), (frame(CONT, wrong, fin=False), ())), ends=1007),
            one("8.1", f"text {name}, refused before its frame has come",
                frame(TEXT, bad + b"x" * 300)[: 8 + len(bad)], ends=1007),
        ]  # fmt: skip
    for cut in (b"\xc3", b"\xe2\x82", b"\xf0\x9f\x8e", b"abc\xf0"):
        cases += [
            one("8.1", f"text {cut.hex()} ends within a code point", frame(TEXT, cut), ends=1007),
            one("8.1", f"text {cut.hex()} in two fragments ends within a code point",
                frame(TEXT, cut, fin=False) + frame(CONT), ends=1007),
        ]  # fmt: skip
    everything = bytes(range(256)) * 4
    cases.append(one("5.6", "binary of every byte", frame(BINARY, everything), (BINARY, everything)))
    return cases


def _segments() -> list[Case]:
    messages = [bytes([n]) * (n * 7 % 300) for n in range(100)]
    stream = b"".join(frame(BINARY, message) for message in messages)
    mixed = frame(PING, b"1") + frame(TEXT, b"a") + frame(PONG) + frame(PING, b"2") + frame(BINARY, b"b" * 200)
    answers = (PONG, b"1"), (TEXT, b"a"), (PONG, b"2"), (BINARY, b"b" * 200)
    return [
        one("5.4", "100 binary messages in one segment", stream, *((BINARY, message) for message in messages)),
        one("5.4", "all kinds of frames in one segment", mixed, *answers),
        one("5.4", "all kinds of frames and a close in one segment", mixed + close_frame(1001), *answers, ends=1001),
    ]


CASES = [*_lengths(), *_masks(), *_reserved(), *_fragments(), *_control(), *_close(), *_utf8(), *_segments()]
