"""Sockets between a build and its workers on the nodes of a cluster, past Ray, which places workers and reports how they end.

A message through Ray takes milliseconds of CPU on both sides, through a socket a tenth of one. Messages are read while the
build has room for them, so that results wait on their nodes. What is sent to whom is `ray_engine`'s and `serving`'s business.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import math
import os
import pickle
import queue
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Any

_SIZE = struct.Struct("!Q")
_NUMBER = struct.Struct("!Q")
_NONCE = 32
_CONNECT_SECONDS = 10.0
"""Time for a worker to reach the build and for both to authenticate by the key."""
_ROOM = 64 << 20
"""Bytes of messages that are read before the build takes them; a single larger one is read when there are no others."""
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""A connection that a network swallowed ends after about a minute."""


@dataclass(frozen=True)
class Invitation:
    """Where one worker reaches its build, and how it authenticates itself."""

    host: str
    port: int
    key: bytes
    number: int

    def proof(self, side: str, nonce: bytes) -> bytes:
        """Return what only a holder of the key can answer to a nonce."""
        return hmac.digest(self.key, side.encode() + _NUMBER.pack(self.number) + nonce, "sha256")


class Listener:
    """The build's end: one thread reads and writes for all workers."""

    def __init__(self, host: str) -> None:
        """Listen.

        Args:
            host: address of this machine by which the nodes reach it.

        Raises:
            OSError: it is no address of this machine.
        """
        self._key = os.urandom(32)
        self._events: queue.SimpleQueue[tuple[int, str, bytes]] = queue.SimpleQueue()
        self._writers: dict[int, asyncio.StreamWriter] = {}
        self._met: set[int] = set()
        """Workers that have connected, or must not any more."""
        self._all: set[asyncio.StreamWriter] = set()
        self._unread: float = 0
        self._freed = asyncio.Event()
        self.ready, self._bell = socket.socketpair()
        """Readable while there may be events to take."""
        self.ready.setblocking(False)
        self._bell.setblocking(False)
        self._listening = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.host, self.port = self._listening.getsockname()[:2]
        self._begun = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True, name="spherehead-sockets")
        self._thread.start()

    def invitation(self, number: int) -> bytes:
        """Return the invitation of the worker of that number, for `connect`."""
        return pickle.dumps(Invitation(self.host, self.port, self._key, number))

    def take(self) -> list[tuple[int, str, bytes]]:
        """Return what came since the last call as (number, kind, message): "open", "message" and, as the last, "closed"."""
        with contextlib.suppress(BlockingIOError):
            self.ready.recv(4096)
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._events.get_nowait())
        if size := sum(len(message) for _, _, message in found):
            self._loop.call_soon_threadsafe(self._release, size)
        return found

    def send(self, number: int, message: bytes) -> None:
        """Send a message when the worker takes it; one that is gone gets none."""
        self._loop.call_soon_threadsafe(self._write, number, message)

    def drop(self, number: int) -> None:
        """End a worker's connection at once."""
        self._loop.call_soon_threadsafe(self._abort, number)

    def close(self) -> None:
        """End every connection."""
        self._begun.wait()  # a loop that is stopped while it starts the server ends its thread with an error
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self.ready.close()
        self._bell.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            server = self._loop.run_until_complete(asyncio.start_server(self._meet, sock=self._listening))
        finally:
            self._begun.set()
        self._loop.run_forever()
        server.close()
        self._unread = -math.inf  # whoever waits for room reads on, and meets the end of its connection
        self._freed.set()
        for writer in list(self._all):
            writer.transport.abort()
        if tasks := asyncio.all_tasks(self._loop):
            self._loop.run_until_complete(asyncio.wait(tasks, timeout=1.0))
        self._loop.close()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hear a worker until its connection ends."""
        self._all.add(writer)
        try:
            number = await asyncio.wait_for(self._check(reader, writer), _CONNECT_SECONDS)
        except (OSError, EOFError):
            self._all.discard(writer)
            writer.transport.abort()
            return
        self._put(number, "open", b"")
        try:
            while True:
                (size,) = _SIZE.unpack(await reader.readexactly(_SIZE.size))
                self._put(number, "message", await self._read(reader, size))
        except (EOFError, OSError):
            pass
        finally:
            self._all.discard(writer)
            self._abort(number)
            self._put(number, "closed", b"")

    async def _check(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        """Return the number of a worker that knows the key, and show it that the build does.

        Raises:
            PermissionError: it does not, or that worker has connected before or is dropped.
        """
        keep_alive(writer.get_extra_info("socket"))
        nonce = os.urandom(_NONCE)
        writer.write(nonce)
        answer = await reader.readexactly(_NUMBER.size + _NONCE + 32)
        number = int(_NUMBER.unpack(answer[: _NUMBER.size])[0])
        theirs, proof = answer[_NUMBER.size : _NUMBER.size + _NONCE], answer[_NUMBER.size + _NONCE :]
        worker = Invitation(self.host, self.port, self._key, number)
        if not hmac.compare_digest(proof, worker.proof("worker", nonce)) or number in self._met:
            raise PermissionError("not a worker of this build")
        self._met.add(number)
        self._writers[number] = writer
        writer.write(worker.proof("build", theirs))
        return number

    async def _read(self, reader: asyncio.StreamReader, size: int) -> bytes:
        """Return a message once there is room for it."""
        while self._unread > 0 and self._unread + size > _ROOM:
            self._freed.clear()
            await self._freed.wait()
        self._unread += size
        try:
            return await reader.readexactly(size)
        except BaseException:
            self._release(size)
            raise

    def _release(self, size: int) -> None:
        self._unread -= size
        self._freed.set()

    def _write(self, number: int, message: bytes) -> None:
        if (writer := self._writers.get(number)) is not None:
            writer.write(_SIZE.pack(len(message)) + message)

    def _abort(self, number: int) -> None:
        self._met.add(number)
        if (writer := self._writers.pop(number, None)) is not None:
            writer.transport.abort()

    def _put(self, number: int, kind: str, message: bytes) -> None:
        self._events.put((number, kind, message))
        with contextlib.suppress(OSError):  # a bell that is full has been rung
            self._bell.send(b"\0")


class SocketPipe:
    """A worker's end, as `serving` uses a pipe."""

    def __init__(self, connection: socket.socket) -> None:
        """Take a connection on which both sides are authenticated."""
        self._socket = connection
        self.is_lost = False
        """Whether the connection ended while it was in use."""

    def send(self, message: object) -> None:
        """Send a message; waits while the build has no room.

        Raises:
            ConnectionResetError: the build is gone.
        """
        data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        try:
            self._socket.sendall(_SIZE.pack(len(data)) + data)
        except OSError as error:
            self.is_lost = True
            raise ConnectionResetError(str(error)) from error

    def recv(self) -> Any:
        """Return the next message.

        Raises:
            EOFError: the build is gone.
        """
        try:
            (size,) = _SIZE.unpack(_read(self._socket, _SIZE.size))
            return pickle.loads(_read(self._socket, size))
        except (OSError, EOFError) as error:
            self.is_lost = True
            raise EOFError(str(error)) from error


def connect(invitation: Invitation) -> SocketPipe | None:
    """Return a connection to the build; None where it cannot be reached from here."""
    try:
        connection = socket.create_connection((invitation.host, invitation.port), timeout=_CONNECT_SECONDS)
    except OSError:
        return None
    try:
        keep_alive(connection)
        nonce = os.urandom(_NONCE)
        proof = invitation.proof("worker", _read(connection, _NONCE))
        connection.sendall(_NUMBER.pack(invitation.number) + nonce + proof)
        if not hmac.compare_digest(_read(connection, 32), invitation.proof("build", nonce)):
            raise PermissionError("not the build that started this worker")
        connection.settimeout(None)
    except (OSError, EOFError):
        connection.close()
        return None
    return SocketPipe(connection)


def _read(connection: socket.socket, size: int) -> bytes:
    """Return the next bytes; EOFError where the connection ends before."""
    found = bytearray(size)
    view, at = memoryview(found), 0
    while at < size:
        count = connection.recv_into(view[at:])
        if not count:
            raise EOFError("the connection ended")
        at += count
    return bytes(found)


def keep_alive(connection: socket.socket) -> None:
    """Have the system notice a peer that is gone without a word, and send small messages at once."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
