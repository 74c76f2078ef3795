"""Programs for HiGHS by columns, as `highspy` takes them."""

from __future__ import annotations

from typing import Any, NamedTuple

import highspy
import numpy as np

from ipa_rl.jit import FloatArray, IntArray


class Columns(NamedTuple):
    """A sparse matrix: of each column where its entries begin (columns + 1,), and their rows and values."""

    starts: IntArray
    rows: IntArray
    values: FloatArray


def program_of(
    costs: FloatArray,
    most: FloatArray,
    columns: Columns,
    row_least: FloatArray,
    row_most: FloatArray,
    whole: bool = False,
) -> Any:
    """A silent solver of the least ``costs`` x, with x from 0 to ``most`` and every row within its limits.

    ``whole``: x are whole numbers.
    """
    program = highspy.HighsLp()
    program.num_row_, program.num_col_ = len(row_most), len(costs)
    program.col_cost_, program.col_lower_, program.col_upper_ = costs, np.zeros(len(costs)), most
    program.row_lower_, program.row_upper_ = row_least, row_most
    program.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    program.a_matrix_.start_, program.a_matrix_.index_, program.a_matrix_.value_ = columns
    if whole:
        program.integrality_ = [highspy.HighsVarType.kInteger] * len(costs)
    solver: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    solver.setOptionValue("output_flag", False)
    solver.passModel(program)
    return solver


def has_optimum(solver: Any) -> bool:
    """Whether it found one."""
    return bool(solver.getModelStatus() == highspy.HighsModelStatus.kOptimal)
