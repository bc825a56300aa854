"""Messages between a build and workers elsewhere: whole, in order, only with those that know the key, and no more than fit."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
import socket
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Pipe, wait
from typing import Any

import pytest
from spherehead.pipeline.engines import ray_engine, ray_sockets
from spherehead.pipeline.engines.base import Parent
from spherehead.pipeline.engines.ray_node import CONNECTION_LOST
from spherehead.pipeline.engines.ray_sockets import Invitation, Listener, SocketPipe, connect
from spherehead.pipeline.execution.work import WorkOrder
from spherehead.pipeline.presets import preset

Event = tuple[int, str, bytes]


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener("127.0.0.1")
    yield listener
    listener.close()


def invited(listener: Listener, number: int = 7) -> Invitation:
    found: Invitation = pickle.loads(listener.invitation(number))
    return found


def joined(listener: Listener, number: int = 7) -> SocketPipe:
    pipe = connect(invited(listener, number))
    assert pipe is not None
    return pipe


def events(listener: Listener, count: int) -> list[Event]:
    """Return the next events; at least `count`, or what came within a generous time."""
    found: list[Event] = []
    until = time.monotonic() + 60
    while len(found) < count and time.monotonic() < until:
        wait([listener.ready], 1.0)
        found += listener.take()
    return found


def test_messages_come_whole_and_in_order_both_ways(listener: Listener) -> None:
    pipe = joined(listener)
    sent = [("done", bytes([number]) * size) for number, size in enumerate((0, 1, 70_000, 3_000_000))]
    for message in sent:
        pipe.send(message)
    found = events(listener, 5)
    assert found[0] == (7, "open", b"") and [pickle.loads(message) for _, _, message in found[1:]] == sent
    for _, message in sent:
        listener.send(7, pickle.dumps(message))
    assert [pipe.recv() for _ in sent] == [message for _, message in sent]


def test_who_does_not_know_the_key_or_says_nothing_is_not_heard(listener: Listener) -> None:
    right = invited(listener)
    with socket.create_connection((listener.host, listener.port)):  # says nothing, and keeps nobody waiting
        assert connect(dataclasses.replace(right, key=b"guessed")) is None
        first = joined(listener, 8)
        assert [event[:2] for event in events(listener, 1)] == [(8, "open")]
        assert connect(invited(listener, 8)) is None  # there is a worker 8 already
        listener.send(8, pickle.dumps("still heard"))
        assert first.recv() == "still heard"


def test_a_worker_does_not_obey_another_that_listens_at_the_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            peer, _ = other.accept()
            peer.sendall(bytes(32))
            peer.recv(1000)
            peer.sendall(bytes(32))
            peer.close()

        thread = threading.Thread(target=answer)
        thread.start()
        invitation = Invitation("127.0.0.1", other.getsockname()[1], b"key", 1)
        assert connect(invitation) is None
        thread.join()
    assert connect(invitation) is None  # nobody listens there any more


def test_results_wait_with_their_worker_until_the_build_has_room(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_sockets, "_ROOM", 3 << 20)
    pipe, message = joined(listener), bytes(1 << 20)
    sender = threading.Thread(target=lambda: [pipe.send(message) for _ in range(40)], daemon=True)
    sender.start()
    sender.join(timeout=0.15)
    assert sender.is_alive()
    sizes: list[int] = []
    while len(sizes) < 40:
        wait([listener.ready], 60.0)
        found = [len(told) for _, kind, told in listener.take() if kind == "message"]
        assert sum(found) <= 3 << 20
        sizes += found
    sender.join()


def test_both_sides_know_when_the_other_is_gone(listener: Listener) -> None:
    first, second = joined(listener, 1), joined(listener, 2)
    first._socket.close()
    listener.drop(2)
    assert {event[:2] for event in events(listener, 4)} == {(1, "open"), (2, "open"), (1, "closed"), (2, "closed")}
    with pytest.raises(EOFError):
        second.recv()
    assert second.is_lost


class Bridge:
    """What the engine asks of the process that speaks Ray; the test says what it answers."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.pipe, self.end = Pipe()
        self.asked: list[tuple[int, str, Any]] = []
        self.end.send((0, "cluster", ([("here", 2, 0)], "127.0.0.1")))

    def send(self, number: int, what: str, value: Any = None) -> None:
        self.asked.append((number, what, value))

    def close(self) -> None:
        self.pipe.close()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[ray_engine._Cluster]:
    monkeypatch.setattr(ray_engine, "BridgeProcess", Bridge)
    cluster = ray_engine._Cluster("head:6379", WorkOrder((), preset("frames")), 2, Parent())
    yield cluster
    cluster.close()


def heard(cluster: ray_engine._Cluster, count: int) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    until = time.monotonic() + 60
    while len(found) < count and time.monotonic() < until:
        found += [(kind, value) for _, kind, value in cluster.receive(0.05)]
    return found


def begun(cluster: ray_engine._Cluster) -> tuple[Any, Any, SocketPipe]:
    """Return a worker that is placed and connected, the bridge's end and the worker's."""
    worker, bridge = cluster.start(has_gpu=False), cluster._bridge
    number, what, invitation = bridge.asked[-1]
    assert what == "start"
    pipe = connect(pickle.loads(invitation[0]))
    assert pipe is not None
    pipe.send(("ready", None))  # held back until it is known where the worker runs
    for _ in range(20):
        assert cluster.receive(0.005) == []
    bridge.end.send((number, "placed", ("node-1", 10, 11, [])))
    assert heard(cluster, 1) == [("ready", None)]
    return worker, bridge.end, pipe


def test_what_a_worker_said_last_is_heard_before_its_end(cluster: ray_engine._Cluster) -> None:
    worker, bridge, pipe = begun(cluster)
    bridge.send((worker.number, "exit", 9))
    assert cluster.receive(0.05) == []  # its connection is still open
    pipe.send(("done", "result"))
    pipe._socket.close()
    assert heard(cluster, 2) == [("done", "result"), ("gone", None)]
    assert worker.ending().text == "exit code 9" and not worker.ending().is_lost


def test_a_lost_node_or_connection_is_not_the_fault_of_the_file(cluster: ray_engine._Cluster) -> None:
    worker, bridge, _ = begun(cluster)
    bridge.send((worker.number, "lost", "node died"))  # its socket stays open, as that of a machine without power does
    assert heard(cluster, 1) == [("gone", None)]
    assert worker.ending().is_lost and worker.ending().text == "node died on node-1"
    worker, bridge, pipe = begun(cluster)
    pipe._socket.close()
    bridge.send((worker.number, "exit", CONNECTION_LOST))
    assert heard(cluster, 1) == [("gone", None)]
    assert worker.ending().is_lost


def test_a_worker_that_only_closed_its_connection_is_ended(
    cluster: ray_engine._Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "_GONE_SECONDS", 0.0)
    worker, _, pipe = begun(cluster)
    pipe._socket.close()
    assert heard(cluster, 1) == [("gone", None)]
    assert worker.ending().is_lost and cluster._bridge.asked[-1][:2] == (worker.number, "kill")


def test_a_worker_that_does_not_reach_the_build_speaks_through_ray(
    cluster: ray_engine._Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    worker, bridge = cluster.start(has_gpu=False), cluster._bridge
    worker.send("first")  # before it is known how
    bridge.end.send((worker.number, "placed", ("node-1", 10, 11, [])))
    bridge.end.send((worker.number, "messages", [pickle.dumps(("ready", None))]))
    assert heard(cluster, 1) == [("ready", None)]
    worker.send("second")
    told = [(what, pickle.loads(value)) for _, what, value in bridge.asked if what == "tell"]
    assert told == [("tell", "first"), ("tell", "second")]
    assert "node-1 does not reach this build at 127.0.0.1:" in caplog.text


def test_a_listener_closes_without_an_error_before_its_server_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    start = asyncio.start_server

    async def slow(*arguments: Any, **settings: Any) -> asyncio.Server:
        await asyncio.sleep(0.3)
        return await start(*arguments, **settings)

    monkeypatch.setattr(asyncio, "start_server", slow)
    monkeypatch.setattr(threading, "excepthook", told.append)
    Listener("127.0.0.1").close()
    assert told == []
