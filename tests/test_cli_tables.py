"""Tables fit the terminal, and nothing in them is cut."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner

import ipa_rl.cli
from ipa_rl.cli import app, judging, profiles, solve, tables
from ipa_rl.cli.judging import print_ranking, print_rows, print_stress
from ipa_rl.cli.tables import figure, folded, print_table
from ipa_rl.judge.comparison import Ranked
from ipa_rl.judge.stress import SUITE, Endured
from tests.pipelines import write_environment

LONG = "organisation/a-rather-long-model-name-of-somebody-0-175"
CONTROLLERS = ("ppo", "look-ahead moving-average:120", LONG)


@contextmanager
def printed(width: int = 80) -> Iterator[io.StringIO]:
    """What is printed on a terminal of that width."""
    with pytest.MonkeyPatch.context() as patch:
        found = io.StringIO()
        console = Console(file=found, width=width, highlight=False, markup=False, emoji=False)
        for module in (tables, judging, profiles, solve):
            patch.setattr(module, "out", console)
        yield found


def fits(text: str, width: int = 80) -> bool:
    """Whether every line does."""
    return all(cell_len(line.rstrip()) <= width for line in text.splitlines())


names = st.text(st.characters(codec="utf-8", exclude_categories=("C", "M", "Zl", "Zp")), max_size=60)
numbers = st.none() | st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9) | st.floats(-1e-6, 1e-6)


@given(st.lists(st.tuples(names, *[numbers] * 9), min_size=1, max_size=4), st.integers(40, 160))
def test_a_table_fits_any_terminal_and_every_figure_is_whole(rows: list[tuple[Any, ...]], width: int) -> None:
    columns = ["controller", *(f"figure {k}" for k in range(9))]
    with printed(width) as found:
        print_table("title", columns, rows)
    lines = found.getvalue().splitlines()
    assert fits(found.getvalue(), width)
    words = {word for line in lines for word in line.split()}
    assert {figure(value) for row in rows for value in row[1:]} <= words
    assert "…" not in found.getvalue() or any("…" in str(row[0]) for row in rows)


@given(names, st.integers(2, 40))
@example(text="\U0001f3fb", width=2)
def test_folded_text_is_all_there(text: str, width: int) -> None:
    lines = folded(text, width).split("\n")
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(cell_len(line) <= width for line in lines)


def test_names_are_folded_behind_marks_and_not_within_numbers() -> None:
    assert folded("moving-average:30", 10).split("\n") == ["moving-", "average:30"]
    assert folded("v2.5-175 of -1.25", 10).split("\n") == ["v2.5-175", "of -1.25"]


def test_the_tables_of_a_comparison_fit_with_long_names_and_large_figures() -> None:
    row = {"utility": -21.96, "pas_x100": 100.0, "cores": 1234.5, "violations": 1.0, "p99_s": 600.25}
    row |= {"decide_p50_ms": 1096.46, "decide_p99_ms": 11096.46}
    ranking = [Ranked(17, name, -123.456, (-1234.567, 1234.567)) for name in CONTROLLERS]
    stress = [
        Endured(one.name, name, -1234.5, 1.0, 3600, 1234.5, 1.0) for one in SUITE for name in CONTROLLERS
    ]
    with printed() as found:
        print_rows("video, bursty window", [{"controller": name} | row for name in CONTROLLERS])
        print_ranking(ranking, "windows")
        print_stress(stress, CONTROLLERS)
    text = found.getvalue()
    assert fits(text)
    for whole in ("1096.5", "11096.5", "-1234.567 to 1234.567", "1234.5", "600.2", "3600"):
        assert whole in text


@pytest.mark.parametrize("words", [("solve",), ("profiles", "show")])
def test_long_names_of_stages_and_variants_are_printed_whole(words: tuple[str, ...], tmp_path: Path) -> None:
    stages = {f"a-long-stage-name-{s}": [f"{LONG}{s}{v}" for v in range(7)] for s in range(6)}
    environment = write_environment(tmp_path, stages)
    given = [str(environment), "--load", "20"] if words == ("solve",) else [str(tmp_path / "pipeline")]
    done = CliRunner().invoke(app, [*words, *given], env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    assert fits(done.output)
    assert "…" not in done.output


def test_every_table_of_every_verb_is_printed_so() -> None:
    folder = Path(ipa_rl.cli.__file__).parent
    assert [path.name for path in folder.glob("*.py") if "Table(" in path.read_text("utf-8")] == ["tables.py"]
