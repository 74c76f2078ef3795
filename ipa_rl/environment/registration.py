"""Registers every shipped environment with Gymnasium: ``gymnasium.make("ipa_rl/video-v1")``.

Importing gymnasium takes longer than importing numpy, and most users of the package do not need it. So the
environments are registered when both packages have been imported, whichever comes first.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType


def register_with_gymnasium() -> None:
    """Register the environments, now or once gymnasium is imported; importing ipa_rl does this."""
    if "gymnasium" in sys.modules:
        _register_all()
    else:
        sys.meta_path.insert(0, _Gymnasium())


class _Gymnasium:
    """Finds gymnasium where the others find it, and registers the environments at the end of its import."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "gymnasium":
            return None
        sys.meta_path.remove(self)
        found = find_spec(name)
        if found is None or found.loader is None:
            return found
        load = found.loader.exec_module

        def load_and_register(module: ModuleType) -> None:
            load(module)
            _register_all()

        found.loader.exec_module = load_and_register  # type: ignore[method-assign]
        return found


def _register_all() -> None:
    import gymnasium

    from ipa_rl import resources

    for name in resources.shipped_names("envs"):
        gymnasium.register(
            id=f"ipa_rl/{name}-v1",
            entry_point="ipa_rl.environment.env:IpaEnv",
            vector_entry_point="ipa_rl.environment.env:IpaVectorEnv",
            kwargs={"definition": name},
        )
