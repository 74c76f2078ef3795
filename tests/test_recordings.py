"""Other people's files as workloads: the very counts, units and zones, in every format; faults with lines."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from ipa_rl.agents.program import static_agent
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import InputError
from ipa_rl.judge.play import play
from ipa_rl.judge.simulated_cluster import Scenario
from ipa_rl.workload import workload
from ipa_rl.workload.clock import season_of
from ipa_rl.workload.recordings import Hints, Taken, import_workload, look, timeline
from tests.recorded_files import Columns, Form, csv_forms, forms, write

quickly = settings(deadline=None, max_examples=40)
counts = st.lists(st.integers(0, 5000), min_size=4, max_size=60)
intervals_s = st.sampled_from([1, 5, 60, 300, 3600])
begins = st.datetimes(datetime.datetime(2001, 1, 1), datetime.datetime(2090, 1, 1)).map(
    lambda at: at.replace(microsecond=0)
)


def taken(columns: Columns, form: Form, **hints: Any) -> Taken:
    """What a file of these columns is taken for; it has no faults."""
    with TemporaryDirectory() as folder:
        looked = look(write(Path(folder), columns, form), Hints(**hints))
        assert [str(fault) for fault in looked.faults] == []
        assert looked.taken is not None
        return looked.taken


def counts_of(found: Taken) -> list[int]:
    assert found.recorded.counts is not None
    return [int(one) for one in found.recorded.counts]


def instants(begin: datetime.datetime, steps_s: list[float], zone: str) -> list[str]:
    """ISO 8601 texts of moments, with an offset, with Z, or as the wall clock has them."""
    moments = [begin.replace(tzinfo=datetime.UTC) + datetime.timedelta(seconds=s) for s in steps_s]
    if zone == "none":
        return [one.replace(tzinfo=None).isoformat(sep=" ") for one in moments]
    if zone == "Z":
        return [one.isoformat().replace("+00:00", "Z") for one in moments]
    return [one.astimezone(ZoneInfo(zone)).isoformat() for one in moments]


@quickly
@given(counts, intervals_s, begins, st.sampled_from(["none", "Z", "Etc/GMT-2", "Etc/GMT+5"]), forms)
def test_counts_beside_dates_come_back_with_their_interval_and_zone(
    values: list[int], interval_s: int, begin: datetime.datetime, zone: str, form: Form
) -> None:
    times = instants(begin, [k * interval_s for k in range(len(values))], zone)
    found = taken({"time": times, "count": values}, form)
    assert counts_of(found) == values
    assert found.description.resolution_s == interval_s
    assert found.description.time_zone == {"none": None, "Z": None}.get(zone, zone)
    start = found.description.start
    assert start is not None
    assert start.replace(tzinfo=None) == datetime.datetime.fromisoformat(times[0]).replace(tzinfo=None)
    assert (start.tzinfo is None) == (zone == "none")


@quickly
@given(
    counts,
    intervals_s,
    begins,
    st.sampled_from([("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)]),
    forms,
)
def test_counts_beside_numbers_since_1970_come_back_whatever_their_unit(
    values: list[int], interval_s: int, begin: datetime.datetime, unit: tuple[str, int], form: Form
) -> None:
    first_s = int(begin.replace(tzinfo=datetime.UTC).timestamp())
    times = [(first_s + k * interval_s) * unit[1] for k in range(len(values))]
    found = taken({"ts": times, "requests": values}, form)
    assert counts_of(found) == values
    assert found.description.start == begin.replace(tzinfo=datetime.UTC)
    assert found.description.resolution_s == interval_s


@quickly
@given(counts, st.data(), st.sampled_from([60, 300]), forms)
def test_what_a_file_leaves_out_is_a_gap_and_not_a_count_of_zero(
    values: list[int], data: st.DataObject, interval_s: int, form: Form
) -> None:
    inner = range(1, len(values) - 1)
    left_out = set(data.draw(st.lists(st.sampled_from(inner), max_size=len(values) // 5)))
    assume(len(values) > 8)
    kept = [k for k in range(len(values)) if k not in left_out]
    found = taken({"t": [k * interval_s for k in kept], "count": [values[k] for k in kept]}, form)
    assert counts_of(found) == [0 if k in left_out else value for k, value in enumerate(values)]
    missing = {s for begin, end in found.description.gaps for s in range(begin, end)}
    assert missing == {s for k in left_out for s in range(k * interval_s, (k + 1) * interval_s)}


@quickly
@given(
    st.lists(st.integers(0, 3_000_000_000), min_size=4, max_size=50).map(sorted),
    begins,
    st.sampled_from(["s", "ms", "us", "ns", "none", "Z"]),
    forms,
)
def test_requests_come_back_at_their_microseconds(
    passed_us: list[int], begin: datetime.datetime, unit: str, form: Form
) -> None:
    passed_us = [us - us % 1000 if unit == "ms" else us for us in [0, *passed_us]]
    first_us = int(begin.replace(tzinfo=datetime.UTC).timestamp()) * 1_000_000
    times: list[Any]
    if unit in ("none", "Z"):
        times = instants(begin, [us / 1e6 for us in passed_us], unit)
    elif unit == "s":
        times = [(first_us + us) / 1e6 for us in passed_us]
    else:
        scale = {"ms": 0.001, "us": 1, "ns": 1000}[unit]
        times = [int((first_us + us) * scale) if scale >= 1 else (first_us + us) // 1000 for us in passed_us]
    assume(any(us % 1_000_000 for us in passed_us))
    others = {"tokens": [7] * len(times)} if form.has_names else {}
    found = taken({"timestamp": times, **others}, form)
    assert found.recorded.times_s is not None
    np.testing.assert_allclose(found.recorded.times_s, np.array(passed_us) / 1e6, atol=1.01e-6)
    start = found.description.start
    assert start is not None
    assert start.replace(tzinfo=None) == begin
    assert (start.tzinfo is None) == (unit == "none")


@quickly
@given(
    st.lists(st.integers(0, 10**7), min_size=4, max_size=50).map(sorted),
    st.sampled_from([("s", 1), ("ms", 1000), ("us", 10**6), ("ns", 10**9)]),
    forms,
)
@example([632, 632, 632, 1264], ("us", 10**6), Form("jsonl", ",", ".", "\n", False, False, True, ""))
def test_times_since_the_start_need_their_unit_and_come_back(
    seconds: list[int], unit: tuple[str, int], form: Form
) -> None:
    assume(seconds[-1] - seconds[0] >= seconds[0])
    assume(seconds[-1] > seconds[0])
    found = taken({"arrival": [s * unit[1] for s in seconds]}, form, unit=unit[0])
    assert found.description.start is None
    counted = found.recorded.counts
    assert counted is not None
    if found.description.resolution_s == 1:
        assert np.array_equal(counted, np.bincount(seconds))
    assert counted.sum() == len(seconds)


@quickly
@given(st.lists(st.floats(0, 5000), min_size=4, max_size=50).map(sorted), csv_forms)
def test_a_decimal_comma_is_seen(seconds: list[float], form: Form) -> None:
    times = [round(s, 3) + 0.0005 for s in [0.0, *seconds]]
    assume(form.delimiter != "," and times[-1] > times[0])
    form = Form("csv", form.delimiter, ",", form.newline, form.has_mark, form.is_quoted, True, form.packing)
    found = taken({"time": times, "model": ["a"] * len(times)}, form)
    assert found.recorded.times_s is not None
    np.testing.assert_allclose(found.recorded.times_s, times, atol=1e-6)


@quickly
@given(counts, intervals_s, st.sampled_from(["", "gz", "xz"]), st.booleans())
def test_one_number_a_line_needs_its_interval_and_comes_back(
    values: list[int], interval_s: int, packing: str, has_names: bool
) -> None:
    assume(values != sorted(values))
    form = Form(packing=packing, has_names=has_names)
    found = taken({"count": values}, form, interval_s=float(interval_s))
    assert counts_of(found) == values
    assert found.description.resolution_s == interval_s


@quickly
@given(st.lists(st.lists(st.integers(0, 50), min_size=24, max_size=24), min_size=1, max_size=4), csv_forms)
def test_a_table_with_a_column_an_hour_is_added_up_over_its_rows(rows: list[list[int]], form: Form) -> None:
    form = Form("csv", form.delimiter, ".", form.newline, form.has_mark, form.is_quoted, True, form.packing)
    columns: dict[str, list[Any]] = {"function": [f"f{k}" for k in range(len(rows))]}
    columns |= {str(hour + 1): [row[hour] for row in rows] for hour in range(24)}
    found = taken(columns, form)
    assert counts_of(found) == np.sum(rows, axis=0).tolist()
    assert found.description.resolution_s == 3600
    one = taken(columns, form, only=("function", "f0"))
    assert counts_of(one) == rows[0]


@quickly
@given(counts, st.sampled_from([60, 600]), st.data(), forms)
def test_rates_come_back_as_counts_and_variation_as_dispersion(
    values: list[int], interval_s: int, data: st.DataObject, form: Form
) -> None:
    cvs = data.draw(st.lists(st.floats(0.1, 9), min_size=len(values), max_size=len(values)))
    columns: dict[str, list[Any]] = {
        "start": [k * interval_s for k in range(len(values))],
        "rate": [value / interval_s for value in values],
        "cv": cvs,
    }
    found = taken(columns, Form(**{**form.__dict__, "has_names": True}))
    assert counts_of(found) == values
    assert found.recorded.dispersion is not None
    np.testing.assert_allclose(found.recorded.dispersion, np.square(cvs))


@quickly
@given(counts, st.integers(2, 4), forms)
def test_rows_of_several_functions_are_added_up_by_interval(
    values: list[int], functions: int, form: Form
) -> None:
    rows = [(60 * k, f"f{f}", value + f) for k, value in enumerate(values) for f in range(functions)]
    columns = dict(zip(("time", "function", "count"), map(list, zip(*rows, strict=True)), strict=True))
    found = taken(columns, Form(**{**form.__dict__, "has_names": True}))
    assert counts_of(found) == [functions * value + sum(range(functions)) for value in values]
    assert any("added up" in doubt for doubt in found.doubts)


@given(st.sampled_from(["2024-03-31T00:30:00", "2024-10-27T00:30:00"]), st.integers(40, 200))
@quickly
def test_days_of_23_and_25_hours_are_whole_in_the_zone_that_was_told(first: str, slots: int) -> None:
    begin = datetime.datetime.fromisoformat(first).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    moments = [begin.astimezone(datetime.UTC) + datetime.timedelta(minutes=5 * k) for k in range(slots)]
    walls = [f"{one.astimezone(ZoneInfo('Europe/Berlin')):%Y-%m-%d %H:%M:%S}" for one in moments]
    found = taken({"time": walls, "count": list(range(slots))}, Form(), zone="Europe/Berlin")
    assert counts_of(found) == list(range(slots))
    assert found.description.gaps == ()


@contextmanager
def file_of(text: str | bytes, name: str = "mine.csv") -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        yield path


MINUTES = "".join(f"2024-05-01T10:{k:02}:00Z,{k}\n" for k in range(60))

FAULTS: dict[str, tuple[str | bytes, str]] = {
    "an empty file": ("", "is empty"),
    "only names": ("time,count\n", "has no rows"),
    "text in a count": ("time,count\n0,1\n60,many\n120,3\n", r":3: count: is not a number: 'many'"),
    "more digits than a number has": (
        f"time,count\n0,1\n60,{'9' * 5000}\n120,3\n",
        r":3: count: is not a number",
    ),
    "a negative count": ("time,count\n0,1\n60,-4\n120,3\n", r":3: count: is negative: -4"),
    "part of a request": ("time,count\n0,1\n60,1.5\n120,3\n", r":3: count: is not a whole number .*--rate"),
    "no time": (MINUTES + "soon,4\n", r":61: column 1: is not a time: 'soon'"),
    "mixed zones": (MINUTES + "2024-05-01T11:00:00,4\n", r":61: column 1: .* names no zone, and others do"),
    "an interval twice": (MINUTES + "2024-05-01T10:07:00Z,4\n", r":61: time: gives an interval that a line"),
    "between intervals": (MINUTES + "2024-05-01T11:00:30Z,4\n", r":61: time: is not a whole number of inter"),
    "too many cells": ("time,count\n0,1\n60,2,3\n120,3\n", r":3: has 3 cells, where others have 2"),
    "a unit that nobody said": (
        "arrival\n0\n11\n13\n17\n",
        r"does not say the unit .* --unit ms \(4 ",
    ),
    "an interval that nobody said": ("5\n3\n9\n1\n", "does not say of what interval; fix: add --interval 1s"),
    "a year of milliseconds as seconds": ("arrival_s\n0\n63072000000\n", r"lasts 730,000 days"),
    "daylight saving": (
        "".join(f"2024-10-27 {h}:{m:02}:00,1\n" for h in ("01", "02", "02", "03") for m in range(60)),
        r":121: column 1: 2024-10-27 02:00:00 is an hour back, .*--zone Europe/Berlin",
    ),
    "binary": (b"\x00\x01\x02", "is not text"),
    "half a gzip": (b"\x1f\x8b\x08\x00abc", "is not whole gzip"),
    "broken JSON": ('{"time": 1}\n{"time": \n', r":2: is not JSON"),
    "no objects": ("[1, 2, 3]", r":1: is not an object: 1"),
    "broken Parquet": (b"PAR1 and nothing", "is not a readable Parquet file"),
    "broken NumPy": (b"\x93NUMPY and nothing", "is not a readable NumPy file"),
    "nothing to go by": ("colour,shape\nred,round\nblue,square\n", "no column looks like times or counts"),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_is_told_with_its_line_and_fix(what: str) -> None:
    text, told = FAULTS[what]
    with file_of(text) as path, pytest.raises(InputError, match=told) as raised:
        import_workload(path, path.parent / "out")
    assert "; fix: " in str(raised.value)
    assert str(raised.value).isprintable()


def test_every_fault_is_told_not_only_the_first() -> None:
    with file_of("time,count\n0,1\n60,-4\nsoon,3\n180,x\n240,-1\n") as path:
        told = [str(fault) for fault in look(path, Hints()).faults]
    assert len(told) == 3
    assert any("is negative: -4, also in line 6" in one for one in told)


DOUBTS = {
    "short": ("time,count\n0,1\n60,4\n120,3\n", "3 min are short"),
    "backwards": ("time\n0.5\n9.5\n3.5\n", "time goes backwards in line 4; sorted"),
    "a gap": ("time,count\n0,1\n60,4\n120,3\n240,3\n", "nothing was recorded from 180 to 240 s"),
    "silence": ("\n".join(["t", *(f"{k / 10}" for k in range(999)), "999.5"]), r"gaps: \[\[100, 999\]\]"),
    "spring": (
        "".join(f"2024-03-31 {h}:{m:02}:00,1\n" for h in ("00", "01", "03", "04") for m in range(60)),
        "an hour is missing from 7200 s on",
    ),
    "rows that repeat": ("time,user\n0.5,a\n0.5,a\n1.25,b\n", "1 rows repeat one before .* line 3; kept"),
    "too fast": ("arrival_us\n" + "\n".join(str(k // 3) for k in range(400_000)), "off by 1000"),
}


@pytest.mark.parametrize("what", DOUBTS)
def test_what_is_worth_a_look_is_told(what: str) -> None:
    text, told = DOUBTS[what]
    with file_of(text) as path:
        found = look(path, Hints()).taken
    assert found is not None
    assert any(re.search(told, doubt) for doubt in found.doubts), found.doubts


OTHERS: dict[str, tuple[str | bytes, int, str | None]] = {
    "a web server's log": (
        "[02/May/2026:11:40:00 +0200]\n[02/May/2026:11:40:07 +0200]\n",
        2,
        "2026-05-02T11:40:00+02:00",
    ),
    "a date and a time of day": ("date;time;count\n01.02.2024;10:00;3\n01.02.2024;10:01;4\n", 7, ""),
    "Excel's line about the separator": ("sep=;\ntime;count\n0;3\n60;4\n120;1\n", 8, None),
    "spaces": ("0 3\n60 4\n120 1\n", 8, None),
    "comments": ("# made by hand\ntime,count\n0,3\n60,4\n120,1\n", 8, None),
    "blank lines": ("time,count\n\n0,3\n60,4\n\n120,1\n", 8, None),
    "UTF-16": ("time\tcount\n0\t3\n60\t4\n120\t1\n".encode("utf-16"), 8, None),
    "latin letters": ("time,gr\xf6\xdfe,count\n0,x,3\n60,x,4\n120,x,1\n".encode("latin-1"), 8, None),
    "an address of the internet": ("ip,time\n10.0.0.1,0.5\n10.0.0.2,1.5\n", 2, None),
}


@pytest.mark.parametrize("what", OTHERS)
def test_files_as_people_have_them_are_read(what: str) -> None:
    text, requests, start = OTHERS[what]
    hints = Hints(dates="%d.%m.%Y %H:%M") if start == "" else Hints()
    with file_of(text) as path:
        looked = look(path, hints)
    assert looked.taken is not None, looked.faults
    recorded = looked.taken.recorded
    found = len(recorded.times_s) if recorded.times_s is not None else sum(counts_of(looked.taken))
    assert found == requests
    if start:
        assert looked.taken.description.start == datetime.datetime.fromisoformat(start)


def test_requests_that_end_begin_before() -> None:
    with file_of("app,end_timestamp,duration\na,1.5,1.25\na,70.25,0.5\n") as path:
        found = look(path, Hints()).taken
    assert found is not None
    assert found.recorded.times_s is not None
    np.testing.assert_allclose(found.recorded.times_s, [0.25, 69.75])


def test_what_was_imported_is_a_workload(tmp_path: Path) -> None:
    path = write(
        tmp_path, {"time": [60 * k for k in range(600)], "count": [k % 7 for k in range(600)]}, Form()
    )
    found = import_workload(path, tmp_path / "mine")
    assert found.loads.sum() == sum(k % 7 for k in range(600))
    assert found.parts["test"] == (30_000, 36_000)
    assert found.are_seconds_made_up


def test_an_import_finds_the_season(tmp_path: Path) -> None:
    """The load doubles in the first minutes of every hour."""
    minutes = range(3 * 1440)
    counts = [1200 if minute % 60 < 5 else 600 for minute in minutes]
    path = write(tmp_path, {"time": [60 * k for k in minutes], "count": counts}, Form())
    season = season_of(import_workload(path, tmp_path / "mine"))
    assert season.period_s == 3600
    assert season.profile[60] > 1.8 * season.profile[1800]


def test_more_times_than_a_folder_holds_are_counted_by_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert workload.MOST_BYTES >= 8 * timeline._MOST_TIMES
    path = write(tmp_path, {"time_s": [k / 7 for k in range(700)]}, Form())
    monkeypatch.setattr(timeline, "_MOST_TIMES", 699)
    found = import_workload(path, tmp_path / "mine").recorded
    assert found.counts is not None
    assert found.counts.tolist() == [7] * 100


def test_exact_times_are_served_as_they_are(video: Definition, tmp_path: Path) -> None:
    path = write(tmp_path, {"arrival_s": [k / 4 for k in range(800)]}, Form())
    window = import_workload(path, tmp_path / "mine").stretch("mine", 120, 79, 120)
    played = play(video, static_agent(video, 8.0), Scenario(window))
    assert window.times_s is not None
    assert window.times_s[:2].tolist() == [0.0, 0.25]
    assert played.column("arrived").tolist()[:7] == [40.0] * 7
