"""The conversation in either dialect, without I/O: bytes in, effects out (S1-S7)."""

from __future__ import annotations

import pytest

from raffia.errors import (
    AuthUnavailableError,
    CrdtError,
    DocumentDeletedError,
    DrainingError,
    ForbiddenError,
    InternalError,
    JournalUnavailableError,
    LaterError,
    MalformedError,
    QuarantinedError,
    RaffiaError,
    RoomFullError,
    SchemaError,
    TooFastError,
    TooLargeError,
    UnauthenticatedError,
    UpdateError,
    WaitingFullError,
    WireError,
)
from raffia.rooms.session import MAX_EXPECTED, Barrier, Rate, Session, Ticket
from raffia.sockets.conversation import (
    Authorise,
    Deliver,
    Detach,
    HocuspocusConversation,
    Inbox,
    Renew,
    Reply,
)
from raffia.sockets.refusals import close_reason, refusal
from raffia.types import Access, DocumentId, Grant
from raffia.wire import hocuspocus, ywebsocket
from raffia.wire.lib0 import write_buf, write_string
from raffia.wire.messages import Awareness, QueryAwareness, Step1, Update

NAME = "notes/é😀"
ADDRESS = NAME + "\0session-é"
STEP1 = b"\x00\x00\x01\x00"
AWARE = b"\x01" + write_buf(b"\x01\x07\x00" + write_string('{"name":"é😀"}'))


def conversation(documents: int = 10, preauth: int = 4, preauth_bytes: int = 400) -> HocuspocusConversation:
    return HocuspocusConversation(max_documents=documents, preauth_documents=preauth, preauth_bytes=preauth_bytes)


def frame(address: str, body: bytes) -> bytes:
    return write_string(address) + body


def auth(address: str, token: str = "tk") -> bytes:
    return frame(address, b"\x02\x00" + write_string(token) + write_string("4.5.0"))


def update(address: str, payload: bytes) -> bytes:
    return frame(address, b"\x00\x02" + write_buf(payload))


def opened(talk: HocuspocusConversation, address: str = ADDRESS) -> None:
    assert talk.receive(auth(address)) == [Authorise(address, "tk")]
    assert talk.opened(address) == []


# -- S1: what comes before the session is open ----------------------------------------------------------------------


def test_s1_what_comes_before_the_session_is_open_is_kept_in_order() -> None:
    talk = conversation()
    assert talk.receive(auth(ADDRESS)) == [Authorise(ADDRESS, "tk")]
    assert talk.receive(frame(ADDRESS, STEP1)) == []
    assert talk.receive(frame(ADDRESS, AWARE)) == []
    assert talk.receive(update(ADDRESS, b"one")) == []
    assert talk.undecided == 1
    assert talk.opened(ADDRESS) == [Step1(b"\x00"), Awareness(AWARE[2:]), Update(b"one")]
    assert talk.undecided == 0
    assert talk.opened(ADDRESS) == []  # handed over once
    assert talk.receive(update(ADDRESS, b"two")) == [Deliver(ADDRESS, Update(b"two"))]


def test_s1_more_bytes_than_the_bound_before_the_session_is_open_mean_later() -> None:
    talk = conversation(preauth_bytes=100)
    talk.receive(auth(ADDRESS))
    talk.receive(update(ADDRESS, b"x" * 60))
    with pytest.raises(LaterError, match="limit is 100"):
        talk.receive(update(ADDRESS, b"x" * 60))


def test_s1_the_bound_counts_each_document_and_starts_anew_when_it_is_open() -> None:
    talk = conversation(preauth_bytes=100)
    for address in ("a", "b"):
        talk.receive(auth(address))
        talk.receive(update(address, b"x" * 60))
    talk.opened("a")
    assert talk.receive(update("a", b"x" * 1000)) == [Deliver("a", Update(b"x" * 1000))]
    inbox = Inbox()
    inbox.keep(Update(b"1"), 90, 100)
    assert inbox.take() == [Update(b"1")]
    inbox.keep(Update(b"2"), 90, 100)
    assert inbox.take() == [Update(b"2")]


def test_s1_documents_that_are_not_let_in_yet_are_bounded() -> None:
    talk = conversation(preauth=3)
    for address in "abc":
        talk.receive(auth(address))
    with pytest.raises(RoomFullError, match="3 documents"):
        talk.receive(auth("d"))
    talk.opened("a")
    assert talk.receive(auth("d")) == [Authorise("d", "tk")]


def test_s1_documents_of_one_connection_are_bounded() -> None:
    talk = conversation(documents=3)
    for address in "abc":
        opened(talk, address)
    with pytest.raises(RoomFullError, match="limit is 3"):
        talk.receive(auth("d"))
    talk.receive(frame("b", b"\x07"))
    assert talk.receive(auth("d")) == [Authorise("d", "tk")]


# -- S3: addresses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["d", NAME, ADDRESS, "d\0", "d\0\0x", "d\0é"])
def test_s3_an_address_comes_back_exactly_and_is_one_line_of_its_own(address: str) -> None:
    talk = conversation()
    assert talk.receive(auth(address)) == [Authorise(address, "tk")]
    other = address + "x"
    assert talk.receive(auth(other)) == [Authorise(other, "tk")]
    talk.opened(address)
    assert talk.receive(frame(address, STEP1)) == [Deliver(address, Step1(b"\x00"))]
    assert talk.receive(frame(other, STEP1)) == []
    session = Session(DocumentId("d"), Grant(Access.EDIT), 1, address=address)
    assert session.prefix == write_string(address)
    for payload in (Ticket(session, b"u", 0.0).stored(), Ticket(session, b"u", 0.0).refused()):
        assert payload is not None
        assert payload.startswith(write_string(address))


# -- S4, S5: letting in -----------------------------------------------------------------------------------------------


def test_s4_after_a_denial_the_rest_is_dropped_and_a_new_auth_is_a_new_try() -> None:
    talk = conversation()
    talk.receive(auth(ADDRESS, "old"))
    talk.receive(frame(ADDRESS, STEP1))
    talk.denied(ADDRESS, wait_for_auth=False)
    for _ in range(100):
        assert talk.receive(update(ADDRESS, b"x" * 300)) == []  # no attack, and it costs nothing
    assert talk.receive(auth(ADDRESS, "new")) == [Authorise(ADDRESS, "new")]
    assert talk.receive(frame(ADDRESS, b"\x03")) == []
    assert talk.opened(ADDRESS) == [QueryAwareness()]
    assert talk.undecided == 0


def test_s4_an_auth_after_establishment_renews() -> None:
    talk = conversation()
    opened(talk)
    assert talk.receive(auth(ADDRESS, "later é")) == [Renew(ADDRESS, "later é")]


def test_s4_the_same_auth_while_it_is_decided_adds_nothing() -> None:
    talk = conversation()
    talk.receive(auth(ADDRESS))
    assert talk.receive(auth(ADDRESS)) == []
    assert talk.undecided == 1


def test_s4_another_token_while_one_is_decided_takes_its_place() -> None:
    talk = conversation()
    talk.receive(auth(ADDRESS, "old"))
    talk.receive(frame(ADDRESS, STEP1))
    assert talk.receive(auth(ADDRESS, "new")) == [Authorise(ADDRESS, "new")]
    assert talk.undecided == 1
    assert talk.opened(ADDRESS) == [Step1(b"\x00")]


def test_s5_without_an_auth_it_is_asked_once_as_one_without_a_token() -> None:
    talk = conversation()
    assert talk.receive(frame("d", STEP1)) == [Authorise("d", None)]
    assert talk.receive(frame("d", AWARE)) == []
    assert talk.opened("d") == [Step1(b"\x00"), Awareness(AWARE[2:])]


def test_s5_denied_without_a_token_it_waits_for_an_auth() -> None:
    talk = conversation(preauth_bytes=100)
    talk.receive(frame("d", STEP1))
    talk.denied("d", wait_for_auth=True)
    assert talk.receive(update("d", b"x" * 30)) == []  # not asked about a second time
    assert talk.receive(auth("d")) == [Authorise("d", "tk")]
    assert talk.opened("d") == [Step1(b"\x00"), Update(b"x" * 30)]


def test_s5_what_waits_for_an_auth_stays_bounded() -> None:
    talk = conversation(preauth_bytes=100)
    talk.receive(frame("d", STEP1))
    talk.denied("d", wait_for_auth=True)
    with pytest.raises(LaterError):
        talk.receive(update("d", b"x" * 100))


def test_s5_an_auth_that_comes_while_it_is_asked_without_a_token_counts() -> None:
    """v2 providers may send awareness while they fetch their token."""
    talk = conversation()
    assert talk.receive(frame("d", AWARE)) == [Authorise("d", None)]
    assert talk.receive(auth("d")) == [Authorise("d", "tk")]
    assert talk.receive(frame("d", STEP1)) == []
    assert talk.undecided == 1
    assert talk.opened("d") == [Awareness(AWARE[2:]), Step1(b"\x00")]


# -- CLOSE, ping, stateless -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["asking", "open", "waiting", "denied"])
def test_a_close_ends_the_line_in_every_state(state: str) -> None:
    talk = conversation(documents=1, preauth=1)
    talk.receive(auth(ADDRESS))
    talk.receive(frame(ADDRESS, STEP1))
    if state == "open":
        talk.opened(ADDRESS)
    elif state != "asking":
        talk.denied(ADDRESS, wait_for_auth=state == "waiting")
    assert talk.receive(frame(ADDRESS, b"\x07")) == [Detach(ADDRESS)]
    assert talk.undecided == 0
    assert talk.opened(ADDRESS) == []  # a decision that comes too late opens nothing
    talk.denied(ADDRESS, wait_for_auth=False)
    assert talk.undecided == 0
    assert talk.receive(auth(ADDRESS)) == [Authorise(ADDRESS, "tk")]  # what came before is forgotten
    assert talk.opened(ADDRESS) == []


def test_a_close_of_what_is_not_open_does_nothing() -> None:
    assert conversation().receive(frame("d", b"\x07" + write_string("bye é"))) == []


def test_a_session_that_we_ended_may_sign_in_again() -> None:
    talk = conversation()
    opened(talk)
    talk.ended(ADDRESS)
    assert talk.undecided == 0
    assert talk.receive(auth(ADDRESS)) == [Authorise(ADDRESS, "tk")]


def test_ping_is_answered_and_pong_is_not() -> None:
    talk = conversation()
    assert talk.receive(b"\x09") == [Reply(b"\x0a")]
    assert talk.receive(b"\x0a") == []
    assert talk.undecided == 0


def test_stateless_messages_of_an_open_session_go_nowhere() -> None:
    talk = conversation()
    opened(talk)
    assert talk.receive(frame(ADDRESS, b"\x05" + write_string("é"))) == []


@pytest.mark.parametrize("kind", [4, 6, 8, 11])
def test_what_no_client_says_is_malformed(kind: int) -> None:
    with pytest.raises(WireError, match=f"type {kind}"):
        conversation().receive(frame("d", bytes([kind, 0])))


# -- S2, S7: tickets --------------------------------------------------------------------------------------------------


def yws_session() -> Session:
    return Session(DocumentId("d"), Grant(Access.EDIT), 1)


def hp_session() -> Session:
    return Session(DocumentId("d"), Grant(Access.EDIT), 1, address="d")


def test_s2_tickets_speak_their_dialect() -> None:
    hp, yws = Ticket(hp_session(), b"u", 0.0), Ticket(yws_session(), b"u", 0.0)
    assert hp.stored() == hocuspocus.sync_status("d", ok=True)
    assert hp.refused() == hocuspocus.sync_status("d", ok=False)
    assert yws.stored() == ywebsocket.update(b"u")
    assert yws.refused() is None
    assert Ticket(yws_session(), None, 0.0).stored() is None
    assert Barrier(yws_session(), b"\x01\x02", 0.0).stored() == b"\x66\x02\x01\x02"


def test_s7_step2s_are_counted_as_the_provider_counts_them() -> None:
    session = hp_session()
    assert session.counts_step2()  # one that nobody asked for
    session.expect_step2(counted=True)
    session.expect_step2(counted=False)
    assert [session.counts_step2() for _ in range(3)] == [True, False, True]
    silent = Ticket(session, b"u", 0.0)
    silent.is_silent = True
    assert silent.stored() is None
    assert silent.refused() is None


def test_s7_is_for_hocuspocus_alone() -> None:
    session = yws_session()
    session.expect_step2(counted=False)
    assert session.counts_step2()


def test_s7_what_is_expected_is_bounded() -> None:
    session = hp_session()
    for _ in range(10 * MAX_EXPECTED):
        session.expect_step2(counted=False)
    assert len(session.expected or ()) <= MAX_EXPECTED + 1


# -- S6: rates --------------------------------------------------------------------------------------------------------


def test_s6_a_bucket_holds_a_second_and_fills_with_time() -> None:
    rate = Rate(3)
    assert [rate.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert not rate.has(100.3)
    assert rate.take(100.4)
    assert not rate.take(100.4)
    assert [rate.take(1000.0) for _ in range(4)] == [True, True, True, False]  # never more than a second's worth


# -- how errors are said ----------------------------------------------------------------------------------------------

# error, close code on y-websocket, on Hocuspocus: None for a CLOSE in band, else the code for the socket
TABLE: list[tuple[type[RaffiaError], int, int | None]] = [
    (MalformedError, 4400, 4400),
    (WireError, 4400, 4400),
    (UpdateError, 4400, 4400),
    (UnauthenticatedError, 4401, None),
    (ForbiddenError, 4403, None),
    (DocumentDeletedError, 4404, None),
    (SchemaError, 4409, None),
    (TooLargeError, 4413, None),
    (LaterError, 1013, 1013),
    (RoomFullError, 1013, 1013),
    (TooFastError, 1013, 1013),
    (WaitingFullError, 1013, 1013),
    (JournalUnavailableError, 1013, 1013),
    (AuthUnavailableError, 1013, 1013),
    (DrainingError, 1012, 1012),
    (InternalError, 1011, None),
    (QuarantinedError, 1011, None),
    (CrdtError, 1011, None),
]


@pytest.mark.parametrize(("kind", "yws_code", "hp_code"), TABLE, ids=lambda value: getattr(value, "__name__", None))
def test_each_error_is_said_as_its_dialect_says_it(kind: type[RaffiaError], yws_code: int, hp_code: int | None) -> None:
    error = kind("5 bytes too many é")
    assert refusal(error, None) == (None, yws_code)
    payload, code = refusal(error, ADDRESS)
    assert code == hp_code
    assert payload == (None if hp_code is not None else hocuspocus.close(ADDRESS, close_reason(error)))


@pytest.mark.parametrize("kind", [kind for kind, _, _ in TABLE])
def test_only_what_the_client_did_wrong_is_described_to_it(kind: type[RaffiaError]) -> None:
    reason = close_reason(kind("in /var/lib, at é"))
    assert reason.startswith(kind.reason)
    assert ("/var/lib" in reason) == (kind.fault == "client")
