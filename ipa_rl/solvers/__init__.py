"""The exact optimum twice: the integer program (reference) and the Pareto front (fast)."""

from ipa_rl.solvers.answers import Answer, Infeasible, Optimum, Repair
from ipa_rl.solvers.front import FrontSolver
from ipa_rl.solvers.program import solve_program

__all__ = ["Answer", "FrontSolver", "Infeasible", "Optimum", "Repair", "solve_program"]
