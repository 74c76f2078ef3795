"""How Prometheus lets us in: headers, tokens, passwords and certificates.

A secret is in a file, which is read again for each question because Kubernetes renews it there, or in an
environment variable. It is never part of a message.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, model_validator

from ipa_rl.documents import StrictModel
from ipa_rl.errors import InputError
from ipa_rl.files import read_text

HeaderName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Model = TypeVar("Model", bound=BaseModel)

_OURS = frozenset({"accept-encoding", "connection", "content-length", "transfer-encoding"})
"""Headers that belong to the connection, not to its user."""

_SECRET_NAME = re.compile(r"auth|cookie|token|secret|passw|key", re.IGNORECASE)
"""Headers whose value is a secret, even when the settings hold it."""

_MOST_BYTES = 100_000
_FITS_A_HEADER = re.compile(r"[\t\x20-\x7e\xa0-\xff]+")


class UnreadableSecretError(RuntimeError):
    """A secret cannot be read or sent; the text is the reason, without the secret. ``setting``: its field."""

    def __init__(self, setting: str, reason: str) -> None:
        super().__init__(reason)
        self.setting = setting


class Secret(StrictModel):
    """A value that does not belong in the settings: in a file or in a variable, exactly one."""

    file: Path | None = None
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
    password_file: Path | None = None
    password_env: Variable | None = None

    @model_validator(mode="after")
    def _check(self) -> BasicAuth:
        if (self.password_file is None) == (self.password_env is None):
            raise ValueError("needs password_file or password_env, one of them")
        if ":" in self.username:
            raise ValueError("the username may hold no colon")
        return self


class Access(StrictModel):
    """The part of the settings of a load source that says how its server lets us in.

    ``headers``: their values, or where these stand. ``ca_file``: certificates to trust, by default the
    system's; ``client_cert_file`` and ``client_key_file``: what shows who asks; the key may stand in the
    certificate's file.
    """

    headers: dict[HeaderName, str | Secret] = Field(default_factory=dict, repr=False)
    bearer_token_file: Path | None = None
    bearer_token_env: Variable | None = None
    basic_auth: BasicAuth | None = None
    ca_file: Path | None = None
    client_cert_file: Path | None = None
    client_key_file: Path | None = None

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


def beside(model: Model, folder: Path) -> Model:
    """The same settings with all paths relative to a folder."""
    changed: dict[str, Any] = {}
    for name, value in model:
        if isinstance(value, Path):
            changed[name] = folder / value
        elif isinstance(value, BaseModel):
            changed[name] = beside(value, folder)
        elif isinstance(value, dict):
            changed[name] = {
                key: beside(one, folder) if isinstance(one, BaseModel) else one for key, one in value.items()
            }
    return model.model_copy(update=changed)


def check_access(access: Access, file: str | Path | None) -> None:
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
