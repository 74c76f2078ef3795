"""``ipa-rl sidecar``: the controller beside a real pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import yaml

from ipa_rl.cli.tables import out
from ipa_rl.errors import InputError
from ipa_rl.live.deadlines import Deadline
from ipa_rl.sidecar.assembly import assemble, described
from ipa_rl.sidecar.process import Stop, log_to_stderr
from ipa_rl.sidecar.settings import SidecarSettings, read_settings


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

    Logs are JSON lines on stderr.
    With --once and --dry-run, exit status 1 if the step failed or another copy leads.

    Example: [bold]ipa-rl sidecar --config sidecar.yaml[/bold]
    """
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
        if not (once or dry_run):
            assembled.run(stop, settings.interval_s)
            return
        effect = assembled.step_once(stop)
    if effect is not None and dry_run:
        applied = effect.applied
        lines = [*applied.changes, *(f"waits: {change}" for change in applied.waiting)]
        lines += [f"refused: {reason}" for reason in applied.refused]
        out.print("\n".join(str(line) for line in lines) or "nothing differs", soft_wrap=True)
    another_leads = effect is not None and assembled.campaign is not None and effect.why_not.endswith("leads")
    if effect is None or another_leads:
        raise typer.Exit(1)


def _print_roles(settings: SidecarSettings) -> None:
    if not isinstance(settings.cluster, Path) and settings.cluster.keys() & {"rehearsal", "ray_serve"}:
        fix = "leave --role out: rights are of Kubernetes"
        raise InputError("is not a pipeline on Kubernetes", file=settings.file, field="cluster", fix=fix)
    description = described(settings)
    from ipa_rl.live.kubernetes.description import write_roles

    typer.echo(yaml.safe_dump_all(write_roles(description), sort_keys=False), nl=False)
