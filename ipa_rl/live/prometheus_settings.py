"""Prometheus' settings: how it lets us in, and what it is asked.

A secret is in a file, which is read again for each question because Kubernetes renews it there, or in an
environment variable. It is never part of a message.
"""

from __future__ import annotations

import math
import os
import re
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from ipa_rl import documents
from ipa_rl.documents import Beside, Positive, StrictModel, Url
from ipa_rl.errors import InputError
from ipa_rl.files import read_text

Label = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
Template = Literal["istio", "seldon", "kserve", "nginx", "ray"]

HeaderName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]

_OURS = frozenset({"accept-encoding", "connection", "content-length", "transfer-encoding"})
"""Headers that belong to the connection, not to its user."""

_SECRET_NAME = re.compile(r"auth|cookie|token|secret|passw|key", re.IGNORECASE)
"""Headers whose value is a secret, even when the settings hold it."""

_MOST_BYTES = 100_000
_FITS_A_HEADER = re.compile(r"[\t\x20-\x7e\xa0-\xff]+")

_DEFAULT_STALE_S = 30.0
SCRAPES = 3
"""Loads are stale after this many missed scrapes."""


class UnreadableSecretError(RuntimeError):
    """A secret cannot be read or sent; the text is the reason, without the secret. ``setting``: its field."""

    def __init__(self, setting: str, reason: str) -> None:
        super().__init__(reason)
        self.setting = setting


class Secret(StrictModel):
    """A value that does not belong in the settings: in a file or in a variable, exactly one."""

    file: Beside | None = None
    env: Variable | None = None

    @model_validator(mode="after")
    def _check(self) -> Secret:
        if (self.file is None) == (self.env is None):
            raise ValueError("needs file or env, one of them")
        return self

    def read(self, setting: str, in_header: bool = False) -> str:
        """Its value now, white space around it removed. Raises UnreadableSecretError.

        ``setting``: the field that names it. ``in_header``: it stands in a header as it is.
        """
        where = f"the variable {self.env}" if self.file is None else f"the file {self.file}"
        try:
            if self.file is None:
                value = os.environ[self.env or ""].strip()
            else:
                value = read_text(self.file, _MOST_BYTES, "give a file that holds it").strip()
        except KeyError:
            raise UnreadableSecretError(setting, f"{where} is not set") from None
        except InputError as error:
            raise UnreadableSecretError(setting, f"{where} {error.problem}") from None
        if not value:
            raise UnreadableSecretError(setting, f"{where} is empty")
        if in_header and not _FITS_A_HEADER.fullmatch(value):
            raise UnreadableSecretError(setting, f"{where} holds characters that a header cannot carry")
        return value


class BasicAuth(StrictModel):
    """User name and password, the latter in a file or in a variable, exactly one."""

    username: str
    password_file: Beside | None = None
    password_env: Variable | None = None

    @model_validator(mode="after")
    def _check(self) -> BasicAuth:
        if (self.password_file is None) == (self.password_env is None):
            raise ValueError("needs password_file or password_env, one of them")
        if ":" in self.username:
            raise ValueError("the username may hold no colon")
        return self


@dataclass(frozen=True, slots=True)
class _Counter:
    """A counter of requests: its name, labels that always hold, and those of the name and the namespace."""

    metric: str
    name_label: str
    namespace_label: str
    fixed: Mapping[str, str] = field(default_factory=dict)


TEMPLATES: Mapping[Template, _Counter] = {
    "istio": _Counter(
        "istio_requests_total",
        "destination_workload",
        "destination_workload_namespace",
        {"reporter": "destination"},
    ),
    "seldon": _Counter(
        "seldon_api_executor_server_requests_seconds_count",
        "deployment_name",
        "namespace",
        {"service": "predictions"},
    ),
    "kserve": _Counter("request_preprocess_seconds_count", "model_name", "namespace"),
    "nginx": _Counter("nginx_ingress_controller_requests", "ingress", "exported_namespace"),
    "ray": _Counter("ray_serve_num_router_requests_total", "deployment", "application"),
}
"""Counters by the server that keeps them. Istio's is that of the receiving proxy, so that no request counts
twice; KServe's is taken before the model, so that a request counts when it comes, not when it is answered.
Ray Serve's is that of a deployment's callers, likewise; its application stands for the namespace."""


class PrometheusSettings(StrictModel):
    """Where Prometheus is and what it is asked: exactly one of ``template``, ``counter`` and ``query``.

    ``counter``: selector of counters of requests, once read also that of the ``template``. ``query``: PromQL
    whose value is requests a second. ``queue_query``: PromQL of waiting requests, one series a stage, told
    apart by ``queue_label``. ``timeout_s``: for one answer. ``headers``: their values, or where these stand.
    ``ca_file``: certificates to trust, by default the system's; ``client_cert_file`` and
    ``client_key_file``: what shows who asks; the key may stand in the certificate's file.
    """

    url: Url
    template: Template | None = None
    name: str = ""
    namespace: str = ""
    labels: dict[Label, str] = Field(default_factory=dict)
    counter: str = ""
    query: str = ""
    queue_query: str = ""
    queue_label: Label = "stage"
    scrape_interval_s: Positive | None = None
    stale_after_s: Positive | None = None
    timeout_s: Positive = 3.0
    headers: dict[HeaderName, str | Secret] = Field(default_factory=dict, repr=False)
    bearer_token_file: Beside | None = None
    bearer_token_env: Variable | None = None
    basic_auth: BasicAuth | None = None
    ca_file: Beside | None = None
    client_cert_file: Beside | None = None
    client_key_file: Beside | None = None

    def limit_s(self, seen_interval_s: float = math.nan) -> float:
        """Greatest age of the newest sample: as given, else some scrape intervals, 30 s at least where that
        is not given either. ``seen_interval_s``: the time between samples, NaN where it is not known.
        """
        if self.stale_after_s is not None:
            return self.stale_after_s
        if self.scrape_interval_s is not None:
            return SCRAPES * self.scrape_interval_s
        seen_s = 0.0 if math.isnan(seen_interval_s) else SCRAPES * seen_interval_s
        return max(_DEFAULT_STALE_S, seen_s)

    def sent(self) -> tuple[dict[str, str], list[str]]:
        """All headers that go with a question, secrets read now, and what in them nobody is to read.

        Raises UnreadableSecretError.
        """
        headers: dict[str, str] = {}
        secrets: list[str] = []
        for name, one in self.headers.items():
            value = one if isinstance(one, str) else one.read(f"headers.{name}", in_header=True)
            headers[name] = value
            if isinstance(one, Secret) or _SECRET_NAME.search(name):
                secrets += [value, *value.split()[1:]]
        if self.bearer_token_file or self.bearer_token_env:
            place = "bearer_token_file" if self.bearer_token_file else "bearer_token_env"
            secret = Secret(file=self.bearer_token_file, env=self.bearer_token_env)
            secrets.append(secret.read(place, in_header=True))
            headers["Authorization"] = f"Bearer {secrets[-1]}"
        if (basic := self.basic_auth) is not None:
            place = "basic_auth.password_file" if basic.password_file else "basic_auth.password_env"
            password = Secret(file=basic.password_file, env=basic.password_env).read(place)
            pair = b64encode(f"{basic.username}:{password}".encode()).decode()
            secrets += [password, pair]
            headers["Authorization"] = f"Basic {pair}"
        return headers, secrets

    def tls(self) -> dict[str, str]:
        """Files of the connection, by the names that urllib3 gives them."""
        files = {
            "ca_certs": self.ca_file,
            "cert_file": self.client_cert_file,
            "key_file": self.client_key_file,
        }
        return {name: str(file) for name, file in files.items() if file is not None}

    def files_changed(self) -> dict[str, tuple[int, int]]:
        """What is another value once one of these files was renewed."""
        stamps: dict[str, tuple[int, int]] = {}
        for file in self.tls().values():
            with suppress(OSError):  # it is not there now
                found = Path(file).stat()
                stamps[file] = found.st_mtime_ns, found.st_ino
        return stamps


def read_settings(
    content: Mapping[str, Any], file: str | Path | None = None, under: str = ""
) -> PrometheusSettings:
    """Check settings that stand in the field ``under`` of a file; paths are relative to its folder.

    Raises InputError.

    >>> read_settings({"url": "http://p:9090", "template": "nginx", "name": "shop"}).counter
    'nginx_ingress_controller_requests{ingress="shop"}'
    """
    given = documents.check(content, PrometheusSettings, "docs/reference/load-sources.md", file, under)
    _check(given, file)
    check_access(given, file)
    counter = given.counter if given.template is None else _selector(given.template, given)
    return given.model_copy(update={"url": given.url.rstrip("/"), "counter": counter})


def _check(given: PrometheusSettings, file: str | Path | None) -> None:
    if "@" in urlsplit(given.url).netloc:
        fix = "leave it out, and name it in basic_auth"
        raise InputError("holds a login", file=file, field="load.url", fix=fix)
    ways = [name for name in ("template", "counter", "query") if getattr(given, name)]
    if len(ways) != 1:
        problem = f"has {' and '.join(ways) or 'none'} of template, counter and query"
        raise InputError(problem, file=file, field="load", fix="give exactly one of them")
    if given.template and not given.name:
        label = TEMPLATES[given.template].name_label
        raise InputError("is missing", file=file, field="name", fix=f"give the {label} of {given.template}")
    if not given.template and (given.name or given.namespace or given.labels):
        fix = "write the labels into the counter or the query"
        raise InputError("belongs to a template", file=file, field="name, namespace, labels", fix=fix)
    if "[" in given.counter or "(" in given.counter.split("{")[0]:
        fix = "give a selector, as requests_total{job='router'}; an expression belongs in query"
        raise InputError("is not a selector of counters", file=file, field="counter", fix=fix)


def _selector(template: Template, given: PrometheusSettings) -> str:
    """The counter of a template with the labels that were given."""
    counter = TEMPLATES[template]
    labels = {**counter.fixed, counter.name_label: given.name}
    if given.namespace:
        labels[counter.namespace_label] = given.namespace
    labels.update(given.labels)
    for label, value in labels.items():
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        labels[label] = f'{label}="{escaped}"'
    return f"{counter.metric}{{{','.join(labels.values())}}}"


def check_access(access: PrometheusSettings, file: str | Path | None) -> None:
    """What contradicts itself, and secrets and certificates as they are now. Raises InputError."""
    names = {name.lower() for name in access.headers}
    ways = {
        "bearer_token_file": access.bearer_token_file is not None,
        "bearer_token_env": access.bearer_token_env is not None,
        "basic_auth": access.basic_auth is not None,
        "headers.Authorization": "authorization" in names,
    }
    given = [name for name, there in ways.items() if there]
    if len(given) > 1:
        raise InputError(f"has {' and '.join(given)}", file=file, field="load", fix="give one of them")
    if access.client_key_file and not access.client_cert_file:
        fix = "give client_cert_file too"
        raise InputError("has no certificate", file=file, field="load.client_key_file", fix=fix)
    if len(names) < len(access.headers):
        raise InputError("names a header twice", file=file, field="load.headers", fix="keep one of them")
    for name, value in access.headers.items():
        where = f"load.headers.{name}"
        if name.lower() in _OURS:
            raise InputError("belongs to the connection", file=file, field=where, fix="remove it")
        if isinstance(value, str) and not _FITS_A_HEADER.fullmatch(value):
            fix = "give printable characters of ISO 8859-1"
            raise InputError("is not a header's value", file=file, field=where, fix=fix)
    try:
        access.sent()
    except UnreadableSecretError as error:
        fix = "put the secret there"
        raise InputError(str(error), file=file, field=f"load.{error.setting}", fix=fix) from None
    for name in ("ca_file", "client_cert_file", "client_key_file"):
        path: Path | None = getattr(access, name)
        if path is not None and not os.access(path, os.R_OK):
            problem, fix = f"the file {path} cannot be read", "give a file in PEM"
            raise InputError(problem, file=file, field=f"load.{name}", fix=fix)
