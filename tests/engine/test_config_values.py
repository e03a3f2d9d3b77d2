"""Values that are out of range, and mistakes in `_BASE_`: one sentence with the key."""

import pytest

from d2_psformer.engine import build_model, load_config
from d2_psformer.model_zoo import list_configs
from d2_psformer.utils.errors import UserError

WRONG = {
    "SOLVER.MAX_ITER 0": "SOLVER.MAX_ITER is 0: it must be at least 1.",
    "SOLVER.CHECKPOINT_PERIOD 0": "SOLVER.CHECKPOINT_PERIOD is 0: it must be at least 1.",
    "SOLVER.BASE_LR -0.1": "SOLVER.BASE_LR is -0.1: it must be above 0.",
    "SOLVER.WEIGHT_DECAY 1e999": "SOLVER.WEIGHT_DECAY is inf: it must be at most 1000000000.",
    "SOLVER.WEIGHT_DECAY_NORM a": "SOLVER.WEIGHT_DECAY_NORM is 'a': 'a' must be None or a number.",
    "SOLVER.WEIGHT_DECAY_BIAS []": "SOLVER.WEIGHT_DECAY_BIAS is []: [] must be None or a number.",
    "MODEL.LOSS.MASK_WEIGHT -1.0": "MODEL.LOSS.MASK_WEIGHT is -1.0: it must be at least 0.",
    "SOLVER.STEPS ('a',)": "SOLVER.STEPS is ('a',): 'a' must be a whole number.",
    "SOLVER.LR_MULTIPLIERS [['a']]": "SOLVER.LR_MULTIPLIERS is [['a']]: its entries must be "
    "[text, a number].",
    "DATASETS.TRAIN (None,)": "DATASETS.TRAIN is (None,): None must be text.",
    "DATASETS.TEST [[]]": "DATASETS.TEST is ([],): [] must be text.",
    "INPUT.FORMAT rgb": "INPUT.FORMAT is 'rgb': use one of 'RGB', 'BGR'.",
    "INPUT.FORMAT L": "INPUT.FORMAT is 'L': use one of 'RGB', 'BGR'.",
    "INPUT.CROP.SIZE [0.5]": "INPUT.CROP.SIZE is [0.5]: it must be 2 numbers above 0.",
    "MODEL.PIXEL_STD [1.0]": "MODEL.PIXEL_STD is [1.0]: it must be 3 numbers above 0.",
    "MODEL.PIXEL_STD [1,0,1]": "MODEL.PIXEL_STD is [1, 0, 1]: it must be 3 numbers above 0.",
    "MODEL.PADDING_VALUE a": "MODEL.PADDING_VALUE is 'a': 'a' must be None or a number.",
    "MODEL.PADDING_VALUE 256": "MODEL.PADDING_VALUE is 256: it must be at least 0 and at most 255.",
    "MODEL.PIXEL_DECODER.LAYERS 1000000000": "MODEL.PIXEL_DECODER.LAYERS is 1000000000: it must "
    "be at least 0 and at most 1000.",
    "MODEL.PSFORMER.CLASS_PRIOR 1.0": "MODEL.PSFORMER.CLASS_PRIOR is 1.0: it must be above 0 and "
    "below 1.",
    "OUTPUT_DIR ''": "OUTPUT_DIR is empty: name a folder.",
    "OUTPUT_DIR s3://a/b": "OUTPUT_DIR is the address 's3://a/b': name a folder on a disk.",
    "SOLVER.ACCUMULATION_STEPS 0": "SOLVER.ACCUMULATION_STEPS is 0: it must be at least 1.",
    "SOLVER.REFERENCE_WORLD_SIZE -1": "SOLVER.REFERENCE_WORLD_SIZE is -1: it must be at least 0.",
    "INPUT.LARGE_SCALE_JITTER.MAX_SCALE 1e9": "INPUT.LARGE_SCALE_JITTER.MAX_SCALE is "
    "1000000000.0: it must be above 0 and at most 100.",
    "TEST.EXPECTED_RESULTS [3]": "TEST.EXPECTED_RESULTS is [3]: its entries must be [text, text, "
    "a number, a number].",
    "TEST.EXPECTED_RESULTS None": "TEST.EXPECTED_RESULTS is None: its entries must be [text, text, "
    "a number, a number].",
}


@pytest.mark.parametrize("setting", WRONG)
def test_a_value_that_cannot_be_meant(setting):
    with pytest.raises(UserError) as caught:
        load_config("scenes/demo", setting.split(" ", 1))
    assert str(caught.value) == WRONG[setting]


@pytest.mark.parametrize("device", ["gpu", "meta", "cuda:99", "xla"])
def test_a_device_that_is_not_there(device):
    with pytest.raises(UserError, match=f"MODEL.DEVICE is '{device}': use 'cuda' or 'cpu'"):
        build_model(load_config("scenes/demo", ["MODEL.DEVICE", device]))


def test_values_that_were_set_in_python_are_checked_too():
    cfg = load_config("scenes/demo")
    cfg.SOLVER.BASE_LR = float("nan")
    with pytest.raises(UserError, match=r"SOLVER\.BASE_LR is nan: it must be above 0"):
        build_model(cfg)


@pytest.mark.parametrize("name", list_configs())
def test_our_own_configs_pass(name):
    load_config(name)
