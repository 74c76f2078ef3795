"""Moments of a workload: what people give is the second that they mean."""

from __future__ import annotations

import datetime
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.errors import InputError
from ipa_rl.workload.moments import said, second_of
from ipa_rl.workload.workload import Recorded, Workload, WorkloadModel

DAYS = 20
SECONDS = DAYS * 86_400


def workload(start: datetime.datetime | None, zone: str | None = None) -> Workload:
    """Twenty days of a request a second."""
    return Workload(
        "mine",
        None,
        WorkloadModel(start=start, time_zone=zone),
        partial(Recorded, np.ones(SECONDS, np.int64)),
    )


ZONES = st.sampled_from([None, "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"])
STARTS = st.datetimes(datetime.datetime(2020, 1, 1), datetime.datetime(2027, 1, 1)).map(
    lambda one: one.replace(microsecond=0, fold=0)
)


@given(STARTS, ZONES, st.integers(0, SECONDS))
def test_a_time_with_its_offset_is_the_second_it_names(
    start: datetime.datetime, zone: str | None, second: int
) -> None:
    mine = workload(start, zone)
    assert mine.begin is not None
    at = (mine.begin + datetime.timedelta(seconds=second)).astimezone(mine.zone)
    assert second_of(mine, at.isoformat(), "--from") == second
    assert at.replace(tzinfo=None).isoformat().startswith(said(mine, second))
    assert second_of(mine, str(second), "--from") == second


def test_a_time_without_an_offset_is_in_the_zone_of_the_workload_across_the_change_of_clocks() -> None:
    mine = workload(datetime.datetime(2026, 3, 28), "Europe/Berlin")
    assert second_of(mine, "2026-03-28T12:00", "--from") == 12 * 3600
    assert second_of(mine, "2026-03-30", "--from") == 47 * 3600
    assert said(mine, 47 * 3600) == "2026-03-30T00:00"


@pytest.mark.parametrize(
    ("moment", "told"),
    [
        ("soon", "'soon' is neither a number nor a time"),
        ("2026-02-30", "is neither a number nor a time"),
        (
            "2025-12-31",
            "lies outside of mine; fix: give seconds from its begin, 0 to 1728000, or a time, 2026-",
        ),
        ("-1", "lies outside"),
        ("nan", "lies outside"),
        ("1e400", "lies outside"),
        ("", "is neither"),
    ],
)
def test_what_is_no_moment_of_the_workload_is_told(moment: str, told: str) -> None:
    with pytest.raises(InputError, match=f"--to: .*{told}"):
        second_of(workload(datetime.datetime(2026, 1, 1)), moment, "--to")


def test_a_workload_without_a_clock_takes_seconds_only() -> None:
    assert second_of(workload(None), "90", "--from") == 90
    assert said(workload(None), 90) == "90"
    with pytest.raises(InputError, match=r"is not a number, and mine has no clock; fix: give seconds"):
        second_of(workload(None), "2026-01-01", "--from")
