"""One example of every payload, with every field set; the golden bytes are made of them once and then stay."""

from __future__ import annotations

from msgspec import Struct

from common import messages as m

TIMING = m.StageTiming(stage="camera", instance="node-1", wait_ms=0.5, fetch_ms=1.25, infer_ms=0.0, service_ms=4.5)
KEYPOINTS = tuple((10.5 + i, 20.25 + i, 0.5) for i in range(17))
FRAME = {"camera": "lobby", "seq": 1_700_000_000_123, "captured_at_ns": 1_700_000_000_123_456_789}

EXAMPLES: dict[str, Struct] = {
    "frame": m.FrameNotice(
        **FRAME, published_at_ns=1_700_000_000_125_000_000, key="frame:lobby:1700000000123", width_px=1280, height_px=720,
        stored_width_px=960, stored_height_px=540, jpeg_bytes=50_000, stages=(TIMING,),
    ),
    "people": m.PeopleFound(
        **FRAME, published_at_ns=1_700_000_000_140_000_000, key="frame:lobby:1700000000123", width_px=1280, height_px=720,
        people=(m.Person(box_xyxy_px=(1.5, 2.5, 300.0, 400.0), score=0.875),), model="movenet-multipose", stages=(TIMING,),
    ),
    "poses": m.PosesFound(
        **FRAME, published_at_ns=1_700_000_000_160_000_000, width_px=1280, height_px=720,
        people=(m.PosedPerson(box_xyxy_px=(1.5, 2.5, 300.0, 400.0), score=0.875, keypoints_px=KEYPOINTS),),
        left_out=1, model="movenet-multipose", stages=(TIMING,),
    ),
    "tracks": m.TracksUpdated(
        **FRAME, published_at_ns=1_700_000_000_170_000_000, width_px=1280, height_px=720,
        tracks=(m.Track(track_id=3, box_xyxy_px=(1.5, 2.5, 300.0, 400.0), score=0.875, keypoints_px=KEYPOINTS, age_s=2.5,
                        missed_s=0.2, state="falling", zones=("press",)),),
        stages=(TIMING,),
    ),
    "alert": m.Alert(
        id="0b1c", revision=2, site="home", camera="lobby", kind="fall", event="resolved", severity="critical",
        message="Person 3 fell and got up.", raised_at="2023-11-14T22:13:20.123Z", started_at_ns=1_700_000_000_000_000_000,
        raised_at_ns=1_700_000_001_000_000_000, updated_at_ns=1_700_000_009_000_000_000, seq=1_700_000_000_123, track_id=3,
        zone="press", box_xyxy_px=(1.5, 2.5, 300.0, 400.0), box_xyxy_norm=(0.1, 0.2, 0.3, 0.4),
        evidence={"torso_deg": 81.5, "still": True, "frames": 9, "view": "side"}, reason="recovered",
    ),
    "state": m.RuleState(camera="lobby", kind="fall", active=True, since_ns=1_700_000_000_000_000_000, alerts=("0b1c",),
                         detail={"people": 1}),
    "occupancy": m.Occupancy(camera="lobby", zone="press", count=2, longest_dwell_s=12.5,
                             updated_at_ns=1_700_000_000_000_000_000, track_ids=(3, 4)),
    "status": m.ServiceStatus(
        service="detector", instance="node-1", state="degraded", updated_at_ns=1_700_000_000_000_000_000, reason="store gone",
        host="node", pid=12, version="0.1.0", started_at_ns=1_699_999_999_000_000_000, model="movenet-multipose 1",
        model_error="x: no such model", runtime="tflite", device="cpu", rates_hz={"frames": 9.5}, counters={"frames": 100},
        ages_ms={"p50": 50.5},
        cameras={"lobby": m.CameraHealth(state="failed", reason="refused", fps=1.5, last_seq=7, reconnects=2)},
        clock_error_ms=0.125, rss_bytes=100_000_000,
    ),
    "models": m.ActiveModel(stage="detector", artifact="tinydet-s", previous="movenet-multipose",
                            activated_at_ns=1_700_000_000_000_000_000),
    "config": m.ConfigPart(part="detector", revision="0123456789ab", data={"model": "movenet-multipose", "threads": 2}),
}  # fmt: skip
