"""The exact optimum twice: the integer program (reference) and the Pareto front (fast).

PuLP is imported with the first look at `solve_program`, as the front needs none of it.
"""

from typing import TYPE_CHECKING, Any

from ipa_rl.errors import InputError, quoted
from ipa_rl.objective import Problem
from ipa_rl.solvers.answers import Answer, Infeasible, Optimum, Repair
from ipa_rl.solvers.front import FrontSolver

if TYPE_CHECKING:
    from ipa_rl.solvers.program import solve_program

__all__ = ["Answer", "FrontSolver", "Infeasible", "Optimum", "Repair", "solve", "solve_program"]


def solve(problem: Problem, load_rps: float) -> Answer:
    """The optimum for a load (requests a second), or why there is none. For many loads see `FrontSolver`.

    Raises InputError.
    """
    if not isinstance(problem, Problem):
        fix = "give a Problem, as definition.problem is one"
        raise InputError(f"is {quoted(type(problem).__name__)}", field="problem", fix=fix)
    return FrontSolver(problem).solve(load_rps)


def __getattr__(name: str) -> Any:
    if name == "solve_program":
        from ipa_rl.solvers.program import solve_program

        return solve_program
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
