"""The gate: is a converted network still the network? Pure functions of the measured agreement, with reasons.

What decides is what the product sees: keypoints and boxes, through manifest and decoder. Raw outputs decide only where
keypoints say nothing, as with networks that are not trained.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.manifest import Precision
from models.convert.agreement import DetectAgreement, PoseAgreement


@dataclass(frozen=True)
class PoseTolerance:
    """What a file of some precision may lose. oks_min: mean OKS against the reference; shifts in pixels of its input;
    noise: of the raw outputs, see OutputError; max_of_range: largest single difference, where such a bound can be given."""

    oks_min: float
    shift_median_px: float
    shift_p95_px: float
    noise: float
    max_of_range: float | None = None


# Why OKS 0.98: let a conversion move keypoints without regard to where the truth lies. Then, each keypoint's term of the OKS
# against the truth shrinks by no more than the factor that is its OKS against the reference: E exp(-(x + u)^2 / 2) >=
# exp(-x^2 / 2) exp(-u^2 / 2) for u of mean 0. So agreement of 0.98 keeps the loss of accuracy within 0.02, the product's limit.
_OKS_INT8 = 0.98
# Heatmaps have a cell for every 4 input pixels; sub-pixel refinement is a quarter of a cell, 1 pixel. If the median keypoint
# moves further, refinement is lost; if 1 of 20 moves by more than a cell, maxima jump.
_CELL_PX = 4.0
POSE: dict[Precision, PoseTolerance] = {
    # The same arithmetic in another order: rounding of 1e-7 grows with some 100 layers to 1e-5 of the range, and is given a
    # hundredfold. A wrong mean, colour order or padding is 1e-2 and more.
    "float32": PoseTolerance(0.999, 0.05, 0.25, 1e-3, 1e-3),
    # 11 bits of mantissa: 5e-4 a rounding, a few of them in a row.
    "float16": PoseTolerance(0.995, 0.25, 1.0, 1e-2, 5e-2),
    # 8 bits: a step of the output is 1/255 of its range; noise of 0.2 is 14 dB, and what remains after ruined layers is near 1.
    "dynamic_int8": PoseTolerance(_OKS_INT8, _CELL_PX / 4, _CELL_PX, 0.2),
    "int8": PoseTolerance(_OKS_INT8, _CELL_PX / 4, _CELL_PX, 0.2),
}
MAX_SCORE_DROP = 0.05  # mean; more, and keypoints fall below the rules' threshold for being seen (0.25) in numbers
MIN_PEOPLE = 8  # fewer say nothing of people in general
MIN_DECIDED = 100  # keypoints: of fewer, the 95th percentile rests on less than five


@dataclass(frozen=True)
class DetectTolerance:
    """recall and ap50: at least; invented and score_drift (either way): at most; noise: where there are no boxes."""

    recall: float
    ap50: float
    invented: float
    score_drift: float
    noise: float


DETECT: dict[Precision, DetectTolerance] = {
    "float32": DetectTolerance(0.999, 0.999, 0.001, 0.005, 1e-3),
    "float16": DetectTolerance(0.99, 0.98, 0.01, 0.01, 5e-2),
    # One box of 20 may be lost or turn up: the person is seen again in the next frame. Half the margin between SCORE_FIRM and
    # SCORE_WEAK is what scores may drift on average.
    "dynamic_int8": DetectTolerance(0.95, 0.95, 0.05, 0.05, 0.2),
    "int8": DetectTolerance(0.95, 0.95, 0.05, 0.05, 0.2),
}
SCORE_WEAK = 0.25  # what the detector service publishes by default (DetectorSettings.score_min)
SCORE_FIRM = 0.35  # a box so far above it must not get lost: those at the threshold itself fall to either side by rounding
INTEGERS: tuple[Precision, ...] = ("dynamic_int8", "int8")
MIN_BOXES = 20  # of fewer, one lost box is more than the 5 % that may be lost


@dataclass(frozen=True)
class Verdict:
    """passed: whether the file may be used; reasons: what speaks against it; notes: what the judgement could not rest on."""

    passed: bool
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def judge_pose(found: PoseAgreement, precision: Precision) -> Verdict:
    """Is the candidate, a file of that precision, still the reference?"""
    limit = POSE[precision]
    if found.people < MIN_PEOPLE:
        return Verdict(False, (f"compared on {found.people} people, at least {MIN_PEOPLE} are needed",))
    if found.decided >= MIN_DECIDED:
        return _verdict(_keypoint_reasons(found, limit), _undecided_note(found))
    note = (
        f"OKS says nothing here: the reference has a clear maximum for {found.decided} of {found.keypoints} keypoints only "
        "(is the network trained, do the pictures show people?); judged by these and by the raw outputs"
    )
    if found.error is None:
        return Verdict(False, ("neither keypoints nor raw outputs can be compared; give other pictures",), (note,))
    # Of a network that is not trained a maximum is clear by chance now and then; a converted one must keep those, too.
    reasons = [] if found.oks is None else _keypoint_reasons(found, limit)
    reasons.append(_over("noise of the raw outputs", found.error.noise, limit.noise, ""))
    if limit.max_of_range is not None:
        reasons.append(_over("largest error, share of the outputs' range", found.error.max_of_range, limit.max_of_range, ""))
    return _verdict(reasons, [note])


def judge_detect(found: DetectAgreement, precision: Precision) -> Verdict:
    """The same for a detector."""
    limit = DETECT[precision]
    if found.boxes >= MIN_BOXES and found.recall is not None and found.invented is not None and found.ap50 is not None:
        drift = 1.0 if found.score_drift is None else abs(found.score_drift)
        return _verdict([
            _under("share of the reference's boxes found again", found.recall, limit.recall),
            _over("boxes where the reference has none, per box", found.invented, limit.invented, ""),
            _under("average precision against the reference's boxes", found.ap50, limit.ap50),
            _over("mean drift of scores", drift, limit.score_drift, ""),
        ], [])  # fmt: skip
    few = f"the reference finds {found.boxes} boxes on {found.pictures} pictures, at least {MIN_BOXES} are needed"
    if found.boxes or precision in INTEGERS or found.error is None:
        # The numbers of boxes drown those of scores: raw outputs look alike though nobody is found any more.
        return Verdict(False, (f"{few}: compare on more pictures with people",))
    noise = _over("noise of the raw outputs", found.error.noise, limit.noise, "")
    return _verdict([noise], [f"{few}; judged by the raw outputs"])


def _keypoint_reasons(found: PoseAgreement, limit: PoseTolerance) -> list[str | None]:
    assert found.oks is not None
    assert found.shift_median_px is not None
    assert found.shift_p95_px is not None
    assert found.score_drift is not None
    return [
        _under("OKS against the reference", found.oks, limit.oks_min),
        _over("median keypoint shift", found.shift_median_px, limit.shift_median_px, " px"),
        _over("95th percentile of keypoint shifts", found.shift_p95_px, limit.shift_p95_px, " px"),
        _over("mean drop of keypoint scores", -found.score_drift, MAX_SCORE_DROP, ""),
    ]


def _undecided_note(found: PoseAgreement) -> list[str]:
    left = found.keypoints - found.decided
    if left == 0:
        return []
    return [f"{left} of {found.keypoints} keypoints do not count: the reference has no single clear maximum for them"]


# Written so that NaN fails.
def _over(what: str, value: float, limit: float, unit: str) -> str | None:
    return None if value <= limit else f"{what} is {value:.3g}{unit}, {limit:.3g}{unit} is allowed"


def _under(what: str, value: float, limit: float) -> str | None:
    return None if value >= limit else f"{what} is {value:.3f}, {limit:.3f} is needed"


def _verdict(reasons: list[str | None], notes: list[str]) -> Verdict:
    kept = tuple(reason for reason in reasons if reason is not None)
    return Verdict(not kept, kept, tuple(notes))
