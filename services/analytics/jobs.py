"""What passes between the analysing thread and the keeper: changes of ownership one way, things to commit the other."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal

from common.messages import Alert, Occupancy, RuleState

MAX_ALERTS = 1_000  # kept per camera while the store is gone

After = Literal["keep", "release", "remove"]


@dataclass
class Job:
    """What is to be committed for one camera, and said once it is."""

    state: bytes
    turn: int
    alerts: list[Alert] = field(default_factory=list)
    states: dict[str, RuleState] = field(default_factory=dict)
    occupancy: dict[str, Occupancy] = field(default_factory=dict)
    cleared: set[str] = field(default_factory=set)
    after: After = "keep"


@dataclass
class Owned:
    """A camera that is ours as far as we know."""

    renewed_s: float
    turn: int  # counts takings: what a former taking wants to commit must not overwrite what others wrote since
    written: set[bytes]  # digests of states that we wrote, or may have written


@dataclass(frozen=True)
class Change:
    """For the analysing thread: a camera is ours from this state on, is to be handed back, or is gone."""

    kind: Literal["own", "hand_back", "drop"]
    camera: str
    turn: int
    state: bytes | None = None


def state_key(camera: str) -> str:
    """Where a camera's state lies in the store."""
    return f"analytics:state:{camera}"


def digest_of(state: bytes) -> bytes:
    """To know a state again without keeping it."""
    return hashlib.sha256(state).digest()


def merged(first: Job, then: Job) -> Job:
    """Two jobs as one."""
    return Job(
        then.state, then.turn, [*first.alerts, *then.alerts][-MAX_ALERTS:], {**first.states, **then.states},
        {**first.occupancy, **then.occupancy}, first.cleared | then.cleared, then.after,
    )  # fmt: skip
