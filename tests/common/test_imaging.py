from __future__ import annotations

import cv2
import numpy as np
import pytest

from common.imaging import ImageError, decode_jpeg, jpeg_size, reduction


def jpeg(width: int, height: int) -> bytes:
    gradient = np.linspace(0, 255, width, dtype=np.uint8)[None, :, None].repeat(height, 0).repeat(3, 2)
    return cv2.imencode(".jpg", gradient)[1].tobytes()


def test_the_size_is_read_from_the_header():
    assert jpeg_size(jpeg(641, 359)) == (641, 359)


def test_decoding_is_reduced_only_as_far_as_the_model_allows():
    data = jpeg(1280, 720)
    assert decode_jpeg(data).shape == (720, 1280, 3)
    assert decode_jpeg(data, at_least=(256, 256)).shape == (180, 320, 3)
    assert decode_jpeg(data, at_least=(640, 640)).shape == (360, 640, 3)
    assert decode_jpeg(data, at_least=(4000, 4000)).shape == (720, 1280, 3)


@pytest.mark.parametrize("size", [(640, 480), (1920, 1080), (480, 640), (100, 100)])
def test_a_reduced_image_is_never_smaller_than_what_is_fitted_into_the_input(size):
    factor = reduction(size, (256, 192))
    fitted = min(256 / size[0], 192 / size[1])
    assert factor == 1 or size[0] / factor >= size[0] * fitted


def test_fifty_megapixels_are_refused_from_the_header_alone():
    data = bytearray(jpeg(64, 64))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = (7000).to_bytes(2, "big") + (7200).to_bytes(2, "big")
    with pytest.raises(ImageError, match="7200 x 7000 pixels is larger than 40 megapixels"):
        decode_jpeg(bytes(data))


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"GIF89a", b"\xff\xd8\xff\xe0\x00\x04ab", jpeg(64, 64)[:150]])
def test_what_is_no_jpeg_is_refused(data):
    with pytest.raises(ImageError):
        decode_jpeg(data)
