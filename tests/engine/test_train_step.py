import copy

import pytest
import torch
from dummy_training import dummy_cfg
from torch import nn
from torch.nn.utils import clip_grad_norm_

from d2_psformer.d2.utils import comm
from d2_psformer.engine import TrainStep, build_gradient_clipper
from d2_psformer.engine.train_step import amp_dtype
from d2_psformer.utils.errors import NotFiniteError, UserError


class MeanModel(nn.Module):
    """Losses that are means over the images; keeps the type it computes in and a dropout mask."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(4, 3)
        self.scale = 1.0

    def forward(self, batch):
        images = torch.stack([x["image"] for x in batch])
        out = self.linear(images)
        self.dtype = out.dtype
        self.mask = nn.functional.dropout(torch.ones(8), 0.5)
        return {
            "loss_square": self.scale * out.float().square().mean(),
            "loss_abs": out.float().abs().mean(),
        }


def images(count: int, seed: int = 0) -> list[dict]:
    generator = torch.Generator().manual_seed(seed)
    return [
        {"image": torch.randn(4, generator=generator), "file_name": f"{i}.jpg"}
        for i in range(count)
    ]


def step_of(model: nn.Module, **options) -> TrainStep:
    return TrainStep(model, torch.optim.SGD(model.parameters(), lr=0.1), **options)


def test_one_step_is_what_torch_does():
    model = MeanModel()
    twin = copy.deepcopy(model)
    metrics = step_of(model)([images(4)], iteration=0)

    losses = twin(images(4))
    sum(losses.values()).backward()
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs - 0.1 * theirs.grad)
    norm = torch.cat([p.grad.flatten() for p in twin.parameters()]).norm()
    expected = {**losses, "total_loss": sum(losses.values()), "grad_norm": norm}
    assert metrics == pytest.approx({name: value.item() for name, value in expected.items()})


def test_accumulation_equals_one_large_batch():
    whole, parts = MeanModel(), MeanModel()
    one = step_of(whole)([images(6)], iteration=0)
    two = step_of(parts)([images(6)[:3], images(6)[3:]], iteration=0)
    assert one == pytest.approx(two)
    torch.testing.assert_close(list(whole.parameters()), list(parts.parameters()))


@pytest.mark.parametrize("limit", [0.01, 1e6])
def test_clipping_the_full_model(tmp_path, limit):
    options = ("SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "full_model")
    cfg = dummy_cfg(tmp_path, *options, "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", limit)
    model = MeanModel()
    twin = copy.deepcopy(model)
    metrics = step_of(model, clip=build_gradient_clipper(cfg))([images(4)], iteration=0)

    sum(twin(images(4)).values()).backward()
    norm = clip_grad_norm_(twin.parameters(), limit)
    assert metrics["grad_norm"] == pytest.approx(norm.item())
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs - 0.1 * theirs.grad)


def test_random_numbers_follow_from_the_place_alone():
    model = MeanModel()
    step = step_of(model, seed=3, rank=1)
    masks = {}
    for iteration in (0, 1, 0):
        torch.rand(iteration + 5)  # somebody else draws
        step([images(2)], iteration)
        same = torch.equal(masks.setdefault(iteration, model.mask), model.mask)
        assert same
    assert not torch.equal(masks[0], masks[1])
    for other in (step_of(model, seed=4, rank=1), step_of(model, seed=3, rank=0)):
        other([images(2)], 0)
        assert not torch.equal(masks[0], model.mask)


def test_batches_of_one_iteration_draw_differently():
    model = MeanModel()
    masks = []
    model.register_forward_hook(lambda module, *_: masks.append(module.mask))
    step_of(model)([images(2), images(2)], iteration=0)
    assert not torch.equal(*masks)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_on_the_cpu(dtype):
    full, mixed = MeanModel(), MeanModel()
    reference = step_of(full)([images(4)], iteration=0)
    step = step_of(mixed, amp_dtype=dtype)
    metrics = step([images(4)], iteration=0)
    assert mixed.dtype == dtype
    assert full.dtype == torch.float32
    assert step.scaler.is_enabled() == (dtype == torch.float16)
    assert metrics == pytest.approx(reference, rel=0.02)
    for ours, theirs in zip(mixed.parameters(), full.parameters(), strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=0.02, atol=5e-3)


def test_float16_leaves_out_a_step_that_overflows(tmp_path):
    cfg = dummy_cfg(tmp_path)
    model = MeanModel()
    step = step_of(model, amp_dtype=torch.float16, clip=build_gradient_clipper(cfg))
    model.scale = 1e34  # x the gradient scaler's 65536: more than float32 holds
    before = copy.deepcopy(model.state_dict())
    scale = step.scaler.get_scale()
    metrics = step([images(2)], iteration=0)
    assert "grad_norm" not in metrics
    assert step.scaler.get_scale() == scale / 2
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_the_step(value):
    model = MeanModel()
    model.scale = value
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(UserError) as error:
        step_of(model, rank=2)([images(2)], iteration=11)
    for word in ("loss_square", str(value), "iteration 11", "process 2", "BASE_LR", "1.jpg"):
        assert word in str(error.value)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


class RootModel(MeanModel):
    """Its loss is 0, its gradient NaN."""

    def forward(self, batch):
        return {"loss": (self.linear.weight * 0).abs().sqrt().sum()}


@pytest.mark.parametrize("clip_type", ["full_model", "norm", "value", None])
def test_a_gradient_that_is_not_finite_stops_before_the_step(tmp_path, clip_type):
    cfg = dummy_cfg(tmp_path, "SOLVER.CLIP_GRADIENTS.ENABLED", clip_type is not None)
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = clip_type or "value"
    model = RootModel()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(UserError, match=r"'linear\.weight' is not finite at iteration 7"):
        step_of(model, clip=build_gradient_clipper(cfg))([images(1)], iteration=7)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_a_norm_that_overflows_is_no_skipped_step():
    """Its gradients are finite, so that the scaler would take the step."""

    class HugeModel(MeanModel):
        def forward(self, batch):
            return {"loss": (1e20 * self.linear.weight).sum()}

    model = HugeModel()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(UserError, match="gradient of 'all parameters'"):
        step_of(model, amp_dtype=torch.float16)([images(1)], iteration=0)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_float16_stops_when_the_loss_scale_has_collapsed(caplog):
    model = RootModel()
    step = step_of(model, amp_dtype=torch.float16)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(UserError, match=r"'linear\.weight'.*iteration 16 .*bfloat16"):
        for iteration in range(100):
            step([images(1)], iteration)
    assert step.scaler.get_scale() == 1
    assert caplog.messages[0].startswith("The gradients of iteration 0 overflow float16")
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_the_type_of_autocast(tmp_path):
    assert amp_dtype(dummy_cfg(tmp_path)) is None, "on a CPU"
    assert amp_dtype(dummy_cfg(tmp_path, "SOLVER.AMP.DTYPE", "float16")) == torch.float16
    assert amp_dtype(dummy_cfg(tmp_path, "SOLVER.AMP.DTYPE", "bfloat16")) == torch.bfloat16
    with pytest.raises(UserError, match=r"SOLVER\.AMP\.DTYPE 'int8'"):
        amp_dtype(dummy_cfg(tmp_path, "SOLVER.AMP.DTYPE", "int8"))


@pytest.mark.parametrize(("is_new", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_the_type_of_autocast_on_a_gpu(tmp_path, monkeypatch, is_new, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: is_new)
    cfg = dummy_cfg(tmp_path, "MODEL.DEVICE", "cuda")
    assert amp_dtype(cfg) == expected
    cfg.SOLVER.AMP.ENABLED = False
    assert amp_dtype(cfg) is None


class SometimesBad(MeanModel):
    """Its first loss is NaN where an image is; it has a batch norm."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def forward(self, batch):
        self.norm(torch.stack([x["image"] for x in batch]))
        return super().forward(batch)


def bad_images() -> list[dict]:
    return [{"image": torch.full((4,), float("nan")), "file_name": "nan.jpg"}, *images(1)]


def test_a_few_bad_steps_in_a_row_are_left_out(caplog):
    model = SometimesBad()
    step = step_of(model, max_bad_steps=2)
    metrics = step([images(2)], 0)
    assert metrics["bad_steps"] == 0 and metrics["total_loss"] > 0
    before = copy.deepcopy(model.state_dict())
    assert step([bad_images()], 1) == {"bad_steps": 1}
    assert step([bad_images()], 2) == {"bad_steps": 2}
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    for word in ("1 of at most 2 in a row", "'loss_square' became nan at iteration 1", "nan.jpg"):
        assert word in caplog.messages[0]
    assert step([images(2)], 3)["bad_steps"] == 2
    for iteration in (4, 5):
        step([bad_images()], iteration)
    with pytest.raises(NotFiniteError, match="at iteration 6"):
        step([bad_images()], 6)


def test_processes_leave_out_the_same_steps(monkeypatch):
    monkeypatch.setattr(comm, "all_gather", lambda error: [error, "The loss of another one"])
    assert step_of(MeanModel(), max_bad_steps=1)([images(2)], 0) == {"bad_steps": 1}


def test_float16_goes_on_after_a_bad_step():
    step = step_of(SometimesBad(), amp_dtype=torch.float16, max_bad_steps=1)
    assert step([bad_images()], 0) == {"bad_steps": 1}
    assert "grad_norm" in step([images(2)], 1)


class RefusingModel(MeanModel):
    """Raises an error of the model."""

    error: ValueError

    def forward(self, batch):
        raise self.error


def test_an_error_of_the_model_gets_its_iteration_and_images():
    model = RefusingModel()
    model.error = NotFiniteError("The matching cost is not finite.")
    sentence = (
        r"^The matching cost is not finite\. This was at iteration 3 in process 0, .*: 0\.jpg"
    )
    with pytest.raises(NotFiniteError, match=sentence):
        step_of(model)([images(1)], 3)
    assert step_of(model, max_bad_steps=1)([images(1)], 3) == {"bad_steps": 1}


def test_a_batch_norm_of_one_number_is_explained():
    model = SometimesBad()
    with pytest.raises(UserError, match=r"batch norm has one number .* 0\.jpg.*NORM to 'FrozenBN'"):
        step_of(model)([images(1)], 0)


def test_other_errors_of_the_model_stay_what_they_are():
    model = RefusingModel()
    model.error = ValueError("a bug")
    with pytest.raises(ValueError, match=r"^a bug$"):
        step_of(model)([images(1)], 3)
