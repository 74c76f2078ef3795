"""Settings of the servers, read from environment variables once, at start.

``IPA_TIME_SCALE``: real seconds that a second of the profile takes; 0.5 runs everything twice as fast. All
other durations are given in the profile's seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ipa_rl.errors import InputError


@dataclass(frozen=True, slots=True)
class StageSettings:
    """What one replica of a stage is; ``linger_s`` is in real seconds.

    ``variant``: empty for the least accurate one, with which a replica begins that nobody told.
    ``scheduled_s``: what of the start-up delay has passed before the process begins (scheduling, container).
    ``linger_s``: how long it still takes requests after SIGTERM, until all routers know that it goes.
    """

    pipeline: str
    stage: str
    variant: str
    batch: int
    port: int
    host: str
    time_scale: float
    batch_timeout_s: float
    linger_s: float
    scheduled_s: float
    seed: int | None


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """What the router serves; ``poll_s`` and ``linger_s`` are in real seconds.

    ``replicas``: where replicas are found (`serving.replicas.finder`). ``poll_s``: between two looks.
    """

    stages: tuple[str, ...]
    replicas: str
    port: int
    host: str
    time_scale: float
    sla_s: float
    drop_limit_s: float
    batch_timeout_s: float
    poll_s: float
    linger_s: float


def stage_settings(env: Mapping[str, str]) -> StageSettings:
    """Settings of a replica. Raises InputError, which names the variable."""
    return StageSettings(
        pipeline=env.get("IPA_PIPELINE", "video"),
        stage=_text(env, "IPA_STAGE"),
        variant=env.get("IPA_VARIANT", ""),
        batch=round(_number(env, "IPA_BATCH_SIZE", 1)),
        port=round(_number(env, "IPA_PORT", 8080)),
        host=env.get("IPA_HOST", "0.0.0.0"),
        time_scale=_number(env, "IPA_TIME_SCALE", 1.0),
        batch_timeout_s=_number(env, "IPA_BATCH_TIMEOUT_S", 1.0),
        linger_s=_number(env, "IPA_LINGER_S", 3.0),
        scheduled_s=_number(env, "IPA_SCHEDULED_S", 0.0),
        seed=round(_number(env, "IPA_SEED", 0.0)) if "IPA_SEED" in env else None,
    )


def router_settings(env: Mapping[str, str]) -> RouterSettings:
    """Settings of the router. Raises InputError, which names the variable."""
    return RouterSettings(
        stages=tuple(_text(env, "IPA_STAGES").split(",")),
        replicas=_text(env, "IPA_REPLICAS"),
        port=round(_number(env, "IPA_PORT", 8080)),
        host=env.get("IPA_HOST", "0.0.0.0"),
        time_scale=_number(env, "IPA_TIME_SCALE", 1.0),
        sla_s=_number(env, "IPA_SLA_S", 6.897365),
        drop_limit_s=_number(env, "IPA_DROP_LIMIT_S", 10.0),
        batch_timeout_s=_number(env, "IPA_BATCH_TIMEOUT_S", 1.0),
        poll_s=_number(env, "IPA_POLL_S", 0.5),
        linger_s=_number(env, "IPA_LINGER_S", 3.0),
    )


def _text(env: Mapping[str, str], name: str) -> str:
    if not env.get(name):
        raise InputError("is not set", field=name, fix="set the environment variable")
    return env[name]


def _number(env: Mapping[str, str], name: str, usual: float) -> float:
    text = env.get(name, "")
    try:
        value = float(text) if text else usual
    except ValueError as error:
        raise InputError(
            f"is not a number: {text!r}", field=name, fix=f"give a number, as {usual:g}"
        ) from error
    if value < 0 or (value == 0 and name != "IPA_SEED" and not name.endswith("_S")):
        raise InputError(f"is too small: {text}", field=name, fix=f"give a number, as {usual:g}")
    return value
