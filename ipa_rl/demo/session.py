"""The whole demonstration, step by step; what is done and still holds is not done again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

from ipa_rl.demo.application import Application, running
from ipa_rl.demo.cached_work import Kept
from ipa_rl.demo.core import core_of
from ipa_rl.demo.environment import write_environment
from ipa_rl.demo.profiling import kept_profile, measure, read_profile
from ipa_rl.demo.results import Held, Judged, Result, judge, promises
from ipa_rl.demo.serving import is_served, serve, turns
from ipa_rl.demo.settings import Settings
from ipa_rl.demo.training import kept_agent, make_agent
from ipa_rl.demo.view import make_view
from ipa_rl.environment.definition import Definition
from ipa_rl.judge.pools import make_pool
from ipa_rl.progress import Bars

Say = Callable[[str], None]


@dataclass(frozen=True)
class Told:
    """Says what is done, with the time since the begin."""

    out: Say
    began_s: float

    def __call__(self, text: str) -> None:
        """One line."""
        passed = round(time.monotonic() - self.began_s)
        self.out(f"{passed // 60:2d}:{passed % 60:02d}  {text}")


@dataclass(frozen=True)
class Demonstration:
    """What came of every turn, and what the simulator promised."""

    judged: list[Judged]
    promises: list[Held]


def demonstrate(settings: Settings, say: Say) -> Demonstration:
    """All of it. Writes the page.

    Raises ClusterError where Ray Serve does not do as it should, MissingExtraError where a part of the
    package is missing. Interrupted, it goes on where it stopped.
    """
    from ipa_rl.demo.report import write_report

    told = Told(say, time.monotonic())
    settings.folder.mkdir(parents=True, exist_ok=True)
    told("measuring the processor")
    with running(core_of(settings), told) as application:
        _profile(settings, application, told)
        profile = read_profile(settings)
        definition = write_environment(settings, profile)
        _train(settings, definition, told)
        _serve(settings, definition, application, told)
    told("comparing with the simulator")
    judged = judge(settings, definition)
    held = promises(profile, judged)
    write_report(settings, definition, profile, judged, held)
    _kept_turns(settings).done()
    told("done")
    return Demonstration(judged, held)


def _profile(settings: Settings, application: Application, told: Told) -> None:
    age_s = kept_profile(settings).age_s()
    if age_s is not None:
        told(f"the profile is {_age(age_s)} old and holds")
        return
    with Bars() as bars:
        measure(settings, application, bars, Told(bars.say, told.began_s))


def _train(settings: Settings, definition: Definition, told: Told) -> None:
    age_s = kept_agent(settings).age_s()
    if age_s is not None:
        told(f"the agent is {_age(age_s)} old and fits the profile")
        return
    pool = make_pool(None, None)
    with Bars() as bars:
        making = Told(bars.say, told.began_s)
        make_agent(settings, definition, pool, bars, making)


def _serve(settings: Settings, definition: Definition, application: Application, told: Told) -> None:
    """Every turn that is not served yet."""
    kept = _kept_turns(settings)
    kept.begin()
    window = settings.window()
    told(f"serving {settings.seconds} s of the trace, from second {window.clock_s:,} on")
    with make_view() as view:
        for turn in turns(settings):
            if not is_served(turn):
                shutil.rmtree(turn.folder, ignore_errors=True)
                serve(settings, definition, application, window, turn, view)
            view.ended(Result.of(settings, definition, turn).row())


def _kept_turns(settings: Settings) -> Kept:
    """Those of an interrupted demonstration hold for the same one; those of one that ended never do."""
    key = {"seconds": settings.seconds, "runs": settings.runs, "seed": settings.seed}
    return Kept(settings.served, {**key, "agent": dict(kept_agent(settings).key)}, fresh_s=-1.0)


def _age(age_s: float) -> str:
    hours = age_s / 3600
    if hours < 1:
        return f"{age_s / 60:.0f} minutes"
    return f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:.0f} days"
