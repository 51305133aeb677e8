"""How an error is reported to a client: by a close code of the socket, or in band to one Hocuspocus session."""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from typing import NamedTuple

from raffia.errors import LaterError, RaffiaError, TooLargeError, WireError
from raffia.wire import hocuspocus


class Refusal(NamedTuple):
    """How an error is reported to one session.

    Attributes:
        payload: sent first; None for nothing.
        close_code: the socket is then closed with this code; None if it stays open.
    """

    payload: bytes | None
    close_code: int | None


def refusal(error: RaffiaError, address: str | None) -> Refusal:
    """Report an error to an open session: with a close code on y-websocket, with a CLOSE in band on Hocuspocus.

    Malformed bytes and restarts affect the whole socket. So do temporary errors other than 1011, because a provider
    never reconnects a document that was closed in band.

    Args:
        error: what happened.
        address: the session's Hocuspocus address; None on y-websocket.
    """
    if address is None or error.close_code in (4400, 1012) or (not error.permanent and error.close_code != 1011):
        return Refusal(None, error.close_code)
    return Refusal(hocuspocus.close(address, close_reason(error)), None)


def close_reason(error: RaffiaError) -> str:
    """The reason sent to the client: the stable identifier, followed by the details if the client is at fault."""
    return f"{error.reason}: {error}" if error.fault == "client" else error.reason


def transport_error(code: int, reason: str) -> RaffiaError:
    """The error for which a transport closes with this code, because of what the client sent."""
    if code in (1009, TooLargeError.close_code):
        return TooLargeError(reason)
    return LaterError(reason) if code == LaterError.close_code else WireError(reason)


def comes_again(error: RaffiaError) -> bool:
    """Whether a client that receives this error may soon send the same data again."""
    return isinstance(error, TooLargeError) or (isinstance(error, LaterError) and error.close_code != 1012)
