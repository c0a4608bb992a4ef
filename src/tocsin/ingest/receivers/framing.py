"""Cutting a stream of syslog over TCP into messages: octet counting and line feeds (RFC 6587), told apart message by message."""

from __future__ import annotations

__all__ = ["FrameError", "SyslogFramer"]

_DIGITS = frozenset(b"123456789")


class FrameError(ValueError):
    """The stream can't be cut any further: the connection must be closed."""


class SyslogFramer:
    """Takes bytes as they come and gives whole messages.

    A message that starts with a digit other than 0 and a count of at most seven digits before a blank is octet-counted; any other ends at a
    line feed or NUL. A message over `limit` is cut there, and the rest up to its end is dropped and counted in `cut`.
    """

    def __init__(self, limit: int = 1 << 20) -> None:
        self.limit = limit
        self.cut = 0
        self._buffer = bytearray()
        self._skip_octets = 0
        self._skip_line = False

    @property
    def pending(self) -> int:
        """Bytes that belong to no whole message yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are whole now."""
        buffer = self._buffer
        buffer += data
        out: list[bytes] = []
        at = 0
        size = len(buffer)
        while at < size:
            if self._skip_octets:
                step = min(self._skip_octets, size - at)
                self._skip_octets -= step
                at += step
                continue
            if self._skip_line:
                end = _line_end(buffer, at)
                if end < 0:
                    at = size
                    break
                self._skip_line = False
                at = end + 1
                continue
            if buffer[at] in _DIGITS:
                space = buffer.find(b" ", at, at + 8)
                head = bytes(buffer[at:space]) if space > 0 else b""
                if space < 0 and size - at < 8 and bytes(buffer[at:]).isdigit():
                    break
                if head.isdigit():
                    length = int(head)
                    end = space + 1 + length
                    if length > self.limit:
                        if size - space - 1 < self.limit:
                            break
                        out.append(bytes(buffer[space + 1 : space + 1 + self.limit]))
                        self.cut += 1
                        at = space + 1 + self.limit
                        self._skip_octets = length - self.limit
                        continue
                    if end > size:
                        break
                    out.append(bytes(buffer[space + 1 : end]))
                    at = end
                    continue
            end = _line_end(buffer, at)
            if end < 0:
                if size - at > self.limit:
                    out.append(bytes(buffer[at : at + self.limit]))
                    self.cut += 1
                    self._skip_line = True
                    at += self.limit
                    continue
                break
            if end - at > self.limit:
                out.append(bytes(buffer[at : at + self.limit]))
                self.cut += 1
            else:
                line = bytes(buffer[at:end]).rstrip(b"\r")
                if line:
                    out.append(line)
            at = end + 1
        del buffer[:at]
        return out

    def rest(self) -> bytes:
        """What is left when the stream ends: a last line without its line feed, if it is one."""
        left = bytes(self._buffer).strip(b"\r\n\0 ")
        self._buffer.clear()
        return left


def _line_end(buffer: bytearray, start: int) -> int:
    line = buffer.find(b"\n", start)
    null = buffer.find(b"\0", start, line if line >= 0 else len(buffer))
    return null if null >= 0 else line
