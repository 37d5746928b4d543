"""What a model card says in words, for each kind of network."""

WHAT = {
    "tinypose": (
        "Finds the 17 COCO keypoints of one person in a crop. Made for int8 accelerators: a MobileNetV2 trunk, a small "
        "top-down neck and a head of plain convolutions, all of it convolution, addition, ReLU6 and bilinear resizing "
        "(`models/tinypose/network.py`). It is meant for falls, postures and exercise counting on edge devices, behind a "
        "person detector; not for telling who somebody is, and not as a medical device."
    ),
    "tinydet": (
        "Finds people in a picture, one class, without anchors. Made for int8 accelerators: a MobileNetV2 trunk, a neck down "
        "and up again, and one head for three strides (`models/tinydet/network.py`). Trained to find people in any direction, "
        "so that those on the floor are found too; small enough to go on learning at a site. Not for telling who somebody is."
    ),
}
METRICS = {
    "tinypose": (
        "Each person's true box is given; no flip test. OKS: object keypoint similarity, mean over people. AP~: mean share of "
        "people with an OKS of at least .50:.05:.95. AP: COCO's, with the mean keypoint score as the person's. PCK@.2: "
        "keypoints within a fifth of the torso."
    ),
    "tinydet": (
        "AP50 and AP (.50:.05:.95): COCO's, people only. Lying people found: share of frames with a box of IoU .5 on the "
        "person, at the detector service's own threshold, without its second look at turned pictures."
    ),
}
LIMITS = {
    "tinypose": (
        "* The validation sets are small: read the intervals, not the third digit.\n"
        "* Most of its training labels are another network's (PP-TinyPose 256x192). Where that errs in the same way each time, "
        "as with people seen from above or wrapped in blankets, this one has learned to.\n"
        "* The person's box decides: half a person in it gives half a skeleton. Two people in one crop give one skeleton, or a "
        "mixture.\n"
        "* Children, wheelchairs, crutches, fisheye and thermal cameras were not measured. Infrared was only imitated, by grey "
        "pictures.\n"
        "* Scores are heights of heatmaps, learned from the teacher's own: not probabilities.\n"
        "* Never run on a real Edge TPU, Jetson or GPU."
    ),
    "tinydet": (
        "* The validation sets are small: read the intervals, not the third digit.\n"
        "* Its training boxes are a vote of other detectors, looked over by eye in part; they miss people in dense groups, and "
        "so may this.\n"
        "* Recall of lying people rests on a few clips of one home and one laboratory, one box read by eye for each clip.\n"
        "* Children, wheelchairs, fisheye and thermal cameras, dolls, posters and screens with people were not measured.\n"
        "* Never run on a real Edge TPU, Jetson or GPU."
    ),
}
