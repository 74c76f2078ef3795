"""``ipa-rl sidecar``: the controller beside a real pipeline."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ipa_rl.cli.tables import out
from ipa_rl.errors import InputError

if TYPE_CHECKING:
    from ipa_rl.sidecar.assembly import Assembled
    from ipa_rl.sidecar.process import Stop
    from ipa_rl.sidecar.settings import SidecarSettings

LOG = logging.getLogger("ipa_rl.sidecar")


def sidecar(
    config: Annotated[Path, typer.Option(help="YAML file with the settings.")],
    once: Annotated[bool, typer.Option("--once", help="One step, then end.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="One step that writes nothing; prints what would change.")
    ] = False,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Serve a live page, at http://127.0.0.1:9405 by default.")
    ] = False,
    role: Annotated[
        bool, typer.Option("--role", help="Print the rights that acting needs, each object by name, and end.")
    ] = False,
) -> None:
    """Adapt a real pipeline, one step an adaptation interval, until SIGTERM.

    Logs are JSON lines on stderr. With --once and --dry-run, exit status 1 where the step failed, or where
    another copy leads.

    Example: [bold]ipa-rl sidecar --config sidecar.yaml[/bold]
    """
    from ipa_rl.live.deadlines import Deadline
    from ipa_rl.sidecar.assembly import assemble
    from ipa_rl.sidecar.process import Stop, log_to_stderr
    from ipa_rl.sidecar.settings import read_settings

    settings = read_settings(config, dashboard)
    if role:
        _print_roles(settings)
        return
    log_to_stderr()
    deadline = Deadline()
    stop = Stop(deadline)
    stop.listen()
    assembled = assemble(settings, dry_run, deadline)
    with assembled.closing:
        if once or dry_run:
            _one_step(assembled, stop)
        else:
            _run(assembled, stop, settings.interval_s)


def _print_roles(settings: SidecarSettings) -> None:
    import yaml

    from ipa_rl.sidecar.assembly import described

    if not isinstance(settings.cluster, Path) and settings.cluster.keys() & {"rehearsal", "ray_serve"}:
        fix = "leave --role out: rights are of Kubernetes"
        raise InputError("is no pipeline on Kubernetes", file=settings.file, field="cluster", fix=fix)
    description = described(settings)
    from ipa_rl.live.kubernetes.role import write_roles

    typer.echo(yaml.safe_dump_all(write_roles(description), sort_keys=False), nl=False)


def _run(assembled: Assembled, stop: Stop, interval_s: float) -> None:
    from ipa_rl.sidecar.process import Ticks

    _campaign(assembled)
    ticks = Ticks(interval_s, stop.wait)
    skipped = 0

    def wait() -> bool:
        nonlocal skipped
        going_on = ticks.next()
        if ticks.skipped > skipped:
            LOG.warning("steps were skipped, as one took too long", extra={"count": ticks.skipped - skipped})
            if assembled.metrics is not None:
                assembled.metrics.skipped.inc(ticks.skipped - skipped)
            skipped = ticks.skipped
        return going_on

    LOG.info("begins", extra={"interval_s": interval_s, "port": assembled.port, "page": assembled.page})
    assembled.sidecar.run(wait)
    LOG.info("ends", extra={"steps": assembled.sidecar.steps, "failures": assembled.sidecar.failures})


def _one_step(assembled: Assembled, stop: Stop) -> None:
    _campaign(assembled)
    if assembled.campaign is not None:  # a lease that is free is had at the first try
        deadline_s = time.monotonic() + assembled.campaign.elector.election.renew_s
        while not assembled.campaign.elector.leads() and time.monotonic() < deadline_s:
            if stop.wait(0.1):
                break
    one = assembled.sidecar
    effect = one.attempt()
    if effect is None:
        raise typer.Exit(1)
    if one.dry_run:
        applied = effect.applied
        lines = [*applied.changes, *(f"waits: {change}" for change in applied.waiting)]
        lines += [f"refused: {reason}" for reason in applied.refused]
        out.print("\n".join(str(line) for line in lines) or "nothing differs", soft_wrap=True)
    if one.elector is not None and effect.why_not.endswith("leads"):
        raise typer.Exit(1)


def _campaign(assembled: Assembled) -> None:
    """Stand for election; the lease is released at the end, whatever ends it."""
    if assembled.campaign is not None:
        assembled.campaign.start()
        assembled.closing.callback(assembled.campaign.stop)
