"""Generated scenes: what each holds, and what the classes look like."""

from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from d2_psformer.data.scenes import (
    LEVELS,
    SCENES_CATEGORIES,
    generate_scene,
    layout,
    shapes,
    textures,
)
from d2_psformer.data.scenes.categories import STUFF_NAMES, THING_NAMES

CATEGORIES = {c["id"]: c for c in SCENES_CATEGORIES}
COUNT = 400


@pytest.fixture(scope="module")
def scenes():
    return [generate_scene(index) for index in range(COUNT)]


@pytest.fixture(scope="module")
def layouts():
    return [layout.make_layout(128, np.random.default_rng(index)) for index in range(200)]


def assert_valid(image, ids, segments_info, size):
    """What every reader of COCO-panoptic data relies on, with areas and boxes of pycocotools."""
    assert image.shape == (size, size, 3) and image.dtype == np.uint8
    assert ids.shape == (size, size) and ids.dtype == np.int32
    listed = [s["id"] for s in segments_info]
    assert len(set(listed)) == len(listed)
    assert set(listed) == set(np.unique(ids).tolist()) - {0}
    assert min(listed) > 0 and max(listed) < 2**24
    for segment in segments_info:
        assert set(segment) == {"id", "category_id", "area", "bbox", "iscrowd"}
        rle = coco_mask.encode(np.asfortranarray(ids == segment["id"], dtype=np.uint8))
        assert segment["area"] == coco_mask.area(rle)
        assert segment["bbox"] == coco_mask.toBbox(rle).tolist()
        assert segment["iscrowd"] in (0, 1)
        assert CATEGORIES[segment["category_id"]]["isthing"] or not segment["iscrowd"]


def test_categories_are_those_of_a_panoptic_json():
    assert len(THING_NAMES) >= 6 and len(STUFF_NAMES) >= 4
    ids = [c["id"] for c in SCENES_CATEGORIES]
    assert ids == sorted(set(ids)) and ids != list(range(1, len(ids) + 1))
    colours = {tuple(c["color"]) for c in SCENES_CATEGORIES}
    assert len(colours) == len(ids) == len({c["name"] for c in SCENES_CATEGORIES})
    assert all(len(colour) == 3 and max(colour) < 256 for colour in colours)


def test_segments_match_their_pixels(scenes):
    for scene in scenes[:100]:
        assert_valid(*scene, size=128)


@settings(max_examples=20, deadline=None)
@given(index=st.integers(0, 2**40), seed=st.integers(0, 2**40), size=st.sampled_from([64, 97, 200]))
def test_any_index_seed_and_size(index, seed, size):
    assert_valid(*generate_scene(index, size, seed), size=size)


def test_equal_arguments_give_equal_scenes(scenes):
    for index in (5, 3):  # not the order in which the fixture made them
        image, ids, segments_info = generate_scene(index)
        np.testing.assert_array_equal(image, scenes[index][0])
        np.testing.assert_array_equal(ids, scenes[index][1])
        assert segments_info == scenes[index][2]


def test_index_and_seed_make_other_scenes(scenes):
    assert len({image.tobytes() for image, _, _ in scenes}) == COUNT
    assert not np.array_equal(generate_scene(0, seed=1)[0], scenes[0][0])


@pytest.mark.parametrize("index", [1, 2, 4])
def test_a_scene_is_alike_at_every_size(index, scenes):
    image, ids, segments_info = generate_scene(index, size=256)
    small_image, small_ids, small_info = scenes[index]
    assert [s["category_id"] for s in segments_info] == [s["category_id"] for s in small_info]
    assert (ids[::2, ::2] == small_ids).mean() > 0.97
    shrunk = cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA)
    blurred = [cv2.blur(picture, (15, 15)).astype(float) for picture in (shrunk, small_image)]
    # Tiles of another resolution have other clouds and bricks, but colours and places are kept.
    assert np.abs(blurred[0] - blurred[1]).mean() < 16


def test_every_scene_has_things_on_bands_of_different_stuff(scenes):
    things_seen, bands_seen = set(), set()
    for _, _, segments_info in scenes:
        whole = [s["category_id"] for s in segments_info if not s["iscrowd"]]
        things = [c for c in whole if CATEGORIES[c]["isthing"]]
        bands = [c for c in whole if not CATEGORIES[c]["isthing"]]
        assert 2 <= len(things) <= 7 and 2 <= len(bands) <= 4
        assert len(set(bands)) == len(bands)
        things_seen.add(len(things))
        bands_seen.add(len(bands))
    assert things_seen == set(range(2, 8)) and bands_seen == {2, 3, 4}


@pytest.mark.parametrize("isthing", [0, 1])
def test_classes_are_balanced(isthing, scenes):
    counts = Counter(
        s["category_id"]
        for _, _, segments_info in scenes
        for s in segments_info
        if not s["iscrowd"] and CATEGORIES[s["category_id"]]["isthing"] == isthing
    )
    assert set(counts) == {c["id"] for c in SCENES_CATEGORIES if c["isthing"] == isthing}
    assert max(counts.values()) < 1.35 * min(counts.values())


def test_some_scenes_have_crowds_void_and_ids_of_three_bytes(scenes):
    crowds = [any(s["iscrowd"] for s in segments_info) for _, _, segments_info in scenes]
    void = [(ids == 0).any() for _, ids, _ in scenes]
    assert 0.02 < np.mean(crowds) < 0.1
    assert 0.08 < np.mean(void) < 0.2
    assert max((ids == 0).mean() for _, ids, _ in scenes) < 0.06
    largest = np.array([ids.max() for _, ids, _ in scenes])
    assert (largest >= 2**16).any() and (largest < 2**16).any()


def test_sizes_vary(layouts):
    areas = [shapes.area(i.contours) for made in layouts for i in made.items if i.name]
    assert np.quantile(areas, 0.9) > 5 * np.quantile(areas, 0.1)


def test_everything_stays_visible_enough(layouts):
    """Things, crowds and void patches; whole areas are counted on a canvas with room about it."""
    for made in layouts:
        visible = np.bincount(made.labels.ravel())[len(made.bands) :]
        assert len(visible) == len(made.items)
        for item, pixels in zip(made.items, visible, strict=True):
            roomy = shapes.coverage(shapes.shifted(item.contours, np.array([64, 64])), 256)
            whole = (roomy > 127).sum()
            assert pixels >= 40
            assert pixels >= 0.4 * whole - 3  # outline and pixels differ by a few


def test_stuff_stays_visible(scenes):
    for _, ids, segments_info in scenes:
        for segment in segments_info:
            if not CATEGORIES[segment["category_id"]]["isthing"]:
                assert segment["area"] > 0.04 * ids.size


def test_things_occlude_one_another(layouts):
    hidden = [
        (made.labels[item.alpha > 127] != label).any()
        for made in layouts
        for label, item in enumerate(made.items, start=len(made.bands))
    ]
    assert 0.1 < np.mean(hidden) < 0.6


def test_things_stand_out_from_what_surrounds_them(scenes):
    """Mean Lab colour inside a thing against that of the ring around it, shadow included."""
    contrasts, square = [], np.ones((3, 3), np.uint8)
    for image, ids, segments_info in scenes[:200]:
        lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        for segment in segments_info:
            if CATEGORIES[segment["category_id"]]["isthing"]:
                mask = (ids == segment["id"]).astype(np.uint8)
                around = cv2.dilate(mask, square, iterations=3) > cv2.dilate(mask, square)
                gap = lab[mask > 0].mean(axis=0) - lab[around].mean(axis=0)
                contrasts.append(np.linalg.norm(gap))
    assert min(contrasts) > 8 and np.quantile(contrasts, 0.01) > 15
    assert np.median(contrasts) > 30


# ---------------------------------------------------------------- level "hard"


@pytest.fixture(scope="module")
def hard_layouts():
    level = LEVELS["hard"]
    return [layout.make_layout(128, np.random.default_rng(index), level) for index in range(200)]


def measured(made):
    """Of every thing: name, pixels, share that is hidden, names of the things that it touches."""
    things = {
        label: item
        for label, item in enumerate(made.items, start=len(made.bands))
        if item.name and not item.crowd
    }
    for label, item in things.items():
        mask = (made.labels == label).astype(np.uint8)
        around = made.labels[cv2.dilate(mask, np.ones((3, 3), np.uint8)) > 0]
        touched = {things[n].name for n in np.unique(around).tolist() if n in things and n != label}
        yield item.name, mask.sum(), 1 - mask.sum() / (item.alpha > 127).sum(), touched


def test_hard_scenes_are_harder(layouts, hard_layouts):
    """More things, more of them hidden, smaller and larger ones, more neighbours of one class."""
    standard, hard = ([list(measured(m)) for m in made] for made in (layouts, hard_layouts))
    assert np.mean([len(x) for x in hard]) > 1.7 * np.mean([len(x) for x in standard])
    figures = []
    for made in (standard, hard):
        things = [thing for scene in made for thing in scene]
        hidden = np.mean([share > 0.02 for _, _, share, _ in things])
        same = np.mean([name in touched for name, _, _, touched in things])
        low, high = np.quantile([pixels for _, pixels, _, _ in things], (0.05, 0.95))
        figures.append((hidden, same, high / low))
    assert 0.35 < figures[1][0] < 0.55 and figures[1][0] > 1.7 * figures[0][0]
    assert 0.45 < figures[1][1] < 0.7 and figures[1][1] > 4 * figures[0][1]
    assert figures[1][2] > 2 * figures[0][2]


def test_twins_share_class_and_colour(hard_layouts):
    twins = [
        (item, made.items[item.twin])
        for made in hard_layouts
        for item in made.items
        if item.twin is not None
    ]
    things = sum(item.name is not None and not item.crowd for m in hard_layouts for item in m.items)
    assert 0.2 < len(twins) / things < 0.45
    assert all(one.name == other.name for one, other in twins)
    areas = np.array([[shapes.area(x.contours) for x in pair] for pair in twins])
    assert (areas[:, 0] / areas[:, 1]).max() < 2


@settings(max_examples=15, deadline=None)
@given(index=st.integers(0, 2**40), size=st.sampled_from([64, 128, 200]))
def test_any_hard_scene(index, size):
    assert_valid(*generate_scene(index, size, level="hard"), size=size)


def test_hues_tell_the_classes_of_hard_scenes():
    """The mean hue of a thing lies within the 30 degrees of its class, give or take some light."""
    names = list(THING_NAMES)
    near = []
    for index in range(40):
        image, ids, segments_info = generate_scene(index, level="hard")
        hue = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)[..., 0]
        for segment in segments_info:
            category = CATEGORIES[segment["category_id"]]
            if category["isthing"] and not segment["iscrowd"]:
                middle = names.index(category["name"]) * 60 + 15
                angles = np.deg2rad(hue[ids == segment["id"]] - middle)
                near.append(abs(np.rad2deg(np.angle(np.exp(1j * angles).mean()))))
    assert np.mean(np.array(near) < 30) > 0.9


@pytest.mark.parametrize(
    ("index", "categories", "colour"),
    [
        (7, [30, 21, 22, 25, 12, 7, 7, 4], [123.6, 107.4, 111.3]),
        (8, [21, 22, 4, 8, 1, 1], [125.5, 118.6, 118.1]),
        (9, [21, 30, 3, 4, 7, 4], [119.3, 96.5, 93.3]),
    ],
)
def test_the_standard_level_is_what_it_was_before_there_were_levels(index, categories, colour):
    for scene in (generate_scene(index), generate_scene(index, level="standard")):
        image, _, segments_info = scene
        assert [s["category_id"] for s in segments_info] == categories
        np.testing.assert_allclose(image.mean((0, 1)), colour, atol=0.5)


def drawn(name, angle=0.3, size=200):
    turned = shapes.turned(shapes.OUTLINES[name], 60, angle)
    return shapes.coverage(shapes.shifted(turned, np.full(2, size / 2)), size)


@pytest.mark.parametrize("name", THING_NAMES)
def test_outlines_have_the_same_area(name):
    assert shapes.area(shapes.OUTLINES[name]) == pytest.approx(shapes.UNIT_AREA)
    assert drawn(name).sum() / 255 == pytest.approx(shapes.UNIT_AREA * 60**2, rel=0.02)


@pytest.mark.parametrize(
    ("name", "corners", "holes"),
    [("square", 4, 0), ("triangle", 3, 0), ("star", 10, 0), ("cross", 12, 0), ("ring", None, 1),
     ("disc", None, 0)],
)  # fmt: skip
def test_outlines_are_what_their_names_say(name, corners, holes):
    found, _ = cv2.findContours(
        (drawn(name) > 127).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
    )
    assert len(found) == 1 + holes
    outer = max(found, key=cv2.contourArea)
    if corners is None:
        perimeter = cv2.arcLength(outer, True)
        assert 4 * np.pi * cv2.contourArea(outer) / perimeter**2 > 0.85  # round; a square: 0.785
    else:
        assert len(cv2.approxPolyDP(outer, 4, True)) == corners


def test_a_crowd_is_many_separate_outlines():
    rng = np.random.default_rng(0)
    contours = shapes.shifted(shapes.cluster("triangle", 40, rng), np.array([64, 64]))
    pieces, _ = cv2.connectedComponents((shapes.coverage(contours, 128) > 127).astype(np.uint8))
    assert pieces - 1 == len(contours) >= 7


@pytest.mark.parametrize("name", [*textures.STUFF_TEXTURES, *textures.THING_TEXTURES])
def test_textures_are_grey_values_that_vary_from_place_to_place(name):
    rng = np.random.default_rng(0)
    views = [textures.window(name, 128, 0.2, rng) for _ in range(2)]
    for view in views:
        assert view.shape == (128, 128) and view.dtype == np.float32
        assert view.min() >= -1e-5 and view.max() <= 1 + 1e-5
    if name != "plain":
        assert not np.array_equal(*views)


def test_every_stuff_class_has_a_texture():
    assert set(textures.STUFF_TEXTURES) == set(STUFF_NAMES)
