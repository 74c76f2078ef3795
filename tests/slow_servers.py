"""A server whose answers are bytes as a specification wants them: slow, large, broken."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Answering = Callable[[socket.socket], None]
"""Writes an answer; the request was read."""


@contextmanager
def serving(answering: Answering) -> Iterator[str]:
    """The address of a server; each request of a connection is answered so."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve(client: socket.socket) -> None:
        with client, suppress(OSError):
            while not over.is_set() and _request(client):
                answering(client)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _request(client: socket.socket) -> bytes:
    """The head of a request and what came with it; empty where the client is gone."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = client.recv(65536)
        if not piece:
            return b""
        head += piece
    return head


def whole(body: bytes, status: str = "200 OK") -> bytes:
    """An answer."""
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status.encode(), len(body), body)


def at_once(body: bytes, status: str = "200 OK") -> Answering:
    """The answer, sent at once."""
    return lambda client: client.sendall(whole(body, status))


def dripping(body: bytes, every_s: float = 0.05, begin: bytes = b"") -> Answering:
    """``begin`` at once, then the answer byte by byte."""

    def answer(client: socket.socket) -> None:
        client.sendall(begin)
        for one in whole(body)[len(begin) :]:
            threading.Event().wait(every_s)
            client.sendall(bytes([one]))

    return answer


def endless(head: bytes, again: bytes, every_s: float = 0.0) -> Answering:
    """A head, then the same again and again until the client hangs up."""

    def answer(client: socket.socket) -> None:
        client.sendall(head)
        while True:
            client.sendall(again)
            if every_s:
                threading.Event().wait(every_s)

    return answer
