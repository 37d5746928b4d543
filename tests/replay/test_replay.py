"""A recorded session gives the alerts it gave when it was recorded, each time."""

from __future__ import annotations

import msgspec
import pytest

from common.config import AnalyticsSettings
from common.messages import Alert, PosesFound
from services.analytics.pipeline import CameraPipeline
from services.analytics.reorder import Reorder
from tests.replay.record import CAMERA, GOLDEN, read, replay


@pytest.fixture(scope="module")
def session() -> list[PosesFound]:
    return read()


@pytest.fixture(scope="module")
def golden() -> list[Alert]:
    return msgspec.json.decode(GOLDEN.read_bytes(), type=list[Alert])


def about(alerts: list[Alert]) -> list[tuple[object, ...]]:
    return [(a.kind, a.event, a.revision, a.id, a.track_id, a.started_at_ns, a.seq, a.reason) for a in alerts]


def test_the_session_gives_its_golden_alerts(session: list[PosesFound], golden: list[Alert]) -> None:
    alerts = replay(session)
    assert about(alerts) == about(golden)
    assert {alert.kind for alert in golden} == {"fall", "intrusion"}
    for alert, expected in zip(alerts, golden, strict=True):
        assert alert.evidence == pytest.approx(expected.evidence, rel=1e-3, abs=2e-3)


def test_playing_it_again_gives_the_very_same(session: list[PosesFound]) -> None:
    assert replay(session) == replay(session)


def test_every_second_pair_swapped_gives_the_same(session: list[PosesFound], golden: list[Alert]) -> None:
    order: Reorder[PosesFound] = Reorder(0.12)
    released: list[PosesFound] = order.push(session[0], 0.0)
    for first, second in zip(session[1::2], session[2::2], strict=False):
        now_s = second.captured_at_ns / 1e9
        released += order.push(second, now_s)
        released += order.push(first, now_s + 0.01)
        released += order.poll(now_s + 0.2)
    assert about(replay(released)) == about([a for a in golden if a.seq <= released[-1].seq])


def test_the_owner_dying_in_the_middle_of_every_fall_changes_nothing(
    session: list[PosesFound], golden: list[Alert]
) -> None:
    deaths = {alert.seq - 3 for alert in golden if alert.event == "raised"}
    pipeline, alerts = CameraPipeline("home", CAMERA, AnalyticsSettings()), []
    for message in session:
        alerts += pipeline.update(message).alerts
        if message.seq in deaths:
            heir = CameraPipeline("home", CAMERA, AnalyticsSettings())
            assert heir.load(pipeline.dump())
            pipeline = heir
    assert len(deaths) >= 3
    assert about(alerts) == about(golden)
