"""``ipa-rl workload pull``: the history of a load from Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ipa_rl.cli.tables import JsonFlag, print_json, print_words, save_note
from ipa_rl.errors import InputError

_ACCESS = "Access"


def _access(text: str) -> Any:
    return typer.Option(help=text, rich_help_panel=_ACCESS)


def pull(
    folder: Annotated[Path, typer.Option("--out", help="Folder of the workload.")],
    prometheus: Annotated[
        str | None, typer.Option(help="Address of Prometheus, or of what has its API.")
    ] = None,
    query: Annotated[str | None, typer.Option(help="PromQL whose value is requests a second.")] = None,
    counter: Annotated[
        str | None, typer.Option(help="Selector of request counters, as 'requests_total{job=\"router\"}'.")
    ] = None,
    sidecar: Annotated[
        Path | None, typer.Option(help="The sidecar's settings, whose load says what is not given here.")
    ] = None,
    days: Annotated[float, typer.Option(help="Length of the history.")] = 14.0,
    interval: Annotated[
        float | None, typer.Option(help="Seconds between samples, where they do not show it.")
    ] = None,
    timeout: Annotated[float, _access("Seconds for one answer.")] = 30.0,
    header: Annotated[list[str] | None, _access("Sent with every question: 'X-Scope-OrgID: shop'.")] = None,
    bearer_token_file: Annotated[Path | None, _access("File of a token.")] = None,
    bearer_token_env: Annotated[str | None, _access("Variable that holds a token.")] = None,
    username: Annotated[str | None, _access("Of a login.")] = None,
    password_file: Annotated[Path | None, _access("File of its password.")] = None,
    password_env: Annotated[str | None, _access("Variable that holds its password.")] = None,
    ca_file: Annotated[Path | None, _access("Certificates to trust; by default the system's.")] = None,
    client_cert_file: Annotated[Path | None, _access("Certificate that shows who asks.")] = None,
    client_key_file: Annotated[Path | None, _access("Its key, where that is not in the same file.")] = None,
    json: JsonFlag = False,
) -> None:
    """A workload from Prometheus: its history page by page. What stopped goes on by the same command.

    Example: [bold]ipa-rl workload pull --prometheus http://localhost:9090 --counter requests_total
    --days 14 --out mine[/bold]
    """
    from ipa_rl.interrupts import hinted
    from ipa_rl.live.history import pull as pull_history
    from ipa_rl.live.prometheus_settings import read_settings
    from ipa_rl.progress import Bars
    from ipa_rl.workload.faults import doubts
    from ipa_rl.workload.summary import summary

    login = {"username": username, "password_file": _absolute(password_file), "password_env": password_env}
    given = {
        "url": prometheus,
        "query": query,
        "counter": counter,
        "timeout_s": timeout,
        "headers": dict(map(_header, header or ())),
        "bearer_token_file": _absolute(bearer_token_file),
        "bearer_token_env": bearer_token_env,
        "basic_auth": {name: value for name, value in login.items() if value is not None},
        "ca_file": _absolute(ca_file),
        "client_cert_file": _absolute(client_cert_file),
        "client_key_file": _absolute(client_key_file),
    }
    said = {name: value for name, value in given.items() if value}
    settings = read_settings(_load(sidecar, said), sidecar, "load" if sidecar else "")
    with Bars() as bars, hinted("give the same command again: what was pulled is kept"):
        pulled = pull_history(settings, days, folder, bars, interval)
    description, recorded = pulled.workload.description, pulled.workload.recorded
    words = {"counts": f"in slots of {description.resolution_s:g} s", **summary(description, recorded)}
    words["season"] = pulled.season.in_words
    notes = [*pulled.notes, *doubts(description, recorded)]
    if json:
        print_json({"taken": words, "doubts": notes})
    else:
        print_words([*words.items(), *(("note", note) for note in notes)])
    save_note([folder / "workload.yaml", folder / "recorded.npz"])


def _load(sidecar: Path | None, said: Mapping[str, Any]) -> dict[str, Any]:
    """What is given, and what the sidecar's settings say of the rest."""
    if "://" not in said.get("url", "://"):
        fix = f"write it as http://{said['url']}"
        raise InputError("has no http:// or https://", field="--prometheus", fix=fix)
    if sidecar is None:
        if "url" not in said or not {"query", "counter"} & said.keys():
            fix = "give --prometheus URL and --counter or --query, or --sidecar FILE"
            raise InputError("nothing says what to pull from where", fix=fix)
        return dict(said)
    from ipa_rl.documents import read_yaml

    content = read_yaml(sidecar, "docs/reference/sidecar.md").content
    load = content.get("load") if isinstance(content, Mapping) else None
    if not isinstance(load, Mapping) or "url" not in load:
        fix = "give --prometheus URL instead"
        raise InputError("names no Prometheus", file=sidecar, field="load", fix=fix)
    asked = ("query", "counter", "template", "name", "namespace", "labels")
    others = asked if {"query", "counter"} & said.keys() else ()
    return {name: one for name, one in load.items() if name not in others} | dict(said)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise InputError("is no header", field="--header", fix="write it as 'X-Scope-OrgID: shop'")
    return name.strip(), value.strip()


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())
