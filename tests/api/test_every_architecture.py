"""Every architecture is loaded from its checkpoint and predicts what the model itself does."""

import numpy as np
import pytest
import torch

import d2_psformer
from d2_psformer.engine import class_metadata
from tests.modeling import small_models as small


@pytest.mark.parametrize("name", small.EVERY_ARCHITECTURE)
def test_loaded_models_predict_what_the_model_does(name, tmp_path):
    height, width = 60, 72  # as large as the test size of the config, so that nothing is resized
    sizes = {"INPUT.MIN_SIZE_TEST": height, "INPUT.MAX_SIZE_TEST": 99}
    options = small.TINY_BACKBONE | small.VARIANTS[name] | sizes
    cfg = small.small_config(**options | {"INPUT.FORMAT": "RGB"})
    model = small.fill_by_rule(small.build_model(cfg))
    metadata = class_metadata(cfg.DATASETS.TRAIN[0])
    content = {"model": model.state_dict(), "metadata": metadata, "config": cfg.dump()}
    torch.save(content, tmp_path / "model.pth")
    image = small.image(height, width)
    (expected,) = small.infer(model, {"image": image, "height": height, "width": width})

    loaded = d2_psformer.load(tmp_path / "model.pth", device="cpu", dtype="float32")
    result = loaded.predict(image)
    assert result.panoptic.shape == (height, width)
    if name in small.SEMANTIC_ALONE:
        classes = expected["sem_seg"].argmax(dim=0).numpy()
        assert (result.semantic == classes).mean() > 0.999
        return
    ids, segments_info = expected["panoptic_seg"]
    assert (result.panoptic == ids.numpy()).mean() > 0.999, "norms are fused, which rounds"
    for segment, info in zip(result.segments, segments_info, strict=True):
        assert segment.class_index == info["category_id"]
        assert segment.category_id == 10 + info["category_id"]
        assert segment.score == pytest.approx(info["score"], abs=1e-3)
    assert np.isin(result.semantic, [-1, 0, 1, 2, 3, 4]).all()
