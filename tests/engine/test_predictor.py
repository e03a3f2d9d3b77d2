"""Predictor: the same input as in evaluation, and classes without a data set."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_model import TOYS, write_tiny_model

from d2_psformer.d2.data import MetadataCatalog
from d2_psformer.data import SegmentMapper
from d2_psformer.engine import Predictor, load_config


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def _forget_toys():
    yield
    for name in ("toys_train", "other_toys"):
        if name in MetadataCatalog.list():
            MetadataCatalog.remove(name)


def config(tiny, *opts):
    yaml, checkpoint = tiny
    return load_config(str(yaml), ["MODEL.WEIGHTS", str(checkpoint), *opts])


@pytest.fixture
def picture(rng) -> np.ndarray:
    return rng.integers(0, 256, (50, 70, 3)).astype(np.uint8)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("image_format", ["RGB", "BGR"])
def test_gives_the_model_what_the_evaluation_gives_it(tiny, tmp_path, picture, image_format):
    cfg = config(tiny, "INPUT.FORMAT", image_format)
    predictor = Predictor(cfg)
    seen = []
    predictor.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0]))
    predictor(picture)

    Image.fromarray(picture).save(tmp_path / "picture.png")
    expected = SegmentMapper(cfg, False)({"file_name": str(tmp_path / "picture.png")})
    assert torch.equal(seen[0]["image"], expected["image"])
    assert (seen[0]["height"], seen[0]["width"]) == (50, 70)
    assert expected["image"].shape == (3, 64, 90)  # resized as MIN_SIZE_TEST says


def test_padding_is_known_as_in_the_evaluation(tiny, tmp_path, picture):
    cfg = config(tiny, "INPUT.DEEPLAB2.ENABLED", True, "INPUT.DEEPLAB2.SIZE", 97)
    predictor = Predictor(cfg)
    seen = []
    predictor.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0]))
    assert predictor(picture)["panoptic_seg"][0].shape == (50, 70)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    expected = SegmentMapper(cfg, False)({"file_name": str(tmp_path / "picture.png")})
    assert torch.equal(seen[0]["image"], expected["image"])
    assert torch.equal(seen[0]["padding_mask"], expected["padding_mask"])
    assert seen[0]["image"].shape == (3, 97, 97) and (~seen[0]["padding_mask"]).sum() == 97 * 69


def test_result_has_the_size_of_the_image_and_needs_no_gradient(tiny, picture):
    predictor = Predictor(config(tiny))
    ids, segments_info = predictor(picture)["panoptic_seg"]
    assert ids.shape == (50, 70)
    assert segments_info
    assert {s["id"] for s in segments_info} == set(ids.unique().tolist()) - {0}
    assert not predictor.model.training


def test_other_images_are_refused(tiny, picture):
    predictor = Predictor(config(tiny))
    wrong = [
        picture / 255,
        picture.astype(np.float32),
        picture.astype(np.uint16) * 257,
        picture > 100,
        picture[..., 0],
        picture.transpose(2, 0, 1),
        np.dstack([picture, picture[..., 0]]),
        picture[:0],
        torch.from_numpy(picture),
    ]
    for image in wrong:
        shape, dtype = tuple(image.shape), str(image.dtype)
        sentence = f"The image is {dtype} of shape {shape}: pass a NumPy array of uint8"
        with pytest.raises(ValueError, match=re.escape(sentence)):
            predictor(image)


def test_classes_of_an_unknown_data_set_come_from_the_checkpoint(tiny):
    assert "toys_train" not in MetadataCatalog.list()
    predictor = Predictor(config(tiny))
    assert predictor.metadata.thing_classes == TOYS["thing_classes"]
    assert predictor.metadata.stuff_colors == TOYS["stuff_colors"]


def test_they_are_registered_under_the_name_that_the_config_uses(tiny):
    predictor = Predictor(config(tiny, "DATASETS.TRAIN", "('other_toys',)"))
    assert predictor.metadata.name == "other_toys"
    assert MetadataCatalog.get("other_toys").stuff_classes == TOYS["stuff_classes"]


def test_config_stays_as_it_was(tiny):
    cfg = config(tiny, "MODEL.DEVICE", "cuda" if not torch.cuda.is_available() else "cpu")
    cfg.freeze()
    before = cfg.dump()
    Predictor(cfg)  # on a machine without a GPU: falls back
    assert cfg.dump() == before


def test_no_weights(tiny):
    with pytest.raises(ValueError, match=r"MODEL\.WEIGHTS is empty"):
        Predictor(config(tiny, "MODEL.WEIGHTS", ""))
    with pytest.raises(ValueError, match=r"'nowhere\.pth' does not exist.*MODEL\.WEIGHTS"):
        Predictor(config(tiny, "MODEL.WEIGHTS", "nowhere.pth"))


def test_no_data_set(tiny):
    with pytest.raises(ValueError, match=r"DATASETS\.TRAIN is empty"):
        Predictor(config(tiny, "DATASETS.TRAIN", "()"))


def test_classes_that_are_nowhere(tiny, tmp_path):
    bare = tmp_path / "bare.pth"
    torch.save(torch.load(tiny[1], weights_only=True)["model"], bare)
    with pytest.raises(ValueError, match=r"'toys_train'.*DATASETS\.REGISTER"):
        Predictor(config(tiny, "MODEL.WEIGHTS", str(bare)))


def test_weights_of_other_classes(tiny):
    with pytest.raises(ValueError, match=r"only the first has thing 'disc'"):
        Predictor(config(tiny, "DATASETS.TRAIN", "('scenes_train',)"))


def test_a_file_that_is_no_checkpoint(tiny, tmp_path):
    (tmp_path / "broken.pth").write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match=r"broken\.pth' cannot be read"):
        Predictor(config(tiny, "MODEL.WEIGHTS", str(tmp_path / "broken.pth")))


def types_of_matrix_products(predictor, picture) -> set[torch.dtype]:
    found = set()
    projection = predictor.model.pixel_decoder.layers[0].self_attn.value_proj
    projection.register_forward_hook(lambda module, args, out: found.add(out.dtype))
    predictor(picture)
    return found


LARGE = ("INPUT.MIN_SIZE_TEST", 128, "INPUT.MAX_SIZE_TEST", 1333)


@pytest.mark.parametrize(
    ("option", "is_fast", "expected"),
    [
        ("auto", True, torch.bfloat16),
        ("auto", False, torch.float32),
        ("float32", True, torch.float32),
        ("bfloat16", False, torch.bfloat16),
    ],
)
def test_predicts_in_the_type_that_the_device_is_fast_with(
    tiny, picture, monkeypatch, option, is_fast, expected
):
    capabilities = {"avx512_bf16": is_fast}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    predictor = Predictor(config(tiny, "MODEL.AUTOCAST", option, *LARGE))
    assert types_of_matrix_products(predictor, picture) == {expected}


def test_a_small_image_is_not_in_the_fast_type(tiny, picture, monkeypatch):
    """Convolutions of CPUs have errors in bfloat16 where a map is one column wide."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    predictor = Predictor(config(tiny, *LARGE, "INPUT.MIN_SIZE_TEST", 127))
    assert types_of_matrix_products(predictor, picture) == {torch.float32}
    predictor.least_side = 0  # of another device
    assert types_of_matrix_products(predictor, picture) == {torch.bfloat16}


def test_a_training_or_evaluation_is_not_in_the_fast_type(tiny):
    assert Predictor(config(tiny)).model.autocast is None
