"""Every topic on the bus: its payload, QoS, retain flag, encoding and rate, in one table."""

from __future__ import annotations

import re
from dataclasses import dataclass

from msgspec import Struct

from common import messages

ROOT = "posebus"
NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,62}$")


@dataclass(frozen=True)
class Topic:
    """What is true of one kind of topic. `levels` follow `posebus/{site}/`; names in braces are filled in."""

    name: str
    levels: str
    payload: type[Struct] | None  # None: the payload depends on the last level, and is JSON
    qos: int
    retain: bool
    rate: str
    about: str

    @property
    def encoding(self) -> str:
        return "msgpack" if self.payload in messages.STAGE_MESSAGES else "json"


TABLE: tuple[Topic, ...] = (
    Topic("frames", "frames/{camera}", messages.FrameNotice, 0, False, "each frame",
          "A frame lies in the store; pixels never ride the broker."),
    Topic("people", "people/{camera}", messages.PeopleFound, 0, False, "each frame looked at", "Person boxes."),
    Topic("poses", "poses/{camera}", messages.PosesFound, 0, False, "each frame looked at", "COCO-17 skeletons."),
    Topic("tracks", "tracks/{camera}", messages.TracksUpdated, 0, False, "each frame looked at",
          "Skeletons with ids that last, for pages, games and recorders."),
    Topic("alerts", "alerts/{camera}/{kind}", messages.Alert, 1, False, "each step of an alert's life",
          "Raised, updated, acknowledged, snoozed, resolved, all under one id."),
    Topic("state", "state/{camera}/{kind}", messages.RuleState, 1, True, "each change",
          "What home automation binds to: is the rule active now?"),
    Topic("occupancy", "occupancy/{camera}/{zone}", messages.Occupancy, 1, True, "each change, at most 1 Hz",
          "People in a zone and the longest dwell time."),
    Topic("status", "status/{service}/{instance}", messages.ServiceStatus, 1, True, "every 5 s and at each change",
          "Health of a service; the last will says offline."),
    Topic("config", "config/{part}", messages.ConfigPart, 1, True, "each change",
          "The applied configuration. Hot reload is publishing again. Part `sources` holds camera passwords."),
    Topic("models", "models/{stage}", messages.ActiveModel, 1, True, "each change",
          "Which model a stage runs, and the one before."),
    Topic("command", "command/{name}", None, 1, False, "on demand",
          "Requests, answered on the MQTT 5 response topic. Reserved: no service listens yet."),
)  # fmt: skip
BY_NAME = {topic.name: topic for topic in TABLE}


def check_name(what: str, name: str) -> str:
    """Return a name that is safe as a topic level and a store key; raises ValueError that names the culprit."""
    if not NAME.match(name):
        raise ValueError(
            f"{what} {name!r} is not a valid name: use 1-63 lower-case letters, digits, '-' and '_', not '-' or '_' first"
        )
    return name


def topic(site: str, name: str, *levels: str) -> str:
    """The full topic, e.g. `topic("home", "alerts", "lobby", "fall")` is `posebus/home/alerts/lobby/fall`.

    `+` and `#` may stand for levels, to subscribe. Raises KeyError for an unknown topic name.
    """
    spec = BY_NAME[name]
    expected = spec.levels.count("/")
    if levels != ("#",) and len(levels) != expected:
        raise ValueError(f"topic {name!r} takes {expected} levels after its name ({spec.levels}), got {levels!r}")
    return "/".join((ROOT, site, name, *levels))


def levels_of(full_topic: str) -> tuple[str, ...]:
    """The levels below `posebus/{site}/{name}/`."""
    return tuple(full_topic.split("/")[3:])
