"""The dashboard's HTTP: what is served to whom, and who may press its buttons."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from ipa_rl.errors import InputError
from ipa_rl.sidecar.dashboard import Dashboard, about
from ipa_rl.sidecar.dashboard_server import (
    GUESSES,
    GUESSES_S,
    TOKEN_VARIABLE,
    Buttons,
    DashboardServer,
    DashboardSettings,
)
from ipa_rl.sidecar.http_server import SideBySide
from ipa_rl.sidecar.orders import Orders, Wish
from ipa_rl.sidecar.settings import read_settings
from tests.live import VIDEO

TOKEN = "correct-horse-battery"
PRESS = {"order": "pause", "by": "Ada"}

pytestmark = pytest.mark.slow
"""Real servers and clients, many of which wait for one another."""


@dataclass
class Answer:
    """Status, headers and body."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        """The body's content."""
        return json.loads(self.body)


@dataclass
class Site:
    """A server, its orders, and a clock for guesses."""

    token: str | None = TOKEN
    hosts: tuple[str, ...] = ()
    time_s: float = 0.0
    orders: Orders = field(default_factory=Orders)

    def __post_init__(self) -> None:
        dashboard = Dashboard(about(VIDEO, "ppo", 10.0), self.orders, pressable=self.token is not None)
        buttons = Buttons(self.orders, self.token, lambda: self.time_s)
        settings = DashboardSettings(port=0, hosts=self.hosts)
        self.server = DashboardServer(settings, dashboard, buttons)

    def ask(self, path: str = "/", method: str = "GET", body: str | None = None, **headers: str) -> Answer:
        """One request; underscores of header names are hyphens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        found = Answer(answer.status, answer.headers, answer.read())
        connection.close()
        return found

    def press(self, content: Any = None, token: str = TOKEN, **headers: str) -> Answer:
        """A button."""
        body = json.dumps(PRESS if content is None else content)
        given = {"Content_Type": "application/json", "Authorization": f"Bearer {token}", **headers}
        return self.ask("/order", "POST", body, **given)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.server.close()


@pytest.fixture
def readable() -> Iterator[Site]:
    """Without a token."""
    made = Site(token=None)
    yield made
    made.server.close()


def test_the_page_and_its_parts_are_served_and_nothing_else(site: Site) -> None:
    page = site.ask("/")
    assert page.status == 200
    assert b'<script type="module" src="main.js">' in page.body
    for name, kind in (
        ("main.js", "text/javascript"),
        ("style.css", "text/css"),
        ("icon.svg", "image/svg+xml"),
    ):
        answer = site.ask(f"/{name}")
        assert (answer.status, answer.headers.get_content_type()) == (200, kind)
    for path in (
        "/nothing",
        "/../dashboard.py",
        "/%2e%2e/dashboard.py",
        "//etc/passwd",
        "/order",
        "/page/main.js",
    ):
        assert site.ask(path).status == 404


def test_every_answer_forbids_what_is_not_ours(site: Site) -> None:
    for answer in (
        site.ask("/"),
        site.ask("/data"),
        site.ask("/nothing"),
        site.press(token="wrong"),
        site.ask("/", "PUT"),
    ):
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Python" not in answer.headers["Server"]


def test_the_page_itself_holds_no_script_no_style_and_no_address_of_elsewhere(site: Site) -> None:
    page = site.ask("/").body.decode()
    assert "http" not in page
    assert "style=" not in page
    assert page.count("<script") == 1


@pytest.mark.parametrize("name", ["localhost", "localhost:9405", "127.0.0.1:80", "[::1]:9405", "10.1.2.3"])
def test_it_answers_to_localhost_and_to_addresses(site: Site, name: str) -> None:
    assert site.ask("/data", Host=name).status == 200


@pytest.mark.parametrize(
    "name", ["evil.example", "evil.example:9405", "localhost.evil.example", "", "[", "a b"]
)
def test_a_name_that_was_bent_to_this_address_is_refused(site: Site, name: str) -> None:
    for answer in (site.ask("/data", Host=name), site.press(Host=name)):
        assert answer.status == HTTPStatus.MISDIRECTED_REQUEST
        assert b"about" not in answer.body
    assert site.orders.current is None


def test_a_name_that_the_settings_give_is_answered() -> None:
    made = Site(hosts=("dashboard.shop.example",))
    assert made.ask("/data", Host="dashboard.shop.example").status == 200
    assert made.ask("/data", Host="other.example").status == HTTPStatus.MISDIRECTED_REQUEST
    made.server.close()


@pytest.mark.parametrize("wish", list(Wish))
def test_the_right_token_presses(site: Site, wish: Wish) -> None:
    answer = site.press({"order": wish.value, "by": "Ada"})
    assert (answer.status, answer.json()) == (200, {"saved": False})
    order = site.ask("/data").json()["now"]["order"]
    assert (order["wish"], order["by"]) == (wish.value, "Ada")


def test_a_press_says_whether_a_restart_will_know_of_it(tmp_path: Path) -> None:
    made = Site(orders=Orders(tmp_path / "state.order.json"))
    assert made.press().json() == {"saved": True}
    made.server.close()


@pytest.mark.parametrize(
    "given", ["", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \xe9"]
)
def test_a_wrong_token_is_refused_and_changes_nothing(site: Site, given: str) -> None:
    answer = site.press(Authorization=given)
    assert (answer.status, answer.json()) == (401, {"problem": "the token is wrong"})
    assert site.orders.current is None


def test_without_a_token_there_are_no_buttons(readable: Site) -> None:
    assert readable.ask("/data").json()["now"]["buttons"] is False
    assert readable.press(token="None").status == 403
    assert readable.press(token="").status == 403
    assert readable.orders.current is None


def test_the_right_token_presses_however_many_guess_beside_it(site: Site) -> None:
    guesses = [site.press(token=f"guess-{k}").status for k in range(GUESSES + 3)]
    assert guesses == [401] * GUESSES + [429] * 3
    assert site.press().status == 200
    assert site.press(token="guess").json()["problem"] == "too many wrong tokens; try again in 60 s"
    assert site.press().status == 200
    site.time_s = GUESSES_S
    assert site.press(token="guess").status == 401


def test_wrong_tokens_are_counted_by_address_and_few_addresses_are_remembered() -> None:
    buttons = Buttons(Orders(), TOKEN, lambda: 0.0)
    assert [buttons._wait_s("10.0.0.1") for _ in range(GUESSES + 1)] == [0.0] * GUESSES + [GUESSES_S]
    assert buttons._wait_s("10.0.0.2") == 0.0
    for k in range(5000):
        buttons._wait_s(f"host-{k}")
    assert len(buttons._wrong_at) == 1000


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://evil.example:443"]
)
def test_a_page_of_another_origin_cannot_press(site: Site, origin: str) -> None:
    assert site.press(Origin=origin).status == 403
    assert site.orders.current is None


def test_our_own_page_presses_under_whatever_address_it_was_asked_for(site: Site) -> None:
    assert site.press(Host="localhost:8080", Origin="http://localhost:8080").status == 200
    assert site.press(Host="localhost:8080", Origin="https://localhost:8080").status == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_a_form_of_another_site_cannot_press(site: Site, kind: str) -> None:
    assert site.press(Content_Type=kind).status == 415
    assert site.orders.current is None


def test_a_question_of_a_foreign_page_before_a_press_is_not_agreed_to(site: Site) -> None:
    asked = site.ask("/order", "OPTIONS", Origin="http://evil.example")
    assert asked.status == 501
    assert "Access-Control-Allow-Headers" not in asked.headers


@pytest.mark.parametrize(
    "content",
    [
        {}, [], 3, {"order": "pause"}, {"order": "stop", "by": "Ada"}, {"order": "pause", "by": ""},
        {"order": "pause", "by": " "}, {"order": "pause", "by": 3}, {"order": "pause", "by": "x" * 61},
        {"order": "pause", "by": "Ada\nroot"}, {"order": "pause", "by": "\u202eadA"},
        {"order": ["pause"], "by": "Ada"},
    ],
)  # fmt: skip
def test_a_press_that_makes_no_sense_is_refused(site: Site, content: Any) -> None:
    assert site.press(content).status == 400
    assert site.orders.current is None


def test_a_body_that_is_large_or_of_unknown_size_is_not_read(site: Site) -> None:
    assert site.press({"order": "pause", "by": "Ada", "more": "x" * 1000}).status == 413
    assert site.press(Content_Length="-1").status == 413


def test_the_token_is_never_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        site.press()
        site.press(token="wrong-token-of-mine")
    told = "".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    assert "paused on the dashboard: by Ada" in told
    assert TOKEN not in told
    assert "wrong-token-of-mine" not in told


def stalling(site: Site, count: int) -> list[socket.socket]:
    """Clients that began to ask."""
    clients = [socket.create_connection(("127.0.0.1", site.server.port), timeout=20) for _ in range(count)]
    for client in clients:
        client.sendall(b"GET /data HT")
    return clients


def hung_up_on(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


def test_clients_that_stall_keep_nobody_waiting_however_many_they_are(site: Site) -> None:
    with ExitStack() as closing:
        for _ in range(4):
            for client in stalling(site, SideBySide.at_once):
                closing.enter_context(client)
            for _ in range(3):
                assert site.ask("/data").status == 200


def test_of_too_many_clients_the_oldest_are_hung_up_on(site: Site) -> None:
    with ExitStack() as closing:
        clients = [closing.enter_context(one) for one in stalling(site, SideBySide.at_once + 2)]
        assert all(hung_up_on(client) for client in clients[:2])
        clients[-1].sendall(b"TP/1.1\r\nHost: localhost\r\n\r\n")
        assert clients[-1].recv(12) == b"HTTP/1.0 200"


DRIPPED = {
    "the line": (b"", b"G"),
    "the headers": (b"GET / HTTP/1.1\r\n", b"X: y\r\n"),
    "the body of a press": (b"POST /order HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n", b"x"),
}


@pytest.mark.parametrize(("begin", "again"), DRIPPED.values(), ids=DRIPPED)
def test_a_request_that_does_not_end_is_hung_up_on_whatever_it_sends_meanwhile(
    monkeypatch: pytest.MonkeyPatch, begin: bytes, again: bytes
) -> None:
    monkeypatch.setattr(SideBySide, "request_s", 0.3)
    made, deadline_s = Site(), time.monotonic() + 20.0
    with socket.create_connection(("127.0.0.1", made.server.port)) as client:
        client.sendall(begin)
        with suppress(ConnectionError):
            while time.monotonic() < deadline_s:
                client.sendall(again)
                time.sleep(0.05)
        assert time.monotonic() < deadline_s, "it still listens"
    made.server.close()


def written(folder: Path, dashboard: str) -> Path:
    path = folder / "sidecar.yaml"
    path.write_text(f"environment: video\ncluster: {{rehearsal: {{}}}}\n{dashboard}\n")
    return path


def test_by_default_there_is_no_page_and_when_asked_for_one_of_this_machine_without_buttons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert read_settings(written(tmp_path, "")).dashboard is False
    for found in (
        read_settings(written(tmp_path, ""), dashboard=True),
        read_settings(written(tmp_path, "dashboard: {}")),
    ):
        assert found.dashboard == DashboardSettings(host="127.0.0.1", port=9405)
        assert found.token is None


def test_the_token_comes_from_a_file_or_else_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "of-the-environment")
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    found = read_settings(written(tmp_path, "dashboard: {token_file: token, hosts: [Shop.example]}"))
    assert found.dashboard
    assert (found.token, found.dashboard.hosts) == (TOKEN, ("shop.example",))
    assert TOKEN not in repr(found)
    assert read_settings(written(tmp_path, "dashboard: {}")).token == "of-the-environment"


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (None, "dashboard.token_file: .*token cannot be read: no such file or directory; fix: name a file"),
        ("short", "dashboard: the token of .*token is too easy to guess; fix: one word of 16"),
        ("two words of some length", "is too easy to guess"),
        ("", "is too easy to guess"),
    ],
)
def test_a_token_that_is_none_is_said_in_one_line(tmp_path: Path, token: str | None, said: str) -> None:
    if token is not None:
        (tmp_path / "token").write_text(token)
    with pytest.raises(InputError, match=said) as caught:
        read_settings(written(tmp_path, "dashboard: {token_file: token}"))
    assert "\n" not in str(caught.value)
    assert token is None or not token or token not in str(caught.value)


def test_a_port_that_is_taken_is_said_in_one_line(site: Site) -> None:
    settings = DashboardSettings(port=site.server.port)
    with pytest.raises(InputError, match=r"dashboard\.port: cannot listen on 127\.0\.0\.1"):
        DashboardServer(settings, Dashboard({}, Orders(), False), Buttons(Orders(), None))
