"""Points of a profile: every fault is named with file, line, field and fix."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ipa_rl.errors import InputError, one_a_cause
from ipa_rl.profiles import check_folder, load_profile
from ipa_rl.profiles.points import read_points
from tests.profile_files import GOOD, HEADER, line, write

FAULTS: dict[str, tuple[str | bytes, int, str]] = {
    "missing column": (HEADER.replace(",cores", "") + "\n" + GOOD, 1, "cores"),
    "unknown column": (HEADER.replace("note", "notes") + "\n" + GOOD, 1, "notes"),
    "negative latency": (f"{HEADER}\n{GOOD}{line(batch='2', latency_mean_s='-0.1')}", 5, "latency_mean_s"),
    "zero cores": (f"{HEADER}\n{GOOD}{line(cores='0')}", 5, "cores"),
    "half a batch": (f"{HEADER}\n{GOOD}{line(batch='1.5')}", 5, "batch"),
    "latency falls": (
        f"{HEADER}\n{GOOD}{line(batch='8', latency_mean_s='0.05', latency_p99_s='0.06')}", 5,
        "latency_mean_s",
    ),
    "unknown variant": (f"{HEADER}\n{GOOD}{line(variant='smal')}", 5, "variant"),
    "duplicate point": (f"{HEADER}\n{GOOD}{line()}", 5, "variant"),
    "NaN": (f"{HEADER}\n{GOOD}{line(batch='2', latency_p99_s='nan')}", 5, "latency_p99_s"),
    "infinite": (f"{HEADER}\n{GOOD}{line(batch='2', throughput_rps='inf')}", 5, "throughput_rps"),
    "not a number": (f"{HEADER}\n{GOOD}{line(batch='2', load_rps='many')}", 5, "load_rps"),
    "milliseconds": (
        f"{HEADER}\n{GOOD}{line(batch='2', latency_mean_s='190', latency_p99_s='210')}", 5, "latency_mean_s",
    ),
    "too few fields": (f"{HEADER}\n{GOOD}small,1,1\n", 5, "line"),
    "empty file": ("", 1, ""),
    "header only": (f"{HEADER}\n", 0, ""),
    "not UTF-8": (f"{HEADER}\n{GOOD}".encode() + b"sm\xe4ll,1,1\n", 5, ""),
    "tail below the mean": (f"{HEADER}\n{GOOD}{line(batch='2', latency_p99_s='0.01')}", 5, "latency_p99_s"),
    "latency falls where the loads differ": (
        f"{HEADER}\n{GOOD}{line(batch='8', load_rps='160', latency_mean_s='0.05', throughput_rps='150')}", 5,
        "latency_mean_s",
    ),
    "means in milliseconds": (
        f"{HEADER}\n{GOOD}{line(batch='2', latency_mean_s='100')}", 5, "latency_mean_s",
    ),
    "throughput above the load": (
        f"{HEADER}\n{GOOD}{line(batch='2', throughput_rps='90')}", 5, "throughput_rps",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FAULTS)
def test_every_fault_names_file_line_field_and_fix(kind: str, tmp_path: Path) -> None:
    csv, at, field = FAULTS[kind]
    folder = write(tmp_path / "mine", csv)
    faults = check_folder(folder)
    assert faults, kind
    fault = next(one for one in faults if not field or one.field == field)
    assert fault.file == folder / "detect.csv"
    assert fault.line == (at or None)
    assert fault.fix
    assert "\n" not in str(fault)


def test_an_unknown_variant_comes_with_the_name_that_was_meant(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", f"{HEADER}\n{GOOD}{line(variant='smal')}")
    assert "did you mean small?" in str(check_folder(folder)[0])


SHEETS = {
    "semicolons and decimal commas": (";", ","),
    "semicolons and decimal points": (";", "."),
    "tabs and decimal commas": ("\t", ","),
    "tabs and decimal points": ("\t", "."),
}


@pytest.mark.parametrize("kind", SHEETS)
def test_a_file_of_a_spreadsheet_is_read_as_its_country_writes_it(kind: str, tmp_path: Path) -> None:
    separator, decimal = SHEETS[kind]
    text = "\n".join(
        separator.join(field.replace(".", decimal) for field in row.split(","))
        for row in f"{HEADER}\n{GOOD}".splitlines()
    )
    folder = write(tmp_path / "mine", text)
    assert check_folder(folder) == []
    as_usual = read_points(write(tmp_path / "usual") / "detect.csv", ["small"])
    assert read_points(folder / "detect.csv", ["small"]).points == as_usual.points


def one_fault(folder: Path) -> InputError:
    (fault,) = one_a_cause(check_folder(folder))
    return fault


def test_what_is_wrong_with_a_spreadsheet_is_one_fault(tmp_path: Path) -> None:
    mixed = f"{HEADER}\n{GOOD}".replace(",", ";").replace("0.36", "0,36")
    assert "decimal commas (line 3) and decimal points (line 2)" in str(one_fault(write(tmp_path, mixed)))
    bars = f"{HEADER}\n{GOOD}".replace(",", "|")
    assert "separate them by commas, semicolons or tabs" in str(one_fault(write(tmp_path, bars)))
    assert "separator" in str(one_fault(write(tmp_path, f"{HEADER}\n{GOOD.replace('0.', '0,')}")))
    endless = f"{HEADER}\n{GOOD}{line(note='x' * 200_000)}"
    assert "field larger than field limit" in str(one_fault(write(tmp_path, endless)))


def test_milliseconds_in_a_column_are_one_fault(tmp_path: Path) -> None:
    rows = [line(batch=str(n), latency_mean_s="", latency_p99_s=str(200 * n)) for n in range(5, 77)]
    fault = one_fault(write(tmp_path, f"{HEADER}\n{GOOD}{''.join(rows)}"))
    assert (fault.line, fault.field) == (5, "latency_p99_s")
    assert "divide milliseconds by 1000" in str(fault)


def test_a_queue_at_another_load_is_no_latency_that_falls(tmp_path: Path) -> None:
    """The latency of an overloaded batch of 1 holds the wait; a full batch of 4 takes longer all the same."""
    queue = line(load_rps="80", latency_mean_s="2", latency_p99_s="3")
    rows = f"{HEADER}\n{queue}{GOOD.partition(chr(10))[2]}"
    assert check_folder(write(tmp_path, rows)) == []


def test_a_figure_that_a_smaller_batch_raised_is_not_marked_as_measured(tmp_path: Path) -> None:
    """A fall by less than a quarter is noise: the table never falls, and says that the figure is modelled."""
    noisy = line(batch="4", load_rps="160", latency_mean_s="0.09", latency_p99_s="0.1", throughput_rps="48")
    folder = write(tmp_path, f"{HEADER}\n{GOOD.splitlines()[0]}\n{noisy}")
    cell = load_profile(folder).stages[0].tables["small"].cell(1, 4)
    assert cell.latency_mean_s == 0.1
    assert not cell.mean_is_measured
    assert cell.throughput_is_measured


def test_checking_twice_as_many_points_takes_twice_as_many_steps(tmp_path: Path) -> None:
    def steps(count: int) -> int:
        rows = "".join(line(note=str(n), latency_mean_s=str(0.1 + n / 1e5)) for n in range(count))
        folder = write(tmp_path / str(count), f"{HEADER}\n{GOOD}{rows}")
        calls = 0

        def count_call(*_: object) -> None:
            nonlocal calls
            calls += 1

        sys.setprofile(count_call)
        try:
            assert check_folder(folder) == []
        finally:
            sys.setprofile(None)
        return calls

    few, many = steps(300), steps(600)
    assert many < 2.2 * few
