"""Exported files give what the model gives, and their settings are enough to use them."""

import json
import math

import numpy as np
import pytest
import torch
from small_models import (
    EVERY_ARCHITECTURE,
    VARIANTS,
    fill_by_rule,
    image,
    small_config,
    small_model,
    tiny_model,
)
from tiny_model import TOYS, write_tiny_model

from d2_psformer.checkpoint import read_checkpoint
from d2_psformer.d2.data import MetadataCatalog
from d2_psformer.deployment import Model
from d2_psformer.deployment.model import KEY
from d2_psformer.deployment.preprocessing import prepare
from d2_psformer.engine import Predictor, class_metadata, load_config
from d2_psformer.export import export, export_safetensors
from d2_psformer.export.network import ExportedNetwork
from d2_psformer.export.verification import (
    check_differences,
    largest_differences,
    run_network,
)
from d2_psformer.utils.errors import UserError

# Scores and masks, as shares of the largest: weights by rule make rounding grow.
BOUND = 2e-3


@pytest.fixture
def tiny(tmp_path):
    """The config of a tiny model with its weights."""
    config, checkpoint = write_tiny_model(tmp_path)
    yield load_config(str(config), ["MODEL.WEIGHTS", str(checkpoint)])
    MetadataCatalog.remove(TOYS["name"])


def saved(options: dict, folder):
    """The config of a small model with weights by rule, which are written to a file."""
    options = options | {"MODEL.POSTPROCESSING.SCORE_THRESHOLD": 0.01}
    if options.get("MODEL.META_ARCHITECTURE") == "MaXDeepLab":
        cfg, model = small_config(**options), fill_by_rule(small_model(**options))
    else:
        tiny = {"MODEL.BACKBONE.TIMM_NAME": "test_resnet", "MODEL.BACKBONE.NORM": "FrozenBN"}
        cfg, model = small_config(**tiny | options), tiny_model(**options)
    cfg.INPUT.FORMAT, cfg.INPUT.MIN_SIZE_TEST = "BGR", 0
    cfg.MODEL.AUTOCAST = "float32"
    cfg.MODEL.WEIGHTS = str(folder / "model.pth")
    metadata = class_metadata(cfg.DATASETS.TRAIN[0])
    torch.save({"model": model.state_dict(), "metadata": metadata}, cfg.MODEL.WEIGHTS)
    return cfg


def pictures() -> list[np.ndarray]:
    """20 pictures, no two of one size."""
    sizes = [(64 + 13 * (i % 5), 60 + 11 * i) for i in range(20)]
    return [image(*size, seed).permute(1, 2, 0).numpy() for seed, size in enumerate(sizes)]


def agreement(model: Model, predictor: Predictor, some: list[np.ndarray]) -> list[float]:
    """Of every picture, the share of pixels whose class is the same."""
    shares = []
    for pixels in some:
        ours, theirs = model(pixels), predictor(pixels)
        if ours.panoptic is None:
            expected = theirs["sem_seg"].argmax(0).numpy()
        else:
            ids, segments = theirs["panoptic_seg"]
            table = {s["id"]: s["category_id"] for s in segments}
            expected = np.array([table.get(i, -1) for i in range(len(table) + 1)])[ids.numpy()]
        shares.append(float((ours.classes() == expected).mean()))
    return shares


@pytest.mark.parametrize(
    "name",
    [
        n if n == "per pixel" else pytest.param(n, marks=pytest.mark.slow)
        for n in EVERY_ARCHITECTURE
    ],
)
def test_an_onnx_file_gives_the_results_of_the_model(name, tmp_path):
    cfg, file = saved(VARIANTS[name], tmp_path), tmp_path / "model.onnx"
    differences = export(cfg, file, "onnx", size=(96, 128), bound=BOUND)
    assert differences and max(differences.values()) < BOUND
    model = Model(file, threads=1)
    assert onnx_domains(file) == {""}, "standard operators alone"
    predictor, images = Predictor(cfg), pictures()
    prepared = (prepare(pixels, model.settings) for pixels in images)
    inputs = ((canvas[None], np.array([size])) for canvas, size in prepared)
    network = run_network(ExportedNetwork(predictor.model, bgr=True))
    assert max(largest_differences(network, model.run, inputs).values()) < BOUND
    # Weights by rule leave masks near thresholds, where rounding decides about whole segments.
    assert len(images) == 20 and np.median(agreement(model, predictor, images)) > 0.98
    side = 97 if name == "max-deeplab" else 96
    batch = np.random.default_rng(0).uniform(0, 255, (3, 3, side, side + 32)).astype(np.float32)
    sizes = np.array([batch.shape[2:], (80, 90), (50, 128)])
    together = model.run(batch, sizes)
    for i in range(3):
        alone = model.run(batch[i : i + 1], sizes[i : i + 1])
        for key in together.keys() - {"classes"}:
            largest = abs(alone[key]).max()
            np.testing.assert_allclose(together[key][i], alone[key][0], atol=BOUND * largest)


def onnx_domains(file) -> set[str]:
    import onnx

    content = onnx.load(file)
    return {node.domain for node in content.graph.node} | {f.domain for f in content.functions}


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY_ARCHITECTURE)
def test_a_program_is_loaded_and_run_with_torch_alone(name, tmp_path):
    cfg, file = saved(VARIANTS[name], tmp_path), tmp_path / "model.pt2"
    differences = export(cfg, file, "program", size=(96, 128), bound=BOUND)
    assert differences and max(differences.values()) < BOUND
    extra = {KEY: ""}
    program = torch.export.load(file, extra_files=extra)
    assert json.loads(extra[KEY])["architecture"] == cfg.MODEL.META_ARCHITECTURE
    assert not [n for n in program.graph.nodes if "d2_psformer" in str(n.target)]


def test_an_exported_network_pads_as_the_model():
    model = tiny_model(**VARIANTS["maskformer"], **{"MODEL.PADDING_VALUE": 0}).eval()
    pixels, size = torch.zeros(1, 3, 64, 96), torch.tensor([[50, 70]])
    pixels[0, :, :50, :70] = image(50, 70)
    with torch.no_grad():
        found = ExportedNetwork(model)(pixels, size)["masks"]
        whole = model.normalizer(list(pixels)).tensor
        padding = torch.ones(1, 64, 96, dtype=torch.bool)
        padding[:, :50, :70] = False
        expected = model.predict(whole, padding).queries["queries"].masks[-1]
    torch.testing.assert_close(found, expected)


@pytest.mark.slow
def test_a_fixed_file_takes_images_of_any_size_and_a_canvas_of_one(tmp_path):
    cfg, file = saved(VARIANTS["maskformer"], tmp_path), tmp_path / "model.onnx"
    export(cfg, file, "onnx", size=(64, 96), fixed=True)
    model = Model(file, threads=1)
    assert model.settings["canvas"] == [64, 96]
    assert model.session.get_inputs()[0].shape == [1, 3, 64, 96]
    for size in ((64, 96), (300, 100), (20, 30)):
        result = model(image(*size).permute(1, 2, 0).numpy())
        assert result.panoptic.shape == size


@pytest.mark.slow
def test_eight_bits_make_a_smaller_file(tmp_path):
    cfg = saved(VARIANTS["maskformer"], tmp_path)
    whole, small = tmp_path / "whole.onnx", tmp_path / "small.onnx"
    export(cfg, whole, "onnx")
    differences = export(cfg, small, "onnx", int8=True)
    assert 0 < max(differences.values()) < 0.5
    assert small.stat().st_size < whole.stat().st_size


def test_a_slim_file_is_the_model(tiny, tmp_path):
    file = tmp_path / "slim.safetensors"
    export_safetensors(tiny, file)
    content, before = read_checkpoint(file), read_checkpoint(tiny.MODEL.WEIGHTS)
    assert content["metadata"] == before["metadata"]
    assert content["model"].keys() == before["model"].keys()
    assert file.stat().st_size < 1.2 * sum(x.nbytes for x in before["model"].values()) + 1e5
    again = load_config(str(file))  # the config inside
    pixels = image(64, 96).permute(1, 2, 0).numpy()
    results = [Predictor(cfg)(pixels)["panoptic_seg"] for cfg in (tiny, again)]
    assert torch.equal(results[0][0], results[1][0])


def test_a_file_that_differs_is_refused():
    def run(images, sizes):
        return {"masks": images + 1.0, "probabilities": np.ones(3)}

    def other(images, sizes):
        return {"masks": images + 1.5, "probabilities": np.ones(3)}

    inputs = [(np.zeros((1, 2)), np.zeros(1)), (np.ones((1, 2)), np.zeros(1))]
    differences = largest_differences(run, other, inputs)
    assert differences == {"masks": 0.5, "probabilities": 0.0}
    with pytest.raises(UserError, match=r"other masks .* 5\.0e-01 .* Nothing was written"):
        check_differences(differences, 0.1)
    check_differences(differences, 0.6)


@pytest.mark.parametrize("broken", [0, 1])
def test_nan_of_either_side_is_refused(broken):
    """The input between two others gives NaN."""

    def run(images, sizes):
        return {"masks": images}

    def other(images, sizes):
        return {"masks": np.where(images == 2, np.nan, images)}

    inputs = [(np.full(1, value), np.zeros(1)) for value in (1.0, 2.0, 3.0)]
    sides = (run, other) if broken else (other, run)
    differences = largest_differences(*sides, inputs)
    with pytest.raises(UserError, match=r"masks .* have NaN or infinity: .* Nothing was written"):
        check_differences(differences, math.inf)


def test_outputs_of_zeros_are_equal():
    def run(images, sizes):
        return {"masks": np.zeros(3)}

    assert largest_differences(run, run, [(np.zeros(1), np.zeros(1))]) == {"masks": 0.0}


def test_rows_of_equal_scores_may_change_places():
    masks = np.arange(24.0).reshape(1, 3, 2, 4)
    scores, classes = np.array([[0.5, 0.5, 0.1]]), np.array([[2, 1, 2]])
    order = [1, 0, 2]

    def swapped(images, sizes):
        return {
            "masks": masks[:, order], "scores": scores[:, order], "classes": classes[:, order]
        }  # fmt: skip

    def run(images, sizes):
        return {"masks": masks, "scores": scores, "classes": classes}

    inputs = [(np.zeros(1), np.zeros(1))]
    assert largest_differences(run, swapped, inputs) == {"masks": 0.0, "scores": 0.0}


def test_other_files_are_no_models(tmp_path):
    file = tmp_path / "model.onnx"
    with pytest.raises(ValueError, match="cannot be read by onnxruntime"):
        Model(file)
    file.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="cannot be read by onnxruntime"):
        Model(file)
