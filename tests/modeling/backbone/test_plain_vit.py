"""Plain vision transformers of timm as a backbone."""

import pytest
import timm
import torch
from small_models import EOMT, small_config
from torch import Tensor

from d2_psformer.modeling.backbone import PlainViT
from d2_psformer.modeling.backbone.build import build_checked_backbone
from d2_psformer.utils.errors import UserError

ROTARY = "vit_small_patch16_dinov3_qkvb"
# a class token, another stride; registers; rotary positions
NAMES = ["test_vit", "test_vit3", ROTARY]
names = pytest.mark.parametrize("name", NAMES)


def make(name: str = "test_vit", **options) -> PlainViT:
    torch.manual_seed(0)
    return PlainViT(**{"name": name, "image_size": 64, "patch_size": 16} | options).eval()


@names
@pytest.mark.parametrize("size", [(64, 64), (96, 48)])
@torch.no_grad()
def test_tokens_are_those_of_timm(name, size):
    backbone, images = make(name), torch.randn(2, 3, *size)
    model = timm.create_model(
        name, img_size=64, dynamic_img_size=True, num_classes=0, global_pool=""
    ).eval()
    model.load_state_dict(backbone.vit.state_dict())
    found = backbone(images)["tokens"]
    assert found.shape == (2, backbone.channels, size[0] // 16, size[1] // 16)
    expected = model.forward_features(images)[:, backbone.prefix :]
    torch.testing.assert_close(found.flatten(2).mT, expected, rtol=0, atol=1e-5)


def test_output_shape():
    backbone = make(patch_size=8)
    assert backbone.size_divisibility == 8
    (shape,) = backbone.output_shape().values()
    assert (shape.channels, shape.stride) == (backbone.channels, 8)


def mixed(backbone: PlainViT, inserted: int) -> tuple[Tensor, Tensor | None]:
    tokens, rotary = backbone.embed(torch.randn(2, 3, 64, 64))
    new = torch.randn(2, inserted, backbone.channels)
    return backbone.insert(tokens, rotary, new)


@names
@torch.no_grad()
def test_inserted_tokens_have_no_place(name):
    """Two that change places change places behind a block, and nothing else."""
    backbone, block = make(name), make(name).vit.blocks[0]
    tokens, rotary = mixed(backbone, inserted=2)
    first = backbone.prefix
    order = torch.arange(tokens.shape[1])
    order[[first, first + 1]] = order[[first + 1, first]]
    found = backbone.run(block, tokens[:, order], rotary)
    torch.testing.assert_close(found, backbone.run(block, tokens, rotary)[:, order])


@names
def test_closed_patches_are_not_read(name):
    """Not at all: gradients are exactly zero."""
    backbone = make(name)
    tokens, rotary = mixed(backbone, inserted=3)
    tokens = tokens.detach().requires_grad_()
    cells = torch.rand(2, 3, 16) < 0.5
    cells[0, 0] = True  # a token may lose all patches
    block, first = backbone.vit.blocks[0], backbone.prefix
    masked = backbone.run(block, tokens, rotary, backbone.closed(cells))
    for image in range(2):
        for number in range(3):
            output = masked[image, first + number].square().sum()
            (grad,) = torch.autograd.grad(output, tokens, retain_graph=True)
            read = grad[image].abs().sum(-1) > 0
            assert torch.equal(~read[first + 3 :], cells[image, number])
            assert read[: first + 3].all()
    free, others = backbone.run(block, tokens, rotary), [*range(first), *range(first + 3, 19)]
    torch.testing.assert_close(masked[:, others], free[:, others])


@names
def test_checkpointing_gives_the_same_gradients(name):
    images, grads = torch.randn(1, 3, 64, 64), []
    for checkpointing in (False, True):
        backbone = make(name, checkpointing=checkpointing).train()
        backbone(images)["tokens"].square().sum().backward()
        grads.append({n: p.grad for n, p in backbone.named_parameters() if p.grad is not None})
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"TIMM_NAME": "cuda:99"}, r"no model 'cuda:99' \(MODEL\.BACKBONE\.TIMM_NAME\)"),
        ({"TIMM_NAME": "hf-hub:timm/a"}, "timm has no model 'hf-hub:timm/a'"),  # without network
        ({"TIMM_NAME": "test_vit.none"}, r"no model 'test_vit\.none' "),
        ({"TIMM_NAME": "resnet10t"}, "'resnet10t', which is no plain vision transformer"),
        ({"TIMM_NAME": "test_vitt"}, "no model 'test_vitt' .*near it: test_"),
        (
            {"TIMM_NAME": "deit_tiny_distilled_patch16_224"},
            "choose one as vit_large_patch14_reg4_dinov2",
        ),
        ({"TIMM_NAME": "eva02_tiny_patch14_224"}, "is no plain vision transformer"),
        ({"FREEZE_AT": 2}, "does not read MODEL.BACKBONE.FREEZE_AT"),
        ({"DROP_PATH": 1.0}, "DROP_PATH is 1.0"),
    ],
)
def test_refusals(options, message):
    options = {f"MODEL.BACKBONE.{key}": value for key, value in options.items()}
    with pytest.raises(UserError, match=message):
        build_checked_backbone(small_config(**EOMT | options))


def test_an_image_smaller_than_a_patch_is_refused():
    with pytest.raises(UserError, match=r"MODEL\.VIT\.IMAGE_SIZE is 12: .*PATCH_SIZE, .* 16"):
        make(image_size=12)
