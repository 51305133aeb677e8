"""The lib0 codec: the integers, buffers and strings that both dialects use.

Readers take bytes and an offset, and return the value and the offset after it.

Rules (tests quote these ids):
    LB1  A varUint is LEB128, low 7 bits first, of at most 53 bits (which JavaScript represents exactly), so at most 8
         bytes. It must be in its shortest form, so that reading and writing it gives the same bytes.
    LB2  A length is checked against the remaining bytes before anything is sliced or allocated.
    LB3  A string is strict UTF-8: no overlong forms, no surrogates, and invalid bytes are not replaced.
    LB4  A varInt has its sign in bit 6 of the first byte and 6 bits of its value there, then 7 bits in each byte; at
         most 53 bits.
    LB5  Every refusal is a `WireError` that says what was being read, how much was announced, how much follows, and
         where.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from raffia.errors import WireError

MAX_UINT = (1 << 53) - 1

_ONE_BYTE = tuple(bytes((n,)) for n in range(128))


def read_varuint(data: bytes, at: int, what: str = "number") -> tuple[int, int]:
    """Read a varUint (LB1).

    Args:
        data: the bytes to read from.
        at: offset of the first byte.
        what: name of the number, for error messages.

    Returns:
        The number and the offset after it.

    Raises:
        WireError: the number is cut short, over 53 bits, or not in its shortest form.
    """
    if at < len(data):
        byte = data[at]
        if byte < 128:
            return byte, at + 1
    return _read_long_varuint(data, at, what)


def _read_long_varuint(data: bytes, start: int, what: str) -> tuple[int, int]:
    value = shift = 0
    # 8 bytes hold 56 bits. Reading on would cost quadratic time for a frame of continuation bytes.
    for at in range(start, min(len(data), start + 8)):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 128:
            if value > MAX_UINT:
                break
            if byte == 0 and at > start:
                raise WireError(f"{what} is not in its shortest form (byte {start})")
            return value, at + 1
        shift += 7
    else:
        if len(data) < start + 8:
            raise WireError(f"{what} is cut short after {len(data) - start} bytes (byte {start})")
    raise WireError(f"{what} has more than 53 bits (byte {start})")


def read_varint(data: bytes, at: int, what: str = "number") -> tuple[int, int]:
    """Read a varInt (LB4). Negative zero is read as 0.

    Returns:
        The number and the offset after it.

    Raises:
        WireError: the number is cut short, or over 53 bits.
    """
    start = at
    if at >= len(data):
        raise WireError(f"{what} is cut short after 0 bytes (byte {start})")
    byte = data[at]
    at += 1
    negative = byte & 0x40
    value = byte & 0x3F
    shift = 6
    while byte & 0x80:
        if at - start == 8:
            raise WireError(f"{what} has more than 53 bits (byte {start})")
        if at >= len(data):
            raise WireError(f"{what} is cut short after {at - start} bytes (byte {start})")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
    if value > MAX_UINT:
        raise WireError(f"{what} has more than 53 bits (byte {start})")
    return (-value if negative else value), at


def read_buf(data: bytes, at: int, what: str = "buffer") -> tuple[bytes, int]:
    """Read a length and that many bytes (LB2).

    Returns:
        The bytes, copied out of `data`, and the offset after them.

    Raises:
        WireError: the length cannot be read, or fewer bytes follow than it says.
    """
    size_bytes, start = read_varuint(data, at, what)
    end = start + size_bytes
    if end > len(data):
        raise WireError(f"{what} announces {size_bytes} bytes but {len(data) - start} follow (byte {start})")
    return data[start:end], end


def read_string(data: bytes, at: int, what: str = "string") -> tuple[str, int]:
    """Read a string: a length in bytes and that much UTF-8 (LB2, LB3).

    Returns:
        The text and the offset after it.

    Raises:
        WireError: as for `read_buf`, or the bytes are not UTF-8.
    """
    raw, end = read_buf(data, at, what)
    try:
        return raw.decode(), end
    except UnicodeDecodeError as error:
        raise WireError(f"{what} is not UTF-8 (byte {end - len(raw) + error.start})") from None


def write_varuint(value: int) -> bytes:
    """Write a varUint (LB1).

    Raises:
        ValueError: the number is negative or over 53 bits; our mistake, not the client's.
    """
    if 0 <= value < 128:
        return _ONE_BYTE[value]
    if not 0 <= value <= MAX_UINT:
        raise ValueError(f"{value} does not fit a varUint (0 to 2^53 - 1)")
    out = bytearray()
    while value > 127:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def write_varint(value: int) -> bytes:
    """Write a varInt (LB4).

    Raises:
        ValueError: the number is over 53 bits; our mistake, not the client's.
    """
    size = abs(value)
    if size > MAX_UINT:
        raise ValueError(f"{value} does not fit a varInt (53 bits and a sign)")
    first = size & 0x3F | (0x40 if value < 0 else 0)
    size >>= 6
    out = bytearray((first | 0x80 if size else first,))
    while size:
        byte = size & 0x7F
        size >>= 7
        out.append(byte | 0x80 if size else byte)
    return bytes(out)


def write_buf(content: bytes) -> bytes:
    """Write the length and the bytes."""
    size_bytes = len(content)
    return (_ONE_BYTE[size_bytes] if size_bytes < 128 else write_varuint(size_bytes)) + content


def write_string(text: str) -> bytes:
    """Write a string: its length in UTF-8 bytes (not in characters), and the bytes.

    Raises:
        ValueError: the text contains a surrogate, which UTF-8 cannot encode.
    """
    return write_buf(text.encode())
