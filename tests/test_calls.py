"""Calls over HTTP: each ends in time, whatever the server does, and takes no more memory than it may."""

from __future__ import annotations

import socket
import threading
import time
import tracemalloc

import pytest

pytest.importorskip("urllib3")

from ipa_rl.live.calls import Answer, Call, UnansweredError, ask, connections
from ipa_rl.live.deadlines import Deadline, left_s
from tests.slow_servers import Answering, at_once, dripping, endless, serving, whole

WITHIN_S, GENEROUS_S = 0.3, 5.0
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

SLOW: dict[str, Answering] = {
    "nothing at all": dripping(b"{}", every_s=GENEROUS_S),
    "each byte of the head": dripping(b"{}"),
    "each byte of the body": dripping(b"x" * 1000, begin=whole(b"x" * 1000)[:40]),
    "headers without end": endless(HEAD, b"X: y\r\n", 0.02),
    "interim answers without end": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
    "a body that stops": lambda client: client.sendall(HEAD + b"Content-Length: 9\r\n\r\nabc"),
    "chunks without end": endless(CHUNKED, b"1\r\nx\r\n", 0.02),
    "the length of a chunk": endless(CHUNKED, b"0", 0.02),
    "a body without a length": endless(HEAD + b"\r\n", b"x", 0.02),
}


def calls() -> int:
    return sum(thread.name == "call" for thread in threading.enumerate())


def until_none_is_left() -> None:
    end_s = time.monotonic() + GENEROUS_S
    while calls():
        assert time.monotonic() < end_s, "a call goes on after its deadline"
        time.sleep(0.01)


@pytest.mark.parametrize("answering", SLOW.values(), ids=SLOW)
def test_an_answer_that_does_not_end_in_time_is_given_up(answering: Answering) -> None:
    with serving(answering) as url:
        began = time.monotonic()
        with pytest.raises(UnansweredError, match="within"):
            ask(connections(), "GET", url, within_s=WITHIN_S)
        assert WITHIN_S <= time.monotonic() - began < GENEROUS_S
        until_none_is_left()


def test_a_kept_connection_that_becomes_slow_is_given_up_and_a_new_one_is_made() -> None:
    answers = iter((at_once(b"1"), dripping(b"2"), at_once(b"3")))

    def answer(client: socket.socket) -> None:
        next(answers)(client)

    with serving(answer) as url:
        pool = connections()
        assert ask(pool, "GET", url, within_s=GENEROUS_S).text == "1"
        with pytest.raises(UnansweredError, match="within"):
            ask(pool, "GET", url, within_s=WITHIN_S)
        assert ask(pool, "GET", url, within_s=GENEROUS_S).text == "3"
    until_none_is_left()


def test_a_server_that_does_not_shake_hands_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UnansweredError):
            ask(connections(cert_reqs="CERT_NONE"), "GET", url, within_s=WITHIN_S)
        until_none_is_left()


def test_a_name_that_is_looked_up_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def looked_up(*_: object) -> list[object]:
        over.wait(GENEROUS_S)
        raise OSError("gone")

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    began = time.monotonic()
    with pytest.raises(UnansweredError, match="within"):
        ask(connections(), "GET", "http://slow.example/", within_s=WITHIN_S)
    assert time.monotonic() - began < GENEROUS_S
    over.set()
    until_none_is_left()


def test_several_slow_servers_asked_at_once_take_no_longer_than_one() -> None:
    with serving(dripping(b"{}")) as url:
        pool = connections(maxsize=20)
        began = time.monotonic()
        for call in [Call(pool, "GET", url, within_s=1.0) for _ in range(20)]:
            with pytest.raises(UnansweredError):
                call.answer()
        assert time.monotonic() - began < 10.0  # 20 s one after the other


def test_all_calls_of_a_step_share_its_time() -> None:
    with serving(dripping(b"{}")) as url, Deadline(WITHIN_S).holds():
        began = time.monotonic()
        for _ in range(3):
            with pytest.raises(UnansweredError):
                ask(connections(), "GET", url, within_s=60.0)
        assert time.monotonic() - began < GENEROUS_S
        assert left_s() <= 0
        with Deadline(60.0).holds():
            assert left_s() <= 0  # what is inside of it has no more
    assert left_s() > 1e9


def test_a_deadline_that_is_hurried_ends_a_call_that_waits_and_all_later_ones() -> None:
    deadline = Deadline()
    deadline.restart(60.0)
    with serving(dripping(b"{}")) as url, deadline.holds():
        began = time.monotonic()
        threading.Timer(0.1, deadline.hurry, [0.1]).start()
        with pytest.raises(UnansweredError):
            ask(connections(), "GET", url, within_s=60.0)
        deadline.restart(60.0)
        with pytest.raises(UnansweredError):
            ask(connections(), "GET", url, within_s=60.0)
        assert time.monotonic() - began < GENEROUS_S


SIZED = {
    "with a length": endless(HEAD + b"Content-Length: 600000000\r\n\r\n", b"x" * 65536),
    "in chunks": endless(CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n"),
    "without a length": endless(HEAD + b"\r\n", b"x" * 65536),
}


@pytest.mark.parametrize("answering", SIZED.values(), ids=SIZED)
def test_a_large_answer_is_refused_while_it_is_read(answering: Answering) -> None:
    with serving(answering) as url:
        tracemalloc.start()
        with pytest.raises(UnansweredError, match="larger than 1000000 bytes"):
            ask(connections(), "GET", url, within_s=GENEROUS_S, at_most=1_000_000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 4_000_000
    until_none_is_left()


def test_an_answer_that_nobody_asked_to_be_packed_is_not_unfolded() -> None:
    packed = HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"
    with serving(lambda client: client.sendall(packed)) as url:
        assert len(ask(connections(), "GET", url, within_s=GENEROUS_S).body) == 4


def test_a_good_answer_comes_whole_and_its_connection_is_kept() -> None:
    accepted = []

    def answer(client: socket.socket) -> None:
        accepted.append(client)
        client.sendall(whole(b'{"a": [1, 2]}', "201 Created"))

    with serving(answer) as url:
        pool = connections()
        for _ in range(3):
            answered = ask(pool, "GET", url, within_s=GENEROUS_S)
            assert (answered.status, answered.document()) == (201, {"a": [1, 2]})
            assert answered.headers["content-length"] == "13"
    assert len(set(accepted)) == 1


def test_a_server_that_is_not_there_is_named_in_one_line() -> None:
    with pytest.raises(UnansweredError, match=r"(?i)connection refused") as caught:
        ask(connections(), "GET", "http://127.0.0.1:9/", within_s=GENEROUS_S)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("body", [b"<html>", b"", b"[" * 100_000, b"1" * 5000, b"\xff\xfe{"])
def test_what_is_no_json_is_no_answer(body: bytes) -> None:
    with pytest.raises(UnansweredError, match="no JSON, HTTP status 200"):
        Answer(200, {}, body).document()


def test_half_a_surrogate_pair_in_an_answer_is_replaced() -> None:
    document = Answer(200, {}, b'{"error": "a\\ud800b", "whole": "\\ud83d\\ude00", "\\uDFFF": 1}').document()
    assert document == {"error": "a?b", "whole": "\N{GRINNING FACE}", "?": 1}
