"""Options for speed: nearly the same results."""

from functools import partialmethod

import pytest
import torch
from small_models import fill_by_rule, image, sample, small_model

IMAGE = {"image": image(64, 96), "height": 64, "width": 96}


def agreement(results: list[dict], others: list[dict]) -> float:
    """Share of pixels with the same category."""
    maps = []
    for (id_map, segments), *_ in ([r["panoptic_seg"]] for r in (results[0], others[0])):
        category = torch.zeros_like(id_map)
        for segment in segments:
            category[id_map == segment["id"]] = 1 + segment["category_id"]
        maps.append(category)
    return (maps[0] == maps[1]).float().mean().item()


def results_of(**options) -> list[dict]:
    with torch.no_grad():
        return fill_by_rule(small_model(**options)).eval()([IMAGE])


def test_autocast_at_inference():
    expected = results_of()
    assert expected[0]["panoptic_seg"][1]
    found = results_of(**{"MODEL.POSTPROCESSING.AUTOCAST": "bfloat16"})
    assert agreement(found, expected) > 0.9


def test_autocast_does_not_reach_training():
    model = small_model(**{"MODEL.POSTPROCESSING.AUTOCAST": "bfloat16"})
    seen = []
    model.pixel_decoder.register_forward_hook(lambda *args: seen.append(args[2].tokens.dtype))
    model.train()([sample(64, 96, [0, 3])])
    with torch.no_grad():
        model.eval()([IMAGE])
    assert seen[0] == torch.float32


def test_an_unknown_type_is_named():
    with pytest.raises(ValueError, match=r"TEST.AUTOCAST is 'half': use one of '', 'bfloat16'"):
        small_model(**{"MODEL.POSTPROCESSING.AUTOCAST": "half"})


@pytest.fixture
def traced_only(monkeypatch):
    """Compilation that traces, and fails on a break, but runs the graphs as they are."""
    compile_in_place = partialmethod(torch.nn.Module.compile, backend="eager")
    monkeypatch.setattr(torch.nn.Module, "compile", compile_in_place)
    yield
    torch.compiler.reset()


def test_compiled_without_breaks(traced_only):
    options = {"MODEL.BACKBONE.FREEZE_BN": True}
    plain = fill_by_rule(small_model(**options))
    compiled = fill_by_rule(small_model(**options, **{"MODEL.PSFORMER.COMPILE": True}))
    with torch.no_grad():
        for model in (plain, compiled):
            model.eval()
        assert agreement(compiled([IMAGE]), plain([IMAGE])) > 0.999
    batch = [sample(64, 96, [0, 1, 3, 4])]
    losses = compiled.train()(batch)
    torch.testing.assert_close(losses, plain.train()(batch), rtol=1e-4, atol=1e-5)
    sum(losses.values()).backward()
    assert compiled.pixel_decoder.level_embed.grad is not None
