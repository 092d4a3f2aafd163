"""The output of a command in a container, as the engine sends it over a hijacked connection.

The SDK reads such an answer from the bare socket and loses whatever arrived together with the
answer's head, which under load is the whole output of a short command.
"""

from __future__ import annotations

from typing import IO, Any

HEADER_BYTES = 8
STDERR = 2


def output(raw_socket: Any) -> tuple[str, str]:  # noqa: ANN401 - the SDK's, untyped
    """Return standard output and standard error of a command, read to its end and decoded.

    :param raw_socket: what the SDK's ``exec_start(..., socket=True)`` returns.
    """
    response = raw_socket._response  # noqa: SLF001 - the only way to what was read ahead
    reader = response.raw._fp.fp  # noqa: SLF001 - as above
    # The connection's timeout is for answers; a command may be silent for as long as it likes.
    raw_socket._sock.settimeout(None)  # noqa: SLF001 - as above
    try:
        out, errors = demultiplex(reader)
    finally:
        response.close()
    return out.decode(errors="replace"), errors.decode(errors="replace")


def demultiplex(reader: IO[bytes]) -> tuple[bytes, bytes]:
    r"""Take apart a stream of frames: one byte of kind, three of nothing, four of length, data.

    >>> import io
    >>> demultiplex(io.BytesIO(b"\x01\0\0\0\0\0\0\x02hi\x02\0\0\0\0\0\0\x01!"))
    (b'hi', b'!')
    """
    streams: tuple[list[bytes], list[bytes]] = ([], [])
    while len(header := reader.read(HEADER_BYTES)) == HEADER_BYTES:
        data = reader.read(int.from_bytes(header[4:], "big"))
        streams[header[0] == STDERR].append(data)
    return b"".join(streams[0]), b"".join(streams[1])
