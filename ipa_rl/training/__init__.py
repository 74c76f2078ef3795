"""Training: clone the integer program, then improve on it with PPO. Needs ``ipa-rl[train]``."""
