"""The model of a config."""

import pytest

from d2_psformer.engine import build_model, load_config


@pytest.mark.parametrize("asked", [False, True])
def test_parts_are_compiled_when_the_config_asks_for_it(asked):
    model = build_model(load_config("scenes/mask2former", ["MODEL.COMPILE", asked]))
    parts = {n: part._compiled_call_impl is not None for n, part in model.named_children()}
    assert parts == {
        "normalizer": False,
        "backbone": asked,
        "pixel_decoder": asked,
        "transformer_decoder": asked,
    }
