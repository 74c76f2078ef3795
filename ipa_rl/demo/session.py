"""The whole demonstration, step by step; what is done and still holds is not done again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

from ipa_rl.demo.application import Application, running
from ipa_rl.demo.cached_work import Kept
from ipa_rl.demo.core import core_of
from ipa_rl.demo.outcomes import read_turn
from ipa_rl.demo.prediction import JudgedTurn, Promise, judge, promises
from ipa_rl.demo.profiling import kept_profile, measure, read_profile, write_environment
from ipa_rl.demo.serving import RUN, serve, turns
from ipa_rl.demo.settings import DemoSettings
from ipa_rl.demo.training import kept_agent, make_agent
from ipa_rl.demo.view import View
from ipa_rl.environment.definition import Definition
from ipa_rl.judge.pools import make_pool
from ipa_rl.progress import Bars

Say = Callable[[str], None]


@dataclass(frozen=True)
class Demonstration:
    """What came of every turn, and what the simulator promised."""

    judged: list[JudgedTurn]
    promises: list[Promise]


def demonstrate(settings: DemoSettings, say: Say) -> Demonstration:
    """All of it. Writes the page.

    Raises ClusterError where Ray Serve does not do as it should, MissingExtraError where a part of the
    package is missing. Interrupted, it goes on where it stopped.
    """
    from ipa_rl.demo.report import write_report  # plotly and jinja2

    began_s = time.monotonic()

    def timed(out: Say) -> Say:
        def say_when(text: str) -> None:
            passed = round(time.monotonic() - began_s)
            out(f"{passed // 60:2d}:{passed % 60:02d}  {text}")

        return say_when

    told = timed(say)
    settings.folder.mkdir(parents=True, exist_ok=True)
    told("measuring the processor")
    with running(core_of(settings), told) as application:
        if (age_s := kept_profile(settings).age_s()) is not None:
            told(f"the profile is {_age(age_s)} old and holds")
        else:
            with Bars() as bars:
                measure(settings, application, bars, timed(bars.say))
        profile = read_profile(settings)
        definition = write_environment(settings, profile)
        if (age_s := kept_agent(settings).age_s()) is not None:
            told(f"the agent is {_age(age_s)} old and fits the profile")
        else:
            pool = make_pool(None, None)
            with Bars() as bars:
                make_agent(settings, definition, pool, bars, timed(bars.say))
        _serve(settings, definition, application, told)
    told("comparing with the simulator")
    judged = judge(settings, definition)
    held = promises(profile, judged)
    write_report(settings, definition, profile, judged, held)
    _kept_turns(settings).done()
    told("done")
    return Demonstration(judged, held)


def _serve(settings: DemoSettings, definition: Definition, application: Application, told: Say) -> None:
    """Every turn that is not served yet."""
    _kept_turns(settings).begin()
    window = settings.window()
    told(f"serving {settings.seconds} s of {definition.workload.name}, {window.name}")
    with View() as view:
        for turn in turns(settings):
            if not (turn.folder / RUN).is_file():  # which is written last
                shutil.rmtree(turn.folder, ignore_errors=True)
                serve(settings, definition, application, window, turn, view)
            view.ended(read_turn(definition, turn, settings.seconds).row())


def _kept_turns(settings: DemoSettings) -> Kept:
    """Those of an interrupted demonstration hold for the same one; those of one that ended never do."""
    key = {"seconds": settings.seconds, "runs": settings.runs, "seed": settings.seed}
    return Kept(settings.served, {**key, "agent": dict(kept_agent(settings).key)}, fresh_s=-1.0)


def _age(age_s: float) -> str:
    units = ((86_400, "days"), (3600, "hours"), (60, "minutes"))
    size, name = next((one for one in units if age_s >= 2 * one[0]), units[-1])
    return f"{age_s / size:.0f} {name}"
