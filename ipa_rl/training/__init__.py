"""Training: clone the integer program, then improve on it with PPO. Needs ``ipa-rl[train]``."""

from importlib.util import find_spec

from ipa_rl.errors import MissingExtraError

for _library in ("torch", "stable_baselines3", "tensorboard"):
    if find_spec(_library) is None:
        raise MissingExtraError(_library, "train")
