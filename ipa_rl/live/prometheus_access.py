"""How Prometheus lets us in: headers, tokens, passwords and certificates.

A secret stands in a file, which is read anew at each question, as Kubernetes renews it there, or in a
variable of the environment. It is never part of a message.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from ipa_rl.documents import StrictModel
from ipa_rl.errors import InputError
from ipa_rl.files import read_text

HeaderName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]

_OURS = frozenset({"accept-encoding", "connection", "content-length", "transfer-encoding"})
"""Headers that belong to the connection, not to its user."""

_SECRET_NAME = re.compile(r"auth|cookie|token|secret|passw|key", re.IGNORECASE)
"""Headers whose value is a secret, also where it stands in the settings."""

_MOST_BYTES = 100_000
_FITS_A_HEADER = re.compile(r"[\t\x20-\x7e\xa0-\xff]+")


class SecretModel(StrictModel):
    """A value that is not to stand in the settings: in a file or in a variable, exactly one."""

    file: Path | None = None
    env: Variable | None = None

    @model_validator(mode="after")
    def _check(self) -> SecretModel:
        if (self.file is None) == (self.env is None):
            raise ValueError("needs file or env, one of them")
        return self


class BasicAuthModel(StrictModel):
    """User name and password, the latter in a file or in a variable, exactly one."""

    username: str
    password_file: Path | None = None
    password_env: Variable | None = None

    @model_validator(mode="after")
    def _check(self) -> BasicAuthModel:
        if (self.password_file is None) == (self.password_env is None):
            raise ValueError("needs password_file or password_env, one of them")
        if ":" in self.username:
            raise ValueError("the username may hold no colon")
        return self


class AccessModel(StrictModel):
    """The part of the settings of a load source that says how its server lets us in."""

    headers: dict[HeaderName, str | SecretModel] = Field(default_factory=dict)
    bearer_token_file: Path | None = None
    bearer_token_env: Variable | None = None
    basic_auth: BasicAuthModel | None = None
    ca_file: Path | None = None
    client_cert_file: Path | None = None
    client_key_file: Path | None = None


class UnreadableSecretError(RuntimeError):
    """A secret cannot be read or sent; the text is the reason, without the secret. ``setting``: its field."""

    def __init__(self, setting: str, reason: str) -> None:
        super().__init__(reason)
        self.setting = setting


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret stands: in a file, or in a variable of the environment. ``setting``: the field."""

    setting: str
    file: Path | None = None
    variable: str | None = None

    def read(self) -> str:
        """Its value now, white space around it removed. Raises UnreadableSecretError."""
        try:
            if self.file is None:
                value = os.environ[self.variable or ""]
            else:
                value = read_text(self.file, _MOST_BYTES, "give a file that holds it")
        except KeyError:
            raise self.unreadable("is not set") from None
        except InputError as error:
            raise self.unreadable(error.problem) from None
        if not value.strip():
            raise self.unreadable("is empty")
        return value.strip()

    def unreadable(self, why: str) -> UnreadableSecretError:
        """The error that says why, and where the secret should be."""
        where = f"the variable {self.variable}" if self.file is None else f"the file {self.file}"
        return UnreadableSecretError(self.setting, f"{where} {why}")


@dataclass(frozen=True, slots=True)
class Sent:
    """Headers that go with a question; ``secrets``: what in them nobody is to read."""

    headers: Mapping[str, str]
    secrets: Sequence[str]

    def hide(self, text: str) -> str:
        """What a server said, without the secrets that it repeats."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


@dataclass(frozen=True, slots=True)
class Access:
    """What goes with every question.

    ``headers``: as they are, or where their value stands. ``bearer``, ``password``: None where there is none.
    ``ca_file``: certificates to trust, the system's where it is None; ``client_cert_file`` and
    ``client_key_file``: what shows who asks; the key may stand in the certificate's file.
    """

    headers: Mapping[str, str | Secret] = field(default_factory=dict, repr=False)
    bearer: Secret | None = None
    username: str = ""
    password: Secret | None = None
    ca_file: Path | None = None
    client_cert_file: Path | None = None
    client_key_file: Path | None = None

    def sent(self) -> Sent:
        """All headers, secrets read anew. Raises UnreadableSecretError."""
        headers: dict[str, str] = {}
        secrets: list[str] = []
        for name, one in self.headers.items():
            headers[name] = one if isinstance(one, str) else _carried(one)
            if isinstance(one, Secret) or _SECRET_NAME.search(name):
                secrets += [headers[name], *headers[name].split()[1:]]
        if self.bearer is not None:
            secrets.append(_carried(self.bearer))
            headers["Authorization"] = f"Bearer {secrets[-1]}"
        if self.password is not None:
            password = self.password.read()
            pair = b64encode(f"{self.username}:{password}".encode()).decode()
            secrets += [password, pair]
            headers["Authorization"] = f"Basic {pair}"
        return Sent(headers, secrets)

    def tls(self) -> dict[str, str]:
        """Files of the connection, by the names that urllib3 gives them."""
        files = {
            "ca_certs": self.ca_file,
            "cert_file": self.client_cert_file,
            "key_file": self.client_key_file,
        }
        return {name: str(file) for name, file in files.items() if file is not None}

    def files_changed(self) -> tuple[Any, ...]:
        """What is another value once one of these files was renewed."""
        return tuple(_stamp(Path(file)) for file in self.tls().values())


def access_of(model: AccessModel, file: str | Path | None) -> Access:
    """The access that settings in ``file`` describe; paths are relative to its folder. Raises InputError."""

    def beside(path: Path | None) -> Path | None:
        return path if path is None or file is None else Path(file).parent / path

    _check(model, file)
    basic = model.basic_auth
    access = Access(
        headers={
            name: one if isinstance(one, str) else Secret(f"headers.{name}", beside(one.file), one.env)
            for name, one in model.headers.items()
        },
        bearer=_secret("bearer_token", beside(model.bearer_token_file), model.bearer_token_env),
        username=basic.username if basic else "",
        password=(
            _secret("basic_auth.password", beside(basic.password_file), basic.password_env) if basic else None
        ),
        ca_file=beside(model.ca_file),
        client_cert_file=beside(model.client_cert_file),
        client_key_file=beside(model.client_key_file),
    )
    _check_readable(access, file)
    return access


def _secret(name: str, file: Path | None, variable: str | None) -> Secret | None:
    if file is None and variable is None:
        return None
    return Secret(f"{name}_file" if variable is None else f"{name}_env", file, variable)


def _check(model: AccessModel, file: str | Path | None) -> None:
    """What contradicts itself. Raises InputError."""
    names = {name.lower() for name in model.headers}
    ways = {
        "bearer_token_file": model.bearer_token_file is not None,
        "bearer_token_env": model.bearer_token_env is not None,
        "basic_auth": model.basic_auth is not None,
        "headers.Authorization": "authorization" in names,
    }
    given = [name for name, there in ways.items() if there]
    if len(given) > 1:
        raise InputError(f"has {' and '.join(given)}", file=file, field="load", fix="give one of them")
    if model.client_key_file and not model.client_cert_file:
        fix = "give client_cert_file too"
        raise InputError("has no certificate", file=file, field="load.client_key_file", fix=fix)
    if len(names) < len(model.headers):
        raise InputError("names a header twice", file=file, field="load.headers", fix="keep one of them")
    for name, value in model.headers.items():
        where = f"load.headers.{name}"
        if name.lower() in _OURS:
            raise InputError("belongs to the connection", file=file, field=where, fix="remove it")
        if isinstance(value, str) and not _FITS_A_HEADER.fullmatch(value):
            fix = "give printable characters of ISO 8859-1"
            raise InputError("is no value of a header", file=file, field=where, fix=fix)


def _check_readable(access: Access, file: str | Path | None) -> None:
    """Secrets and certificates as they stand now. Raises InputError."""
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


def _carried(secret: Secret) -> str:
    """The value of a secret that stands in a header as it is. Raises UnreadableSecretError."""
    value = secret.read()
    if not _FITS_A_HEADER.fullmatch(value):
        raise secret.unreadable("holds characters that a header cannot carry")
    return value


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
