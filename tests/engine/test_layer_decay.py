"""Layer-wise learning-rate decay against the rule of EoMT's authors."""

import pytest
from small_models import VARIANTS, small_model

from d2_psformer.config.defaults import default_config
from d2_psformer.engine.optimizer import parameter_groups
from d2_psformer.utils.errors import UserError

RATE, DECAY = 2.0, 0.8


def rates(model, **options) -> dict[str, float]:
    """The rate of every parameter by name."""
    solver = default_config().SOLVER
    given = {"BASE_LR": RATE, "LAYER_DECAY": DECAY, "LR_MULTIPLIERS": []}
    for key, value in (given | options).items():
        solver[key] = value
    groups = parameter_groups(model, solver)
    return {name: group["lr"] for group in groups for name in group["param_names"]}


def expected_rates(model, skipped: int) -> dict[str, float]:
    """As the authors go through the parameters: from the last to the first."""
    count = len(model.backbone.vit.blocks)
    number, found = count, {}
    for name, _ in reversed(list(model.named_parameters())):
        found[name], parts = RATE, name.split(".")
        if parts[0] != "backbone":
            continue
        is_block = "blocks" in parts
        if is_block:
            number = int(parts[parts.index("blocks") + 1])
        if is_block or number == 0:
            found[name] = RATE * DECAY ** (count - 1 - number)
        if is_block and number >= count - skipped:
            found[name] = RATE
    return found


@pytest.mark.parametrize("skipped", [0, 2, 100])
@pytest.mark.parametrize("name", ["eomt", "eomt, rotary positions"])
def test_it_is_the_rule_of_the_authors(name, skipped):
    model = small_model(**VARIANTS[name])
    found = rates(model, LAYER_DECAY_SKIPS=skipped)
    assert found == pytest.approx(expected_rates(model, skipped))
    assert found["backbone.vit.norm.weight"] == found["query_embed.weight"] == RATE


def test_other_factors_are_multiplied_with_it():
    model = small_model(**VARIANTS["eomt"])
    found = rates(model, LR_MULTIPLIERS=[["backbone", 0.1]], BIAS_LR_FACTOR=2.0)
    assert found["backbone.vit.blocks.4.attn.qkv.bias"] == pytest.approx(RATE * DECAY * 0.1 * 2)
    assert found["backbone.vit.cls_token"] == pytest.approx(RATE * DECAY**5 * 0.1)


def test_a_backbone_without_blocks_is_refused():
    with pytest.raises(UserError, match=r"SOLVER\.LAYER_DECAY is 0\.8, .*NAME PlainViT"):
        rates(small_model())
