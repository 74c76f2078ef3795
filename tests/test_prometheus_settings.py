"""Prometheus behind a tenant, a token, a login or certificates: what is sent, and what is never told."""

from __future__ import annotations

import json
import logging
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ipa_rl.errors import InputError
from ipa_rl.live.prometheus import PrometheusLoads
from ipa_rl.live.prometheus_settings import read_settings
from tests.certificates import authority, needs_openssl, signed
from tests.prometheus_server import Prometheus, needs_prometheus

SECRET = "s3cret-of-mine"
LOGIN = "Basic " + b64encode(f"shop:{SECRET}".encode()).decode()


class _Guarded(BaseHTTPRequestHandler):
    """Lets in who sends what the test wants, and tells everybody else what they sent."""

    wanted: tuple[str, str] = ("", "")
    refusal = (401, "text/plain", "")

    def do_GET(self) -> None:
        name, value = self.wanted
        if self.headers.get(name) == value:
            result = {"resultType": "scalar", "result": [0, str(time.time())]}
            status, kind, body = 200, "application/json", json.dumps({"status": "success", "data": result})
        else:
            status, kind, body = self.refusal
        said = body.replace("{sent}", str(self.headers.get(name))).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


Guarded = Callable[..., str]


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    """A server that wants a header; answers with its url."""
    servers = []

    def start(name: str, value: str, refusal: tuple[int, str, str] = (401, "text/plain", "no")) -> str:
        handler = type("Handler", (_Guarded,), {"wanted": (name, value), "refusal": refusal})
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def asked(url: str, folder: Path | None = None, **settings: Any) -> str:
    """Why there is no load; the counter itself is known nowhere here."""
    file = folder / "sidecar.yaml" if folder else None
    source = PrometheusLoads(read_settings({"url": url, "counter": "requests_total", **settings}, file=file))
    try:
        return source.loads(30).problem
    finally:
        source.close()


def let_in(problem: str) -> bool:
    """Whether the server took the question."""
    return not any(word in problem for word in ("HTTP status", "not answer", "not asked"))


WAYS: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "tenant": ("X-Scope-OrgID", "shop", {"headers": {"X-Scope-OrgID": "shop"}}),
    "key from a file": ("X-Api-Key", SECRET, {"headers": {"X-Api-Key": {"file": "secret"}}}),
    "key from the environment": ("X-Api-Key", SECRET, {"headers": {"X-Api-Key": {"env": "LOADS_SECRET"}}}),
    "token from a file": ("Authorization", f"Bearer {SECRET}", {"bearer_token_file": "secret"}),
    "token from the environment": ("Authorization", f"Bearer {SECRET}", {"bearer_token_env": "LOADS_SECRET"}),
    "password from a file": (
        "Authorization", LOGIN, {"basic_auth": {"username": "shop", "password_file": "secret"}},
    ),
    "password from the environment": (
        "Authorization", LOGIN, {"basic_auth": {"username": "shop", "password_env": "LOADS_SECRET"}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_server_that_wants_to_know_who_asks_is_told(
    way: tuple[str, str, dict[str, Any]], guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, value, settings = way
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    monkeypatch.setenv("LOADS_SECRET", SECRET)
    url = guarded(name, value)
    assert not let_in(asked(url))
    assert let_in(asked(url, tmp_path, **settings))


def test_a_secret_that_rotates_in_its_file_is_read_anew(guarded: Guarded, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("of yesterday")
    url = guarded("Authorization", f"Bearer {SECRET}")
    settings = read_settings({"url": url, "counter": "a", "bearer_token_file": str(secret)})
    source = PrometheusLoads(settings)
    assert not let_in(source.loads(30).problem)
    secret.write_text(SECRET)
    assert let_in(source.loads(30).problem)
    secret.unlink()
    gone = source.loads(30)
    assert gone.stale
    assert (
        gone.problem
        == f"Prometheus was not asked: the file {secret} cannot be read: no such file or directory"
    )


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        ((401, "text/plain", "no org id\n"), "HTTP status 401: no org id"),
        ((403, "text/html", "<html><title>Log &amp; in\n</title>"), "HTTP status 403: Log & in"),
        ((400, "application/json", '{"status": "error", "error": "bad\\nmatcher"}'), "400: bad matcher"),
        ((401, "application/json", '{"message": "no key"}'), '401: {"message": "no key"}'),
        ((503, "text/plain", "\x1b[31m" + "very " * 200 + "busy"), "503: \\x1b[31mvery very"),
        ((302, "text/html", "<a href='/login'>Found</a>"), "redirects with HTTP status 302"),
        ((500, "text/plain", ""), "HTTP status 500: no reason given"),
    ],
)
def test_a_refusal_is_told_in_the_server_s_own_words_in_one_short_line(
    refusal: tuple[int, str, str], reason: str, guarded: Guarded
) -> None:
    problem = asked(guarded("X-Scope-OrgID", "shop", refusal))
    assert reason in problem
    assert problem.isprintable()
    assert len(problem) < 300


@pytest.mark.parametrize("way", list(WAYS.values())[1:], ids=list(WAYS)[1:])
@pytest.mark.parametrize("status", [200, 401])
def test_a_secret_is_told_nowhere_though_the_server_repeats_it(
    status: int,
    way: tuple[str, str, dict[str, Any]],
    guarded: Guarded,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    monkeypatch.setenv("LOADS_SECRET", SECRET)
    caplog.set_level(logging.DEBUG)
    url = guarded(way[0], "another", (status, "text/plain", "wrong: {sent}"))
    problem = asked(url, tmp_path, **way[2])
    settings = read_settings({"url": url, "counter": "a", **way[2]}, file=tmp_path / "sidecar.yaml")
    assert "wrong: " in problem
    for told in (problem, caplog.text, repr(settings), str(settings)):
        assert SECRET not in told
        assert LOGIN.split()[1] not in told


FAULTS: Mapping[str, tuple[dict[str, Any], str]] = {
    "no file": ({"bearer_token_file": "nowhere"}, "load.bearer_token_file: the file"),
    "empty file": ({"bearer_token_file": "empty"}, "is empty"),
    "two lines": ({"bearer_token_file": "lines"}, "characters that a header cannot carry"),
    "no variable": (
        {"headers": {"X-Key": {"env": "NOT_SET_AT_ALL"}}},
        "the variable NOT_SET_AT_ALL is not set",
    ),
    "file and variable": ({"headers": {"X-Key": {"file": "a", "env": "B"}}}, "headers"),
    "two ways": ({"bearer_token_file": "good", "headers": {"authorization": "x"}}, "give one of them"),
    "no password": ({"basic_auth": {"username": "shop"}}, "password_file or password_env"),
    "no password file": ({"basic_auth": {"username": "a", "password_file": "x"}}, "basic_auth.password_file"),
    "a password in the url": ({"url": f"http://me:{SECRET}@127.0.0.1:9"}, "load.url: holds a login"),
    "no authority": ({"ca_file": "nowhere.pem"}, "load.ca_file"),
    "key without certificate": ({"client_key_file": "good"}, "client_cert_file"),
    "a header twice": ({"headers": {"a": "1", "A": "2"}}, "twice"),
    "a header of the connection": ({"headers": {"Accept-Encoding": "gzip"}}, "belongs to the connection"),
    "a line break": ({"headers": {"X-A": "b\r\nX-C: d"}}, "is not a header's value"),
    "a header that is none": ({"headers": {"X A": "b"}}, "headers"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_access_that_cannot_work_is_refused_at_the_start_without_the_secret(
    fault: tuple[dict[str, Any], str], tmp_path: Path
) -> None:
    for name, text in {"empty": " \n", "lines": f"{SECRET}\nX-Evil: 1", "good": SECRET}.items():
        (tmp_path / name).write_text(text)
    settings = {"url": "http://p", "counter": "a", **fault[0]}
    with pytest.raises(InputError) as refused:
        read_settings(settings, file=tmp_path / "sidecar.yaml", under="load")
    assert fault[1] in str(refused.value)
    assert "; fix: " in str(refused.value)
    assert SECRET not in str(refused.value)


# With a real Prometheus

HASHED = "$2b$04$nfmTsRSNC902rm3caUwKneblTgWoj7G3i4MPh3qY9L9FqBRjgunMG"
"""bcrypt of "open sesame"."""


@pytest.mark.slow
@needs_prometheus
@needs_openssl
def test_a_prometheus_with_a_login_client_certificates_and_an_authority_of_its_own(tmp_path: Path) -> None:
    ca = authority(tmp_path)
    server, client = signed(ca, "server"), signed(ca, "client")
    stranger = signed(authority(tmp_path, "other"), "stranger")
    tls = {
        "cert_file": str(server), "key_file": str(server.with_suffix(".key")),
        "client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": str(ca),
    }  # fmt: skip
    web = {"tls_server_config": tls, "basic_auth_users": {"shop": HASHED}}
    prometheus = Prometheus(tmp_path, {}, web=web)
    prometheus.start()
    try:
        url = prometheus.url.replace("http:", "https:")
        (tmp_path / "password").write_text("open sesame\n")
        login = {"basic_auth": {"username": "shop", "password_file": "password"}, "ca_file": ca.name}
        shown = {"client_cert_file": "shown.pem", "client_key_file": "shown.key"}
        show(tmp_path, client)
        assert let_in(asked(url, tmp_path, **login, **shown))
        assert "HTTP status 401: Unauthorized" in asked(url, tmp_path, ca_file=ca.name, **shown)
        assert "certificate" in asked(url, tmp_path, **login)
        assert "certificate" in asked(url, tmp_path, **{**login, "ca_file": "other.pem"}, **shown)
        settings = {"url": url, "counter": "a", **login, **shown}
        kept = PrometheusLoads(read_settings(settings, file=tmp_path / "sidecar.yaml"))
        assert let_in(kept.loads(30).problem)
        show(tmp_path, stranger)
        assert not let_in(kept.loads(30).problem)
        show(tmp_path, client)
        assert let_in(kept.loads(30).problem)
    finally:
        prometheus.stop()


def show(folder: Path, certificate: Path) -> None:
    """Put certificate and key where the settings say, as Kubernetes renews them: in one move each."""
    for suffix in (".pem", ".key"):
        fresh = folder / "fresh"
        fresh.write_bytes(certificate.with_suffix(suffix).read_bytes())
        fresh.replace(folder / f"shown{suffix}")
