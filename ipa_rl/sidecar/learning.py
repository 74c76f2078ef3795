"""The sidecar learns its own load: what it has seen, by what it forecasts and why, and how well.

The loop tells what it sees and asks by what to forecast. A thread saves the loads and refits
(`ipa_rl.workload.recent_fits`, `ipa_rl.workload.recent_futures`); it rests after every few milliseconds of
work, and what it finds is taken over between two steps.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ipa_rl.agents.opponents import Opponent
from ipa_rl.agents.planner import PlannerAgent
from ipa_rl.agents.policy import PolicyAgent
from ipa_rl.agents.program import ProgramAgent
from ipa_rl.agents.protocol import Agent
from ipa_rl.agents.universal import UniversalAgent
from ipa_rl.environment.definition import Definition
from ipa_rl.live.cluster import Loads
from ipa_rl.sidecar.forecast_errors import ForecastErrors
from ipa_rl.sidecar.load_history import LoadHistory
from ipa_rl.workload.clock import season_of
from ipa_rl.workload.forecasters import Clock, Forecaster, steps_ahead
from ipa_rl.workload.futures import RecordedFutures
from ipa_rl.workload.quantiles import GENERAL, QuantileTable, quantile_forecaster, quantiles_of
from ipa_rl.workload.recent_fits import LEAST_DAYS_OF_CLOCK, Fits, Refit, least_s, refit
from ipa_rl.workload.recent_futures import Judged, better_futures, least_days_s

LOG = logging.getLogger(__name__)

REFIT_S = 3600
"""Refitted after so much new load, and at the start."""
_PAUSE_S = 0.02
_PERIODS = {3600: "an hour", 86_400: "a day", 604_800: "a week"}


@dataclass
class Learner:
    """What the loads seen teach the agents and the program: quantiles, whether there is a season, futures.

    ``opponent``: what the program was built from; one that nobody tuned plans for a quantile of the load seen
    as soon as that errs less. ``unix_s``: the time of the loads, ``clock_of``: what the clock says at a time.
    The loop calls `saw`, `adopt`, `expect` and `entry`, the thread `work`.
    """

    definition: Definition
    history: LoadHistory
    agents: Sequence[Agent]
    program: ProgramAgent
    opponent: Opponent
    unix_s: Callable[[], float]
    clock_of: Callable[[float], float]
    _wake: threading.Event = field(default_factory=threading.Event)
    _over: bool = False
    _thread: threading.Thread | None = None

    def __post_init__(self) -> None:
        workload, step_s = self.definition.workload, self.definition.step_s
        table, season = quantiles_of(workload, step_s), season_of(workload)
        self._given = Fits(table.coefficients, season, "given", "given" if season.period_s else "none")
        self._whose = workload.name if table.is_own else GENERAL
        self._used = self._given
        self._found: Refit | None = None
        self._ready: Refit | None = None
        self._at_first: Forecaster = self.program.forecaster
        self._name = self.opponent.forecaster
        self._refitted_s = -math.inf
        self._planners = [one for one in self.agents if isinstance(one, PlannerAgent)]
        self._policies = [one.policy if isinstance(one, PlannerAgent) else one for one in self.agents]
        plan = [one.futures for one in self._planners]
        plan += [one.forecasts.futures for one in self._policies if isinstance(one, UniversalAgent)]
        given = [one for one in plan if isinstance(one, RecordedFutures)]
        self._given_futures = given[0] if given else None
        self._plans_by = Judged(given[0], False, 0) if given else None
        self._judged = self._plans_by
        self.errors = ForecastErrors(self.history)

    def tell(self) -> None:
        """Log by what is forecast, and why."""
        LOG.info("forecasts: %s", self.told)

    def start(self) -> None:
        """From now on the thread works."""
        self._thread = threading.Thread(target=self._work_forever, name="learning", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Save what is not saved, and end."""
        self._over = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(5.0)
        self.history.save()

    # What the loop does.

    def saw(self, loads: Loads) -> None:
        """Keep what is known of the loads, and compare what was expected of them."""
        now_s = self.unix_s()
        self.history.saw(loads, now_s)
        self.errors.compare(now_s)

    def adopt(self) -> None:
        """Forecast from now on by what was found."""
        found, self._ready = self._ready, None
        if found is None:
            return
        before, self._found = self.told, found
        self._used = fits = found.fits
        table = QuantileTable(fits.coefficients)
        self._plans_by = self._judged
        futures = None if self._plans_by is None else self._plans_by.futures
        for policy in self._policies:
            if isinstance(policy, UniversalAgent):
                policy.forecast_by(table, fits.season, futures)
            elif isinstance(policy, PolicyAgent):
                policy.forecast_by(table, fits.season)
        for planner in self._planners:
            planner.futures = self._plans_by.futures if self._plans_by else planner.futures
        self._name, self.program.forecaster = self._forecaster(found, table)
        level = logging.INFO if _words(before) == _words(self.told) else logging.WARNING
        LOG.log(level, "forecasts: %s", self.told)

    def _forecaster(self, found: Refit, table: QuantileTable) -> tuple[str, Forecaster]:
        """The program's, by what was found, and its name."""
        fits, step_s, name = found.fits, self.definition.step_s, self.opponent.forecaster
        if not self.opponent.is_tuned and found.beats_maximum:
            name = f"quantile:90@{self.definition.horizon}"
        if name.startswith("quantile:"):
            return name, quantile_forecaster(name, table, fits.season, step_s)
        if isinstance(self._at_first, Clock):
            return name, replace(self._at_first, season=fits.season)
        return name, self._at_first

    def expect(self, forecast_rps: float) -> None:
        """What the program expects now; and the thread may work."""
        self.errors.expect(self.unix_s(), forecast_rps, steps_ahead(self._name) * self.definition.step_s)
        self._wake.set()

    def entry(self) -> dict[str, Any]:
        """For the decision log."""
        return {
            "forecaster": self._name,
            "quantiles": self._used.basis,
            "clock": self._used.clock,
            "futures": None if self._plans_by is None else "own" if self._plans_by.is_own else "given",
            "told": self.told,
            "seen_h": self.history.known_s / 3600,
            **self.errors.entry(),
        }

    # What the thread does.

    def work(self) -> None:
        """Save the loads; refit where it is time to."""
        self.history.save()
        if self.history.newest_s - self._refitted_s < REFIT_S:
            return
        recent, pause_s = self.history.recent(self.clock_of), _PAUSE_S if self._thread else 0.0
        if recent.known_s < least_s(recent.step_s):
            return
        self._refitted_s = self.history.newest_s
        found = refit(recent, self._given, self._used, self.definition.horizon, pause_s)
        if found is None:
            return
        if self._given_futures is not None and self._plans_by is not None:
            given, used = self._given_futures, self._plans_by
            self._judged = better_futures(recent, given, used, found.fits, given.steps, pause_s)
        self._ready = found

    def _work_forever(self) -> None:
        while not self._over:
            self._wake.wait()
            self._wake.clear()
            try:
                self.work()
            except (ArithmeticError, ValueError, MemoryError, np.linalg.LinAlgError) as error:
                LOG.error("learning failed, forecasts stay: %s", error, exc_info=True)

    # In words.

    @property
    def told(self) -> str:
        """By what is forecast, and why."""
        parts = [f"the program by {self._name}", self._quantiles_told(), self._clock_told()]
        return "; ".join([self._futures_told(), *parts] if self._plans_by else parts)

    def _futures_told(self) -> str:
        by, who = self._plans_by, "the planner" if self._planners else "the policy"
        assert by is not None
        if by.is_own:
            return f"{who} by futures of {by.known_s / 3600:.3g} h of load seen"
        if by.known_s:
            seen = f"{by.known_s / 3600:.3g} h of load seen"
            return f"{who} by futures of {by.futures.name}, which err least on {seen}"
        needs_h = least_days_s(self.definition.step_s) / 3600
        return f"{who} by futures of {by.futures.name} until {needs_h:.3g} h of load are seen"

    def _quantiles_told(self) -> str:
        needs_h, found = least_s(self.definition.step_s) / 3600, self._found
        if found is None:
            return f"quantiles of {self._whose} until {needs_h:.3g} h of load are seen"
        seen = f"{found.known_s / 3600:.3g} h of load seen"
        if self._used.basis == "given":
            return f"quantiles of {self._whose}, which err least on {seen}"
        if self._used.basis == "shifted":
            return f"quantiles of {self._whose}, shifted to {seen}"
        return f"quantiles fitted to {seen}"

    def _clock_told(self) -> str:
        found, name, season = self._found, self.definition.workload.name, self._used.season
        period = _PERIODS.get(season.period_s, f"{season.period_s} s")
        if self._used.clock == "own":
            return f"a season of {period}, found in the load seen"
        if self._used.clock == "given":
            if found is None:
                needs_h = least_s(self.definition.step_s) / 3600
                return f"the clock of {name} (a season of {period}), checked once {needs_h:.3g} h are seen"
            return f"the clock of {name}, which the load seen follows"
        if found is not None and found.known_s >= LEAST_DAYS_OF_CLOCK * 86_400:
            own = "no season helps on the load seen"
        else:
            own = f"a season of its own is looked for after {24 * LEAST_DAYS_OF_CLOCK} h"
        if self._given.season.period_s:
            return f"no clock: the load seen does not follow that of {name}; {own}"
        return f"no clock: {own}"


def _words(told: str) -> str:
    """Without figures."""
    return "".join(one for one in told if not one.isdigit() and one != ".")
