"""A user's own controllers: objects with one method, found by name, made anew for each trial, and checked.

An object with ``decide(state)`` is an agent. One with ``forecast(history_rps, clock_s)`` is a forecaster, by
which the integer program plans. What goes wrong in a user's code is told in one line, with the line of that
code.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import os
import pickle
import sys
import traceback
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from ipa_rl.agents.program import ProgramAgent
from ipa_rl.agents.protocol import Agent, Decision, State
from ipa_rl.border import MOST_RPS, number
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import InputError, one_line, quoted
from ipa_rl.files import is_file
from ipa_rl.pipeline import Configuration, StageConfig
from ipa_rl.simulation import encode
from ipa_rl.workload.steps import Loads

_METHODS = "give it decide(state), or forecast(history_rps, clock_s)"
_LONGEST_NAME = 60


@dataclass(frozen=True)
class OwnController:
    """A user's controller as a comparison knows it; small, so that it can be sent to any worker.

    ``name``: in tables. ``place``: where it is found, "my_module:MyController" or "my_file.py:MyController",
    and ``folder``, where that is looked for. ``fingerprint``: of the file that it is from. ``made_of``: the
    class, function or object itself, where Python gave it.
    """

    name: str
    place: str
    folder: str
    fingerprint: str
    made_of: Any = field(default=None, compare=False, repr=False)

    def build(self, definition: Definition) -> Agent:
        """A new one, for one trial. Raises InputError where its code fails."""
        made_of = self.made_of if self.made_of is not None else _find(self.place, self.folder)
        return _agent(self.name, _make(self.name, made_of, definition), definition)


def own_controller(given: Any, definition: Definition) -> OwnController:
    """A user's controller, made once to see that it can be.

    ``given``: the text "my_module:MyController" or "path/my_file.py:MyController", looked for from the
    current directory; or from Python a class, a function that makes a controller, or an object. A class or
    function that requires an argument is given the definition. An object is copied for each trial.
    Raises InputError.
    """
    folder = str(Path.cwd())
    if isinstance(given, str):
        made_of, place, attribute = _find(given, folder), given, given.rpartition(":")[2].rpartition(".")[2]
    else:
        kind = given if hasattr(given, "__qualname__") else type(given)
        made_of, place, attribute = given, f"{kind.__module__}:{kind.__qualname__}", kind.__name__
    made = _make(attribute, made_of, definition)
    with _users(attribute, "its name", made_of):
        name = getattr(made, "name", attribute)
        if not (isinstance(name, str) and name.isprintable() and 0 < len(name) <= _LONGEST_NAME):
            raise InputError(f"is {quoted(name)}", fix=f"give a text of 1 to {_LONGEST_NAME} characters")
    name = _agent(name, made, definition).name
    from_python = None if isinstance(given, str) else given
    return OwnController(name, place, folder, _fingerprint(made_of), from_python)


def _find(place: str, folder: str) -> Any:
    """What a user's "module:Name" or "file.py:Name" names. Raises InputError."""
    subject = f"controller {place}"
    where, _, path = place.rpartition(":")
    if not where or not path:
        fix = "give my_module:MyController, or my_file.py:MyController"
        raise InputError("names no module and class", field=subject, fix=fix)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # as `python -m` has it; the command and its workers begin without it
    module = _of_file(place, Path(folder, where)) if where.endswith(".py") else _imported(place, where)
    found: Any = module
    for attribute in path.split("."):
        if not hasattr(found, attribute):
            named = [name for name, one in vars(module).items() if _is_of(one, module)]
            fix = f"it defines {', '.join(named[:10]) or 'nothing'}"
            problem = f"{_short(module.__file__ or where)} has no {quoted(attribute)}"
            raise InputError(problem, field=subject, fix=fix)
        found = getattr(found, attribute)
    return found


def _is_of(found: Any, module: ModuleType) -> bool:
    """Whether a module defines it, and did not import it."""
    return bool(getattr(found, "__module__", "") == module.__name__)


def _imported(place: str, name: str) -> ModuleType:
    with _users(place, "importing it"):
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # the module is there, and one that it imports is not
            missing = error.name
    fix = f"run the command in the folder that holds {name.partition('.')[0]}, or give the path of the file"
    raise InputError(f"no module {quoted(missing)}", field=f"controller {place}", fix=fix)


def _of_file(place: str, file: Path) -> ModuleType:
    """The module of a file, imported once, under a name that no other has."""
    if not is_file(file):
        fix = "give the path of a Python file"
        raise InputError("no such file", file=_short(file), field=f"controller {place}", fix=fix)
    file = file.resolve()
    name = f"{file.stem}_{zlib.crc32(str(file).encode()):08x}"
    if name not in sys.modules:
        if str(file.parent) not in sys.path:
            sys.path.insert(0, str(file.parent))  # for the modules beside it
        spec = spec_from_file_location(name, file)
        assert spec is not None  # as it ends in .py
        assert spec.loader is not None
        module = sys.modules[name] = module_from_spec(spec)
        try:
            with _users(place, "importing it"):
                spec.loader.exec_module(module)
        except InputError:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _make(name: str, made_of: Any, definition: Definition) -> Any:
    """The user's object: that of a class or function, or a copy of an object that was given."""
    if not inspect.isclass(made_of) and _method(made_of):
        with _users(name, "copying it for a trial", fix="give a class, or a function that makes it"):
            return copy.deepcopy(made_of)
    if not callable(made_of):
        raise InputError(f"is {quoted(made_of)}", field=f"controller {name}", fix=_METHODS)
    with _users(name, "making it", made_of):
        wanted = [
            one.name
            for one in inspect.signature(made_of).parameters.values()
            if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        ]
        if len(wanted) > 1:
            fix = "let it require the definition alone, or nothing"
            raise InputError(f"requires {', '.join(wanted)}", fix=fix)
        return made_of(*[definition] * len(wanted))


def _method(made: Any) -> str:
    """Which of the two methods it has; empty where it has none."""
    return next((one for one in ("decide", "forecast") if callable(getattr(made, one, None))), "")


def _agent(name: str, made: Any, definition: Definition) -> Agent:
    """The user's object as an agent of that name. Raises InputError where it has none of the methods."""
    method = _method(made)
    if method == "decide":
        return _Deciding(name, definition, made)
    if method == "forecast":
        own_name = name.removeprefix("ip ")
        return ProgramAgent(f"ip {own_name}", definition, _Forecasting(own_name, made))
    raise InputError(f"is {_kind(made)} without a method", field=f"controller {name}", fix=_METHODS)


@dataclass(frozen=True)
class _Deciding:
    """A user's agent; what it decides is checked."""

    name: str
    definition: Definition
    made: Any

    def decide(self, state: State) -> Decision:
        # A copy: what a user's code writes into it changes nothing in the simulator.
        history_rps, fleet, queued = state.history_rps.copy(), state.fleet.copy(), state.queued.copy()
        seen = replace(state, history_rps=history_rps, fleet=fleet, queued=queued)
        with _users(self.name, "decide", self.made.decide):
            found = self.made.decide(seen)
        with _users(self.name, "what decide gave", self.made.decide):
            return self._checked(found, state)

    def _checked(self, found: Any, state: State) -> Decision:
        """The decision of this pipeline. Raises InputError."""
        if isinstance(found, Configuration):
            found = Decision(found, self.definition.reference_rps(state.history_rps))
        if not isinstance(found, Decision) or not isinstance(found.configuration, Configuration):
            fix = "return ipa_rl.Decision(configuration, planned_rps), or an ipa_rl.Configuration"
            raise InputError(f"is {_kind(found)}", fix=fix)
        for stage in found.configuration.stages:
            if not isinstance(stage, StageConfig):
                fix = "give ipa_rl.StageConfig(variant, batch, replicas)"
                raise InputError(f"has {_kind(stage)} for a stage", fix=fix)
        encode(self.definition.problem, found.configuration)
        return replace(found, planned_rps=number(found.planned_rps, "planned_rps", 0.0, MOST_RPS))


@dataclass(frozen=True)
class _Forecasting:
    """A user's forecaster; what it forecasts is checked."""

    name: str
    made: Any

    def forecast(self, history_rps: Loads, clock_s: float) -> float:
        with _users(self.name, "forecast", self.made.forecast):
            found = self.made.forecast(history_rps.copy(), clock_s)
        with _users(self.name, "what forecast gave", self.made.forecast):
            return number(found, "", 0.0, MOST_RPS)


def _kind(found: Any) -> str:
    return "None" if found is None else f"a {type(found).__name__}"


@contextmanager
def _users(name: str, doing: str, code: Any = None, fix: str | None = None) -> Iterator[None]:
    """A user's code: what goes wrong in it is told in one line, and what it prints is no result.

    ``code``: what of it is called, or was, whose file and line are named where an error has none.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (Exception, SystemExit) as error:
        file, line = _place_of(error, code)
        if isinstance(error, InputError) and _is_ours(error):
            problem = f"{doing}: {error.field} {error.problem}" if error.field else f"{doing} {error.problem}"
            fix = error.fix
        else:
            reason = f"{type(error).__name__}: {error}".removesuffix(": ")
            problem = f"{doing} raised {one_line(reason)}"
        raise InputError(problem, file=file, line=line, field=f"controller {name}", fix=fix) from error


def _is_ours(error: BaseException) -> bool:
    """Whether a check of this module found the fault, and no code of the user had a part in it."""
    frames = traceback.extract_tb(error.__traceback__)
    return all(Path(one.filename).is_relative_to(_PACKAGE) for one in frames)


_PACKAGE = Path(__file__).parent.parent


def _place_of(error: BaseException, code: Callable[..., Any] | None) -> tuple[str | None, int | None]:
    """File and line of a user's code at which an error arose; of one that is wrong as a whole, its begin."""
    if isinstance(error, SyntaxError) and error.filename:
        return _short(error.filename), error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [one for one in frames if not _is_library(one.filename)]
    if theirs:
        return _short(theirs[-1].filename), theirs[-1].lineno
    inner = getattr(code, "__code__", None) or getattr(getattr(code, "__init__", None), "__code__", None)
    if inner is None or _is_library(inner.co_filename):
        return None, None
    return _short(inner.co_filename), inner.co_firstlineno


def _is_library(file: str) -> bool:
    """Whether a file is this package's or an installed one."""
    path = Path(file).resolve()
    installed = "site-packages" in path.parts or "dist-packages" in path.parts or file.startswith("<frozen")
    folders = (_PACKAGE, Path(os.__file__).resolve().parent)
    return installed or any(path.is_relative_to(folder) for folder in folders)


def _short(file: str | Path) -> str:
    """A path as it is written in the current directory."""
    path, here = Path(file).resolve(), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _fingerprint(made_of: Any) -> str:
    """Hash of the file of a user's code and of what an object holds; another each time where it has none."""
    try:
        text = inspect.getsource(sys.modules[made_of.__module__])
        return hashlib.sha256(text.encode() + pickle.dumps(made_of)).hexdigest()
    except Exception:  # whatever a user's code raises where it is pickled
        return uuid.uuid4().hex
