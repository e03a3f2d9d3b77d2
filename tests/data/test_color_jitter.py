import colorsys

import numpy as np
import pytest

from d2_psformer.data.color_jitter import ColorJitterTransform, RandomColorJitter


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)


def test_brightness_and_contrast_are_clipped_after_each(image):
    values = image.astype(np.float32)
    for last in (False, True):
        jitter = ColorJitterTransform("RGB", brightness=30.5, contrast=1.3, contrast_last=last)
        brighter = np.minimum(values + 30.5, 255).astype(np.uint8)
        expected = np.minimum(brighter * np.float32(1.3), 255).astype(np.uint8)
        np.testing.assert_array_equal(jitter.apply_image(image), expected)
    darker = ColorJitterTransform("RGB", brightness=-20).apply_image(image)
    np.testing.assert_array_equal(darker, np.maximum(image.astype(int) - 20, 0))


@pytest.mark.parametrize(("saturation", "hue"), [(1.5, 0), (0.5, 0), (1.0, 18), (1.0, -18)])
def test_saturation_and_hue_are_those_of_hsv(image, saturation, hue):
    jittered = ColorJitterTransform("RGB", saturation=saturation, hue=hue).apply_image(image)
    for before, after in zip(image.reshape(-1, 3), jittered.reshape(-1, 3), strict=True):
        h, s, v = colorsys.rgb_to_hsv(*(before / 255))
        expected = colorsys.hsv_to_rgb((h + hue / 180) % 1, min(s * saturation, 1), v)
        np.testing.assert_allclose(after, np.multiply(expected, 255), atol=6)  # HSV of 8 bits


def test_contrast_before_or_after_saturation(image):
    first, last = (
        ColorJitterTransform("RGB", contrast=1.5, saturation=1.5, contrast_last=last)
        for last in (False, True)
    )
    saturated = ColorJitterTransform("RGB", saturation=1.5).apply_image(image)
    contrasted = ColorJitterTransform("RGB", contrast=1.5)
    np.testing.assert_array_equal(last.apply_image(image), contrasted.apply_image(saturated))
    assert (first.apply_image(image) != last.apply_image(image)).any()


def test_bgr_is_rgb_reversed(image):
    changes = {"brightness": 9.0, "contrast": 1.2, "saturation": 0.6, "hue": 11}
    rgb = ColorJitterTransform("RGB", **changes).apply_image(image)
    bgr = ColorJitterTransform("BGR", **changes).apply_image(image[..., ::-1])
    np.testing.assert_array_equal(rgb, bgr[..., ::-1])


def test_each_change_in_half_of_the_images(image):
    np.random.seed(0)
    drawn = [RandomColorJitter("RGB").get_transform(image) for _ in range(2000)]
    ranges = {"brightness": (0, 32), "contrast": (1, 0.5), "saturation": (1, 0.5), "hue": (0, 18)}
    for name, (neutral, reach) in ranges.items():
        values = np.array([getattr(transform, name) for transform in drawn])
        changed = values[values != neutral]
        assert 0.45 < len(changed) / 2000 < 0.55
        assert 0.97 * reach < np.abs(changed - neutral).max() <= reach
    assert 0.45 < np.mean([transform.contrast_last for transform in drawn]) < 0.55


def test_geometry_stays_and_a_seed_decides(image):
    results = []
    for _ in range(2):
        np.random.seed(4)
        transform = RandomColorJitter("RGB").get_transform(image)
        results.append(transform.apply_image(image))
    np.testing.assert_array_equal(*results)
    np.testing.assert_array_equal(transform.apply_segmentation(image), image)
    assert transform.apply_box(np.array([[1.0, 2, 3, 4]])).tolist() == [[1, 2, 3, 4]]
