"""Measuring networks against truths: OKS and AP of keypoints, AP of boxes, by posture and size, with intervals and times."""
