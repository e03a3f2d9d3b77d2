"""The location decoder against transformers' Deformable DETR with box refinement."""

import pytest
import torch
from torch import nn

from d2_psformer.modeling.pixel_decoder import PixelFeatures
from d2_psformer.modeling.transformer_decoder import LocationDecoder

SHAPES = ((6, 8), (3, 4))
LENGTH = sum(h * w for h, w in SHAPES)
DIM, HEADS, LAYERS, QUERIES = 32, 4, 3, 9


def make_decoder(**options) -> LocationDecoder:
    sizes = {
        "num_classes": 5,
        "dim": DIM,
        "num_queries": QUERIES,
        "layers": LAYERS,
        "heads": HEADS,
        "num_levels": 2,
        "dim_feedforward": 48,
    }
    return LocationDecoder(**sizes | options)


def make_random(**options) -> LocationDecoder:
    decoder = make_decoder(**options)
    for parameter in decoder.parameters():
        nn.init.normal_(parameter, std=0.3)
    return decoder.eval()


@pytest.fixture
def decoder():
    return make_random()


@pytest.fixture
def features():
    padding = torch.zeros(2, LENGTH, dtype=torch.bool)
    padding[1, -3:] = True
    ratios = torch.tensor([[[1.0, 1.0], [1.0, 1.0]], [[0.75, 0.5], [0.75, 2 / 3]]])
    return PixelFeatures(torch.randn(2, LENGTH, DIM), SHAPES, padding, ratios)


def to_transformers(state_dict):
    """Names and the split of q, k, v as transformers has them."""
    renamed = {}
    for key, value in state_dict.items():
        for ours, theirs in [
            (".cross_attn.", ".encoder_attn."),
            (".ffn.linear", ".mlp.fc"),
            (".ffn.norm.", ".final_layer_norm."),
            (".norm1.", ".self_attn_layer_norm."),
            (".norm2.", ".encoder_attn_layer_norm."),
            (".out_proj.", ".o_proj."),
            ("box_embed.", "bbox_embed."),
        ]:
            key = key.replace(ours, theirs)  # noqa: PLW2901
        if "in_proj_" in key:
            for name, part in zip("qkv", value.chunk(3), strict=True):
                renamed[key.replace("in_proj_", f"{name}_proj.")] = part
        elif key.startswith(("layers.", "bbox_embed.")):
            renamed[key] = value
    return renamed


@torch.no_grad()
def test_equals_transformers(decoder, features):
    module = pytest.importorskip("transformers.models.deformable_detr.modeling_deformable_detr")
    config = module.DeformableDetrConfig(
        d_model=DIM,
        num_feature_levels=2,
        decoder_layers=LAYERS,
        decoder_attention_heads=HEADS,
        decoder_ffn_dim=48,
    )
    theirs = module.DeformableDetrDecoder(config)
    theirs.bbox_embed = nn.ModuleList(
        module.DeformableDetrMLPPredictionHead(DIM, DIM, 4, 3) for _ in range(LAYERS)
    )
    theirs.load_state_dict(to_transformers(decoder.state_dict()))
    position, content = decoder.query_embed.weight.expand(2, -1, -1).split(DIM, dim=-1)
    expected = theirs.eval()(
        inputs_embeds=content,
        encoder_hidden_states=features.tokens,
        encoder_attention_mask=~features.padding,
        object_queries_position_embeddings=position,
        reference_points=decoder.reference_points(position).sigmoid(),
        spatial_shapes=torch.tensor(SHAPES),
        spatial_shapes_list=SHAPES,
        valid_ratios=features.valid_ratios,
    )
    queries, ours = decoder(features)
    hidden = expected.intermediate_hidden_states.unbind(1)
    torch.testing.assert_close(queries, hidden[-1], rtol=1e-4, atol=1e-5)
    boxes = torch.stack(ours.boxes, 1)
    torch.testing.assert_close(boxes, expected.intermediate_reference_points, rtol=1e-4, atol=1e-5)
    for logits, classify, layer in zip(ours.logits, decoder.class_embed, hidden, strict=True):
        torch.testing.assert_close(logits, classify(layer), rtol=1e-4, atol=1e-4)


def test_a_larger_canvas_changes_nothing(decoder):
    """The same image on a bigger canvas, filled up with noise that is marked as padding."""
    unpadded = torch.zeros(1, LENGTH, dtype=torch.bool)
    small = PixelFeatures(torch.randn(1, LENGTH, DIM), SHAPES, unpadded, torch.ones(1, 2, 2))
    tokens, padding, ratios, shapes = [], [], [], []
    for level, (height, width) in enumerate(SHAPES):
        rows, columns = height + 2, width + 4
        grid = 1e3 * torch.randn(rows, columns, DIM)
        mask = torch.ones(rows, columns, dtype=torch.bool)
        start = sum(h * w for h, w in SHAPES[:level])
        grid[:height, :width] = small.tokens[0, start : start + height * width].view(
            height, width, DIM
        )
        mask[:height, :width] = False
        tokens.append(grid.flatten(0, 1))
        padding.append(mask.flatten())
        ratios.append([width / columns, height / rows])
        shapes.append((rows, columns))
    large = PixelFeatures(
        torch.cat(tokens)[None], tuple(shapes), torch.cat(padding)[None], torch.tensor([ratios])
    )
    with torch.no_grad():
        (_, ours), (_, expected) = decoder(large), decoder(small)
    torch.testing.assert_close(ours.boxes, expected.boxes, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.logits, expected.logits, rtol=1e-4, atol=1e-4)


def test_every_layer_learns_its_own_step(decoder, features):
    decoder(features)[1].boxes[1].sum().backward()
    touched = [
        any(p.grad is not None and p.grad.any() for p in head.parameters())
        for head in decoder.box_embed
    ]
    assert touched == [False, True, False]


def test_starts_from_the_priors(features):
    decoder = make_decoder(class_prior=0.02, box_size_prior=0.3).eval()
    with torch.no_grad():
        for classify in decoder.class_embed:
            classify.weight.zero_()
        _, located = decoder(features)
    for logits, boxes in zip(located.logits, located.boxes, strict=True):
        torch.testing.assert_close(logits.sigmoid(), torch.full_like(logits, 0.02))
        torch.testing.assert_close(boxes[..., 2:], torch.full_like(boxes[..., 2:], 0.3))
        # no layer moves a box at first: all have the first one's
        torch.testing.assert_close(boxes, located.boxes[0])


def test_grid_start(features):
    decoder = make_decoder(reference_init="grid").eval()
    with torch.no_grad():
        centres = decoder(features)[1].boxes[0][0, :, :2]
    places = torch.tensor([1 / 6, 1 / 2, 5 / 6])
    expected = torch.cartesian_prod(places, places).flip(-1)
    torch.testing.assert_close(centres, expected, rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------- version 1


def test_without_refinement_every_layer_reads_about_the_first_point(features):
    """Boxes of a layer are a step from that point, and the queries do not depend on them."""
    decoder = make_random(num_classes=0, refine=False).train()
    for module in decoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    references = []
    for layer in decoder.layers:
        layer.cross_attn.register_forward_pre_hook(lambda _, args: references.append(args[1]))
    queries, located = decoder(features)
    assert located.logits == [] and len(located.boxes) == LAYERS
    assert all(torch.equal(reference, references[0]) for reference in references)
    assert references[0].shape[-1] == 2
    position = decoder.query_embed.weight[:, :DIM]
    logit = decoder.reference_points(position)
    delta = decoder.box_embed[-1](queries)
    expected = torch.cat([delta[..., :2] + logit, delta[..., 2:]], -1).sigmoid()
    torch.testing.assert_close(located.boxes[-1], expected, rtol=1e-4, atol=1e-5)


def test_without_refinement_places_serve_the_loss_alone(features):
    decoder = make_random(num_classes=0, refine=False)
    queries, located = decoder(features)
    assert located.boxes == [] and queries.shape == (2, QUERIES, DIM)
    decoder.box_embed = nn.ModuleList([None] * LAYERS)
    assert torch.equal(decoder(features)[0], queries)


def test_without_refinement_every_layer_starts_from_the_size_prior(features):
    decoder = make_decoder(num_classes=0, refine=False, box_size_prior=0.3).train()
    _, located = decoder(features)
    for boxes in located.boxes:
        torch.testing.assert_close(boxes[..., 2:], torch.full_like(boxes[..., 2:], 0.3))
