"""Decoded bytes of a response body, counted while they come: no compressed body can fill the memory."""

import zlib
from collections.abc import Iterator

from penstock_worker.llm.errors import BadResponseError, ResponseTooLargeError

_STEP = 64 * 1024
_WINDOW = zlib.MAX_WBITS | 32  # finds out by itself whether it is gzip or zlib


class BodyDecoder:
    """Undoes ``content-encoding`` piece by piece; never holds more than 64 KiB of output at once.

    We ask for ``identity``; gzip and deflate are understood because some proxies compress regardless.
    Raises BadResponseError for another encoding or a broken one, ResponseTooLargeError past *max_bytes*.
    """

    def __init__(self, encoding: str, max_bytes: int) -> None:
        name = encoding.strip().lower()
        if name not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise BadResponseError(detail=f"content-encoding {name}")
        self._inflate = None if name in ("", "identity") else zlib.decompressobj(_WINDOW)
        self._left = max_bytes

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield *chunk* decoded, in pieces."""
        if self._inflate is None:
            self._count(chunk)
            yield chunk
            return
        while chunk:
            piece = self._step(self._inflate, chunk)
            if piece:
                yield piece
            chunk = self._inflate.unconsumed_tail

    def end(self) -> None:
        """Raise BadResponseError if a compressed body is not whole."""
        if self._inflate is not None and not self._inflate.eof:
            raise BadResponseError(detail="compressed body cut off")

    def _step(self, inflate: "zlib._Decompress", chunk: bytes) -> bytes:
        if inflate.eof:
            raise BadResponseError(detail="data after the end of a compressed body")
        try:
            piece = inflate.decompress(chunk, _STEP)
        except zlib.error:
            raise BadResponseError(detail="broken compressed body") from None
        self._count(piece)
        return piece

    def _count(self, piece: bytes) -> None:
        self._left -= len(piece)
        if self._left < 0:
            raise ResponseTooLargeError
