"""The history of a load, pulled from Prometheus page by page, as a workload.

    pulled = pull(settings, days=14, folder=Path("mine"), report=Silent())

Pages are kept in the folder until all are there, so that a pull which was stopped goes on. A page that
Prometheus refuses, or does not answer in time, is asked for in halves. What the live reader would call stale
is a gap.
"""

from __future__ import annotations

import datetime
import json
import math
import re
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ipa_rl.arrays import Wanted, misfit, read_arrays, write_arrays
from ipa_rl.documents import Count, Whole, load_json
from ipa_rl.errors import InputError
from ipa_rl.files import is_file, write_text
from ipa_rl.jit import FloatArray
from ipa_rl.live.counter_load import measure
from ipa_rl.live.counters import Series, filled, scrape_interval_s
from ipa_rl.live.outliers import Mask, taken_back
from ipa_rl.live.prometheus import evaluated
from ipa_rl.live.prometheus_api import MOST_POINTS, NoAnswerError, PrometheusApi
from ipa_rl.live.prometheus_settings import PrometheusSettings
from ipa_rl.live.request_counter import NoCounterError, RequestCounter
from ipa_rl.progress import Report
from ipa_rl.result_files import output_folder
from ipa_rl.workload.fit import FoundSeason, keep_workload
from ipa_rl.workload.slots import counts_of_rates, gaps_of
from ipa_rl.workload.workload import LONGEST_S, Recorded, Workload, WorkloadModel

_FIRST_PAGE_S = 3600
_LONGEST_PAGE_S = 86_400
_ASIDE = 5
"""Samples are looked at for so many times the age at which loads are stale before and after a page."""

_LEAST_STEPS = 20
"""A page of fewer scrape intervals is not halved."""

_PAUSES_S = (1.0, 2.0, 4.0, 8.0)
"""How often, and after how long each, a Prometheus that does not answer at all is asked again."""

_PROBED_S = (900, 7200)
"""Samples of so many seconds show how far apart they are; of more where they are rare."""

_PROBES = 8
"""At so many moments of the history samples are looked for."""

_MINORITY = 0.1
"""The longest scrape interval that holds for this share of the time is the resolution."""

_QUOTED = r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\''
_SELECTOR = re.compile(rf"((?:[a-zA-Z_:][\w:]*)?(?:\{{(?:[^\"'}}]|{_QUOTED})*\}})?)\s*\[")
"""What is sampled in PromQL: a selector before the length of a window."""

FIX = "give the same command as before, or another folder"


@dataclass(frozen=True)
class PullPlan:
    """What is pulled: from a second on until another, since 1970; ``step_s``: between samples."""

    url: str
    of: str
    days: float
    begin_s: Whole
    end_s: Whole
    step_s: Count


@dataclass(frozen=True)
class Pulled:
    """``notes``: what a reader should know of it, in words."""

    workload: Workload
    season: FoundSeason
    notes: list[str]


@dataclass(frozen=True)
class _Page:
    """Loads from a moment on: a counter's by second, a query's by step; NaN where not known.

    ``interval_s``: between scrapes, as these samples show it; NaN where there are none.
    """

    loads_rps: FloatArray
    interval_s: float
    doubt: str = ""


_Ask = Callable[[int, int], _Page]


def pull(
    settings: PrometheusSettings, days: float, folder: Path, report: Report, interval_s: float | None = None
) -> Pulled:
    """The last ``days`` of a load, kept in a folder; what is there of the same pull is not asked for again.

    ``interval_s``: between samples, where they do not show it. Raises InputError.
    """
    if is_file(folder / "workload.yaml"):
        raise InputError("holds a workload already", file=folder, fix="give another folder")
    if not 0 < days * 86_400 <= LONGEST_S:
        raise InputError(f"is {days:g}", field="--days", fix=f"give more than 0, up to {LONGEST_S // 86_400}")
    output_folder(folder)
    with closing(PrometheusApi(settings)) as api:
        try:
            plan = _planned(api, settings, days, folder / "pulled", interval_s)
            _pull_pages(api, settings, plan, folder / "pulled", report)
        except NoCounterError as error:
            raise InputError(str(error), field="--counter") from error
        except NoAnswerError as error:
            fix = "mend it, and give the same command again: what was pulled is kept"
            raise InputError(str(error), file=settings.url, fix=fix) from error
    pages = [_kept(path) for path in _kept_paths(folder / "pulled")]
    pulled = _workload(settings, plan, pages, folder)
    shutil.rmtree(folder / "pulled")
    return pulled


# What is pulled


def _planned(
    api: PrometheusApi, settings: PrometheusSettings, days: float, kept: Path, interval_s: float | None
) -> PullPlan:
    """The plan of before where the folder has one, else a new one, which is kept. Raises NoAnswerError."""
    path, of = kept / "plan.json", settings.counter or settings.query
    if is_file(path):
        plan = load_json(path, PullPlan, FIX)
        if (plan.url, plan.of, plan.days) != (settings.url, of, days):
            problem = f"holds a part of another pull: {plan.days:g} days of {plan.of} from {plan.url}"
            raise InputError(problem, file=kept.parent, fix=FIX)
        return plan
    now_s = int(api.now_s())
    if settings.query:
        api.values(settings.query, settings.limit_s())  # what is wrong with it is said of it as it stands
    seen_s = interval_s or _interval_s(api, settings, now_s, days)
    step_s = max(round(seen_s), 1)
    end_s = (now_s - math.ceil(settings.limit_s(seen_s))) // step_s * step_s
    begin_s = end_s - math.ceil(days * 86_400 / step_s) * step_s
    plan = PullPlan(settings.url, of, days, begin_s, end_s, step_s)
    kept.mkdir(exist_ok=True)
    write_text(json.dumps(asdict(plan), indent=2), path)
    return plan


def _interval_s(api: PrometheusApi, settings: PrometheusSettings, now_s: int, days: float) -> float:
    """How far samples are apart. Raises InputError where none are found, or a query names none."""
    selectors = [settings.counter] if settings.counter else _sampled(api, settings.query, now_s)
    if not selectors:
        fix = "add --interval, as --interval 15s"
        raise InputError("does not show how often its samples are taken", field="--query", fix=fix)
    for probed_s in _PROBED_S:
        for probe in range(_PROBES):
            end_s = now_s - days * 86_400 * probe / _PROBES
            found = [RequestCounter(api, one).samples(end_s - probed_s, end_s) for one in selectors]
            intervals = [scrape_interval_s(one) for one in found]
            if any(interval_s > 0 for interval_s in intervals):
                return float(np.nanmax(intervals))
    fix = "correct its name or its labels"
    problem = f"Prometheus has no samples of {selectors[0]} in the last {days:g} days"
    raise InputError(problem, file=settings.url, fix=fix)


def _sampled(api: PrometheusApi, query: str, now_s: float) -> list[str]:
    """Selectors of what a query is made of: those with a window, or the query itself where it is one.

    >>> _SELECTOR.findall("sum(rate(a_total{path='/[a]{2}'}[1m])) / 2 + rate(b[1m])")
    ["a_total{path='/[a]{2}'}", 'b']
    """
    selectors = sorted({one for one in _SELECTOR.findall(query) if one})
    if not selectors:
        with suppress(NoAnswerError):
            api.samples(query, 1.0, now_s)
            selectors = [query]
    return selectors


# Page by page


def _pull_pages(
    api: PrometheusApi, settings: PrometheusSettings, plan: PullPlan, kept: Path, report: Report
) -> None:
    """All pages that are not there yet. Raises NoAnswerError where one is refused however short it is."""
    ask: _Ask = _of_counter(api, settings, plan) if settings.counter else _of_query(api, settings, plan)
    at_s, total_h = plan.begin_s + _kept_s(kept, plan, settings), _hours(plan.end_s - plan.begin_s)
    most_s = _LONGEST_PAGE_S if settings.counter else MOST_POINTS * plan.step_s
    length_s, least_s = min(_FIRST_PAGE_S, most_s), _LEAST_STEPS * plan.step_s
    while at_s < plan.end_s:
        report.advance("hours", total_h - _hours(plan.end_s - at_s), total_h)
        until_s = min(at_s + max(length_s // plan.step_s, 1) * plan.step_s, plan.end_s)
        try:
            page = ask(at_s, until_s)
        except NoCounterError:
            raise
        except NoAnswerError:
            if length_s <= least_s or not _answers(api):
                raise
            length_s = most_s = max(length_s // 2, least_s)
            continue
        _keep(page, kept / f"{at_s}.npz")
        at_s, length_s = until_s, min(2 * length_s, most_s)
    report.advance("hours", total_h, total_h)


def _hours(seconds: int) -> int:
    return math.ceil(seconds / 3600)


def _answers(api: PrometheusApi) -> bool:
    """Whether Prometheus answers at all, if need be after some seconds."""
    for pause_s in (0.0, *_PAUSES_S):
        time.sleep(pause_s)
        with suppress(NoAnswerError):
            api.now_s()
            return True
    return False


def _of_counter(api: PrometheusApi, settings: PrometheusSettings, plan: PullPlan) -> _Ask:
    """Loads by second, of samples that reach so far to either side that a gap is seen whole."""
    counter, usual_s = RequestCounter(api, settings.counter), settings.limit_s(plan.step_s)

    def ask(begin_s: int, end_s: int, limit_s: float = usual_s) -> _Page:
        aside_s = _ASIDE * math.ceil(limit_s)
        found, last_s = counter.samples(begin_s - aside_s, end_s + aside_s), end_s + aside_s
        counter.check(found)
        interval_s = scrape_interval_s(found)
        if (seen_s := settings.limit_s(interval_s)) > limit_s:
            return ask(begin_s, end_s, seen_s)  # it was scraped more rarely then
        measured = measure(found, last_s, last_s - begin_s + aside_s, last_s, taken_back)
        stale = _stale(found, begin_s - aside_s, last_s, seen_s)
        loads = np.where(stale, np.nan, filled(measured.loads_rps))
        return _Page(loads[aside_s:-aside_s], interval_s, measured.doubt)

    return ask


def _stale(found: Sequence[Series], begin_s: int, end_s: int, limit_s: float) -> Mask:
    """Which seconds lie in a time without samples that is longer than the limit."""
    times = np.unique(np.concatenate([[begin_s], *(one.times_s for one in found), [end_s]]))
    stale = np.zeros(end_s - begin_s, dtype=np.bool_)
    for k in np.flatnonzero(np.diff(times) > limit_s).tolist():
        stale[max(math.floor(times[k] - begin_s), 0) : math.ceil(times[k + 1] - begin_s)] = True
    return stale


def _of_query(api: PrometheusApi, settings: PrometheusSettings, plan: PullPlan) -> _Ask:
    """Values of a query at the end of each step, where something that it is made of was sampled of late.

    Before 3.0 Prometheus takes what is up to 5 minutes old for recent.
    """
    query, limit_s = settings.query, settings.limit_s(plan.step_s)
    if selectors := _sampled(api, query, plan.end_s):
        sampled = " or ".join(f"count(count_over_time({one}[{math.ceil(limit_s)}s]))" for one in selectors)
        query = f"({query}) and on() ({sampled})"

    def ask(begin_s: int, end_s: int) -> _Page:
        count = (end_s - begin_s) // plan.step_s
        return _Page(evaluated(api, query, end_s, limit_s, count, plan.step_s), float(plan.step_s))

    return ask


# What is kept until all is there


_ARRAYS: Wanted = {"loads_rps": ("f8", (None,)), "interval_s": ("f8", ()), "doubt": ("U", ())}


def _keep(page: _Page, path: Path) -> None:
    write_arrays(asdict(page), path, compressed=True)


def _kept(path: Path) -> _Page:
    check = partial(
        misfit, wanted={"loads_rps": ("f8", (None,)), "interval_s": ("f8", ()), "doubt": ("U", ())}
    )
    arrays = read_arrays(path, check, "page of a pull", f"remove {path.parent}")
    return _Page(arrays["loads_rps"], float(arrays["interval_s"]), str(arrays["doubt"]))


def _kept_paths(kept: Path) -> list[Path]:
    return sorted(kept.glob("*.npz"), key=lambda path: int(path.stem))


def _kept_s(kept: Path, plan: PullPlan, settings: PrometheusSettings) -> int:
    """How much of the history is there already."""
    values = sum(len(_kept(path).loads_rps) for path in _kept_paths(kept))
    return values * (1 if settings.counter else plan.step_s)


# All pages as a workload


def _workload(settings: PrometheusSettings, plan: PullPlan, pages: Sequence[_Page], folder: Path) -> Pulled:
    loads = np.concatenate([page.loads_rps for page in pages])
    notes = [page.doubt for page in pages if page.doubt]
    resolution_s, begin_s = plan.step_s, plan.begin_s
    if settings.counter:
        resolution_s = _resolution_s(pages)
        loads, begin_s = loads[-begin_s % resolution_s :], begin_s + -begin_s % resolution_s
        loads = loads[: len(loads) // resolution_s * resolution_s].reshape(-1, resolution_s).mean(axis=1)
    known = np.flatnonzero(~np.isnan(loads))
    if len(known) < 2:
        problem = f"Prometheus has no two samples of {plan.of} in the last {plan.days:g} days"
        raise InputError(problem, file=plan.url, fix="correct its name or its labels")
    first, after = int(known[0]), int(known[-1]) + 1
    if (held := (after - first) * resolution_s / 86_400) < 0.99 * plan.days:
        notes.append(f"Prometheus holds {held:.3g} of the {plan.days:g} days")
    counts = counts_of_rates(loads[first:after], resolution_s)
    missing = np.isnan(counts)
    start = datetime.datetime.fromtimestamp(begin_s + first * resolution_s, datetime.UTC)
    description = WorkloadModel(
        title=plan.of,
        source=f"Prometheus at {plan.url}",
        resolution_s=resolution_s,
        start=start,
        gaps=gaps_of(missing, resolution_s),
    )
    recorded = Recorded(np.where(missing, 0, counts).astype(np.int64))
    return Pulled(*keep_workload(folder, description, recorded), notes)


def _resolution_s(pages: Sequence[_Page]) -> int:
    """The scrape interval in whole seconds: the longest that held for more than a small part of the time."""
    known_s: dict[int, int] = {}
    for page in pages:
        if not math.isnan(page.interval_s):
            interval_s = max(round(page.interval_s), 1)
            known_s[interval_s] = known_s.get(interval_s, 0) + int((~np.isnan(page.loads_rps)).sum())
    enough_s = _MINORITY * sum(known_s.values())
    return max((one for one, seconds in known_s.items() if seconds >= enough_s), default=1)
