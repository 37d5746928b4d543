"""With the real body model: anny casts it in seconds; on its very first run on a machine it fills a cache for a minute."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from common.skeleton import INDEX
from models.data.sample import Sample, check
from models.data.synthetic.__main__ import main
from models.data.synthetic.postures import KEYS, draw_key
from models.data.synthetic.store import ANNOTATIONS, JOURNAL, read_folder

pytestmark = [pytest.mark.torch, pytest.mark.timeout(1200)]
torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
anny = pytest.importorskip("anny", reason="the body model anny is absent: pip install --no-deps anny, and roma, trimesh")

from models.data.synthetic.bodies import MEAN, Mould, draw_phenotype, mould  # noqa: E402
from models.data.synthetic.rig import Rig  # noqa: E402
from models.data.synthetic.scene import Settings, generate  # noqa: E402

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@pytest.fixture(scope="module")
def cast() -> Mould:
    return mould()


def posed(cast: Mould, pose: str, seed: int = 0) -> tuple[Floats, Floats]:
    """Vertices and COCO keypoints of the mean body in a key pose, facing +x."""
    channels = draw_key(KEYS[pose], KEYS["stand"], np.random.default_rng(seed))
    vertices, _ = Rig(cast.cast(MEAN), cast).place(channels, 0.0)
    return vertices, cast.keypoints @ vertices


def at(keypoints: Floats, name: str) -> Floats:
    return np.asarray(keypoints[INDEX[name]])


def test_left_is_left_the_face_is_in_front_and_knees_bend_backward(cast: Mould) -> None:
    _, points = posed(cast, "chair")
    for part in ("shoulder", "hip", "knee", "ankle", "ear", "eye"):
        assert at(points, f"left_{part}")[1] > at(points, f"right_{part}")[1]
    assert at(points, "nose")[0] > at(points, "left_ear")[0]
    for side in ("left", "right"):
        hip, knee, ankle = (at(points, f"{side}_{part}") for part in ("hip", "knee", "ankle"))
        assert knee[0] - hip[0] > 0.2  # the thigh points forward
        assert knee[2] - ankle[2] > 0.2  # the shin points down


def test_the_head_is_on_top_of_who_stands_and_on_the_floor_of_who_lies(cast: Mould) -> None:
    _, standing = posed(cast, "stand")
    assert at(standing, "nose")[2] > 1.3
    for pose in ("supine", "prone", "side", "fetal", "over_side"):
        vertices, lying = posed(cast, pose)
        assert np.abs(np.quantile(vertices[:, 2], 0.003)) < 1e-6
        assert lying[:, 2].max() < 0.65, pose
        assert at(lying, "left_hip")[2] < 0.45, pose


def test_who_lies_on_the_back_looks_up_and_who_lies_prone_does_not(cast: Mould) -> None:
    trunk = np.flatnonzero(cast.share("spine") > 0.9)
    from_back = trunk[cast.cast(MEAN).vertices[trunk, 0].argsort()]
    for pose, sign in (("supine", 1.0), ("prone", -1.0)):
        vertices, _ = posed(cast, pose)
        back, chest = (float(vertices[some, 2].mean()) for some in (from_back[:200], from_back[-200:]))
        assert sign * (chest - back) > 0.1, pose


@pytest.mark.parametrize("pose", ["supine", "prone_leg", "side", "long", "elbows"])
def test_resting_limbs_do_not_sink_into_the_floor(cast: Mould, pose: str) -> None:
    for seed in range(3):
        vertices, _ = posed(cast, pose, seed)
        assert vertices[:, 2].min() > -0.06
        assert (vertices[:, 2] < -0.02).mean() < 0.01


def test_limbs_keep_their_lengths_in_every_pose(cast: Mould) -> None:
    _, standing = posed(cast, "stand")
    for pose in KEYS:
        _, points = posed(cast, pose)
        for first, second in (("knee", "ankle"), ("elbow", "wrist")):
            for side in ("left", "right"):
                length = np.linalg.norm(at(points, f"{side}_{first}") - at(points, f"{side}_{second}"))
                wanted = np.linalg.norm(at(standing, f"{side}_{first}") - at(standing, f"{side}_{second}"))
                assert length == pytest.approx(float(wanted), rel=0.12), (pose, side, first)


def test_bodies_differ_in_stature_within_what_people_are(cast: Mould) -> None:
    rng = np.random.default_rng(0)
    statures = [float(np.ptp(cast.cast(draw_phenotype(rng)).vertices[:, 2])) for _ in range(40)]
    assert 1.1 < min(statures) < 1.55
    assert 1.75 < max(statures) < 2.2


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return [generate(seed, Settings(motion=motion)) for seed, motion in enumerate(("lie", "fall", "sit", "stand", None))]


def test_labels_are_right_as_far_as_a_check_can_tell(samples: list[Sample]) -> None:
    assert sum(len(sample.people) for sample in samples) >= 4
    for sample in samples:
        check(sample)
        assert "CC0" in sample.licence
        for person in sample.people:
            assert person.keypoints is not None
            seen = person.keypoints[person.keypoints[:, 2] == 1.0, :2]
            margin = 0.12 * float((person.box_xyxy_px[2:] - person.box_xyxy_px[:2]).max()) + 1.0
            assert (seen > person.box_xyxy_px[:2] - margin).all()  # joints lie inside the silhouette or just beside it
            assert (seen < person.box_xyxy_px[2:] + margin).all()


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(samples: list[Sample]) -> None:
    again = generate(0, Settings(motion="lie"))
    assert np.array_equal(again.picture.read(), samples[0].picture.read())
    for person, before in zip(again.people, samples[0].people, strict=True):
        assert person.keypoints is not None
        assert before.keypoints is not None
        assert np.array_equal(person.keypoints, before.keypoints)
        assert np.array_equal(person.box_xyxy_px, before.box_xyxy_px)
    other = generate(1000, Settings(motion="lie")).picture.read()
    assert other.shape != again.picture.read().shape or not np.array_equal(other, again.picture.read())


def test_people_stand_out_from_the_empty_background(samples: list[Sample]) -> None:
    for sample in samples:
        picture = sample.picture.read().astype(float)
        assert picture.std() > 3.0


def test_the_command_renders_a_folder_and_goes_on_where_it_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--count", "3", "--seed", "40", "--out", str(tmp_path), "--motion", "crawl"]
    assert main(command) == 0
    document = (tmp_path / ANNOTATIONS).read_bytes()
    pictures = {path.name: path.read_bytes() for path in (tmp_path / "pictures").iterdir()}
    assert sorted(pictures) == ["00000040.jpg", "00000041.jpg", "00000042.jpg"]
    lines = (tmp_path / JOURNAL).read_text().splitlines()
    (tmp_path / JOURNAL).write_text("\n".join(lines[:3]) + "\n")  # as if the last scene had not been reached
    assert main(command) == 0
    assert "2 of 3 scenes are there already" in capsys.readouterr().out
    assert (tmp_path / ANNOTATIONS).read_bytes() == document
    assert {path.name: path.read_bytes() for path in (tmp_path / "pictures").iterdir()} == pictures
    for sample in read_folder(tmp_path):
        check(sample)


def test_two_processes_render_what_one_does(tmp_path: Path) -> None:
    """Started as people start it: a spawned process has to find the renderer again."""
    command = [sys.executable, "-m", "models.data.synthetic", "--count", "2", "--seed", "40", "--motion", "crawl", "--out"]
    documents = []
    for processes in ("1", "2"):
        folder = tmp_path / processes
        done = subprocess.run([*command, str(folder), "--processes", processes], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        files = [folder / ANNOTATIONS, *sorted((folder / "pictures").iterdir())]
        documents.append([file.read_bytes() for file in files])
    assert documents[0] == documents[1]
