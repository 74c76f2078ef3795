"""PPO of stable-baselines3 on the family, from a fitted scorer: whether it learns more than the fit did.

    python scripts/ppo_after_fit.py runs/universal/scorer.npz --out runs/ppo --steps 100000
    python scripts/universal_family.py runs/universal/scorer.npz runs/ppo/50000/scorer.npz

An episode is 30 decisions in a made-up pipeline that was not met before, in the fluid simulator, as a lesson
is. The policy's logits are the scores of the optimum's answers, its value a network of the state's features;
rewards are what the program's optimum for the load that came leaves, in mean costs. Twenty times a scorer is
kept. Needs ``ipa-rl[train]``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor, nn

from ipa_rl.agents.protocol import State
from ipa_rl.agents.steer_features import ANSWER_FEATURES, STATE_FEATURES, SteerFeatures, forecasts_of
from ipa_rl.agents.steers import Answers, Optima
from ipa_rl.agents.universal import FIRST, SCORER, Scorer, load_scorer, save_scorer
from ipa_rl.environment.definition import RewardModel
from ipa_rl.environment.episodes import Episodes
from ipa_rl.training.lessons import DECISIONS, Course, drawn_course

FIRST_SEED = 2_000_000
"""Of the pipelines that are met here; those before are to fit to, to choose by and to report on."""
MOST_ANSWERS = 64
STATES, ANSWERS = len(STATE_FEATURES), len(ANSWER_FEATURES)
ENTRIES = STATES + MOST_ANSWERS * (ANSWERS + 1)
"""Of an observation: the state's features, those of each answer, and which answers there are."""
SETTLED = 1_000
"""Observations that features are standardised by."""


class AnswersEnv(gym.Env[NDArray[np.float32], np.int64]):
    """Chooses among the optimum's answers; each episode is another pipeline's."""

    observation_space = spaces.Box(-np.inf, np.inf, (ENTRIES,), dtype=np.float32)
    action_space = spaces.Discrete(MOST_ANSWERS)

    def __init__(self, first: int, apart: int) -> None:
        self._seed, self._apart = first - apart, apart
        self._course: Course | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Draws a pipeline, a load, and what goes wrong."""
        super().reset(seed=seed)
        self._seed += self._apart
        self._course = course = drawn_course(self._seed)
        definition = course.definition
        world = course.world(definition.timing.interval_s, RewardModel(shaping=True))
        self._episodes, self._step = Episodes(world, 1), 0
        self._episodes.reset(0, np.random.default_rng([self._seed, 27]))
        self._features = SteerFeatures(Optima(definition), forecasts_of(definition))
        return self._seen(), {}

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """An interval under an answer; beyond the last one it is what was decided last."""
        assert self._course is not None
        rows = self._answers.rows[min(int(action), len(self._answers.rows) - 1)]
        reward = self._episodes.step(rows[None])[0] / self._course.definition.mean_cost
        self._step += 1
        return self._seen(), float(np.clip(reward, -10.0, 10.0)), False, self._step >= DECISIONS, {}

    def _seen(self) -> NDArray[np.float32]:
        assert self._course is not None
        episodes, definition = self._episodes, self._course.definition
        now_s = definition.history_s + int(episodes.simulator.clock[0])
        state = State(
            episodes.loads[0, :now_s],
            episodes.simulator.fleet[0],
            episodes.simulator.waiting()[0],
            clock_s=float(episodes.clock()[0]),
            start_scale=self._course.slower,
        )
        expected = self._features.expected(state.history_rps, state.clock_s)
        answers, of_state, of_answers = self._features.look(state, expected)
        kept = np.arange(len(answers.rows)) < MOST_ANSWERS
        self._answers: Answers = answers.where(kept)
        entries, there = np.zeros((MOST_ANSWERS, ANSWERS)), np.zeros(MOST_ANSWERS)
        entries[: kept.sum()], there[: kept.sum()] = of_answers[:MOST_ANSWERS], 1.0
        return np.concatenate([of_state, entries.ravel(), there]).astype(np.float32)


class Scores(nn.Module):
    """The scorer, for observations; weights are of standardised features."""

    state_mean: Tensor
    state_spread: Tensor
    answer_mean: Tensor
    answer_spread: Tensor

    def __init__(self, scorer: Scorer, seen: NDArray[np.float32]) -> None:
        super().__init__()
        states, answers, there = _parts(torch.as_tensor(seen))
        for name, one in (("state", states), ("answer", answers[there > 0])):
            self.register_buffer(f"{name}_mean", one.mean(dim=0))
            self.register_buffer(f"{name}_spread", one.std(dim=0) + 0.01)
        of_state, of_answers, bias, direct = (torch.as_tensor(vars(scorer)[name]) for name in FIRST)
        self.bias = nn.Parameter(bias + of_state @ self.state_mean + of_answers @ self.answer_mean)
        self.of_state = nn.Parameter(of_state * self.state_spread)
        self.of_answers = nn.Parameter(of_answers * self.answer_spread)
        self.direct = nn.Parameter(direct * self.answer_spread)
        self.layers = nn.ParameterList(torch.as_tensor(one) for layer in scorer.layers for one in layer)

    def forward(self, observations: Tensor) -> Tensor:
        """Logits (observations, MOST_ANSWERS)."""
        states, answers, there = _parts(observations)
        states = (states - self.state_mean) / self.state_spread
        answers = (answers - self.answer_mean) / self.answer_spread
        by_state = torch.einsum("kus,ns->knu", self.of_state, states) + self.bias[:, None]
        values = torch.einsum("kua,nma->knmu", self.of_answers, answers) + by_state[:, :, None]
        for weight, bias in zip(self.layers[::2], self.layers[1::2], strict=True):
            values = torch.einsum("kou,knmu->knmo", weight, torch.relu(values)) + bias[:, None, None]
        scores: Tensor = values[..., 0].mean(dim=0) + answers @ self.direct.mean(dim=0)
        return scores.masked_fill(there == 0, -1e9)

    def scorer(self) -> Scorer:
        """The same without torch, for features as they are."""
        of_state, of_answers = self.of_state / self.state_spread, self.of_answers / self.answer_spread
        bias = self.bias - of_state @ self.state_mean - of_answers @ self.answer_mean
        first = (of_state, of_answers, bias, self.direct / self.answer_spread)
        layers = [_copied(one) for one in self.layers]
        pairs = tuple(zip(layers[::2], layers[1::2], strict=True))
        return Scorer(**dict(zip(FIRST, map(_copied, first), strict=True)), layers=pairs)


def _copied(values: Tensor) -> NDArray[np.float32]:
    return np.array(values.detach().numpy(), dtype=np.float32)


def _parts(observations: Any) -> tuple[Any, Any, Any]:
    """States, answers (observations, MOST_ANSWERS, features), and which there are."""
    end = STATES + MOST_ANSWERS * ANSWERS
    answers = observations[:, STATES:end].reshape(-1, MOST_ANSWERS, ANSWERS)
    return observations[:, :STATES], answers, observations[:, end:]


class Value(nn.Module):
    """Of a state's features, standardised as the scores' are."""

    def __init__(self, scores: Scores) -> None:
        super().__init__()
        self._standard = scores.state_mean, scores.state_spread
        self.layers = nn.Sequential(
            nn.Linear(STATES, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1)
        )

    def forward(self, observations: Tensor) -> Tensor:
        """Values (observations, 1)."""
        mean, spread = self._standard
        found: Tensor = self.layers((observations[:, :STATES] - mean) / spread)
        return found


class AnswersPolicy(ActorCriticPolicy):
    """Logits by a scorer."""

    def __init__(self, *arguments: Any, scores: Scores, **named: Any) -> None:
        self._scores = [scores]  # not a module of this one before it is built
        super().__init__(*arguments, **named)

    def _build(self, lr_schedule: Callable[[float], float]) -> None:
        super()._build(lr_schedule)
        (scores,) = self._scores
        self.action_net, self.value_net = scores, Value(scores)  # type: ignore[assignment]
        self.optimizer = torch.optim.Adam(self.parameters(), lr=lr_schedule(1))


class Keeper(BaseCallback):
    """Keeps scorers on the way."""

    def __init__(self, out: Path, every: int) -> None:
        super().__init__()
        self.out, self.every = out, every

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        done = self.num_timesteps // self.every
        folder = self.out / str(done * self.every)
        if done and not folder.is_dir():
            folder.mkdir(parents=True)
            scores = self.model.policy.action_net
            assert isinstance(scores, Scores)
            save_scorer(scores.scorer(), folder / SCORER)
            rewards = [one["r"] for one in self.model.ep_info_buffer or ()]
            print(f"{self.num_timesteps} steps, reward {np.mean(rewards):.3f}", flush=True)


def environment(first: int, apart: int) -> gym.Env[Any, Any]:
    """One that keeps what its episodes came to."""
    return gym.wrappers.RecordEpisodeStatistics(AnswersEnv(first, apart))


def main() -> None:
    """Learn, and keep scorers on the way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("scorer", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/ppo"))
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--environments", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    count, first = arguments.environments, FIRST_SEED + 1_000_000 * arguments.seed
    environments = DummyVecEnv([partial(environment, first + k, count) for k in range(count)])
    seen: list[NDArray[np.float32]] = []
    observation: Any = environments.reset()
    scorer = load_scorer(arguments.scorer)
    while len(seen) * count < SETTLED:
        seen.append(observation)
        best = [scorer.scores(s, a[t > 0]).argmax() for s, a, t in zip(*_parts(observation), strict=True)]
        observation, *_ = environments.step(np.array(best))
    policy = {"scores": Scores(scorer, np.concatenate(seen)), "net_arch": [], "ortho_init": False}
    model = PPO(
        AnswersPolicy,
        environments,
        policy_kwargs=policy,
        learning_rate=arguments.learning_rate,
        n_steps=2 * DECISIONS,
        batch_size=480,
        n_epochs=4,
        gamma=0.9,
        gae_lambda=0.9,
        clip_range=0.1,
        ent_coef=0.0,
        target_kl=0.03,
        seed=arguments.seed,
        device="cpu",
    )
    model.learn(arguments.steps, callback=Keeper(arguments.out, max(arguments.steps // 20, 1)))


if __name__ == "__main__":
    main()
