"""The location decoder against transformers' Deformable DETR with box refinement."""

import pytest
import torch
from torch import nn

from d2_psformer.modeling.pixel_decoder import Memory
from d2_psformer.modeling.transformer_decoder import LocationDecoder

SHAPES = ((6, 8), (3, 4))
LENGTH = sum(h * w for h, w in SHAPES)
DIM, HEADS, LAYERS, QUERIES = 32, 4, 3, 9


def make_decoder(**options) -> LocationDecoder:
    return LocationDecoder(
        num_classes=5,
        dim=DIM,
        num_queries=QUERIES,
        num_layers=LAYERS,
        num_heads=HEADS,
        num_levels=2,
        dim_feedforward=48,
        **options,
    )


@pytest.fixture
def decoder():
    decoder = make_decoder()
    for parameter in decoder.parameters():
        nn.init.normal_(parameter, std=0.3)
    return decoder.eval()


@pytest.fixture
def memory():
    padding = torch.zeros(2, LENGTH, dtype=torch.bool)
    padding[1, -3:] = True
    ratios = torch.tensor([[[1.0, 1.0], [1.0, 1.0]], [[0.75, 0.5], [0.75, 2 / 3]]])
    return Memory(torch.randn(2, LENGTH, DIM), SHAPES, padding, ratios)


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
def test_equals_transformers(decoder, memory):
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
        encoder_hidden_states=memory.tokens,
        encoder_attention_mask=~memory.padding_mask,
        object_queries_position_embeddings=position,
        reference_points=decoder.reference_points(position).sigmoid(),
        spatial_shapes=torch.tensor(SHAPES),
        spatial_shapes_list=SHAPES,
        valid_ratios=memory.valid_ratios,
    )
    ours = decoder(memory)
    torch.testing.assert_close(
        ours.queries.transpose(0, 1), expected.intermediate_hidden_states, rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        ours.boxes.transpose(0, 1), expected.intermediate_reference_points, rtol=1e-4, atol=1e-5
    )
    for layer, classify in enumerate(decoder.class_embed):
        torch.testing.assert_close(ours.logits[layer], classify(ours.queries[layer]))


def test_a_larger_canvas_changes_nothing(decoder):
    """The same image on a bigger canvas, filled up with noise that is marked as padding."""
    unpadded = torch.zeros(1, LENGTH, dtype=torch.bool)
    small = Memory(torch.randn(1, LENGTH, DIM), SHAPES, unpadded, torch.ones(1, 2, 2))
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
    large = Memory(
        torch.cat(tokens)[None], tuple(shapes), torch.cat(padding)[None], torch.tensor([ratios])
    )
    with torch.no_grad():
        ours, expected = decoder(large), decoder(small)
    torch.testing.assert_close(ours.boxes, expected.boxes, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.logits, expected.logits, rtol=1e-4, atol=1e-4)


def test_every_layer_learns_its_own_step(decoder, memory):
    decoder(memory).boxes[1].sum().backward()
    touched = [
        any(p.grad is not None and p.grad.any() for p in head.parameters())
        for head in decoder.box_embed
    ]
    assert touched == [False, True, False]


def test_starts_from_the_priors(memory):
    decoder = make_decoder(class_prior=0.02, box_size_prior=0.3).eval()
    with torch.no_grad():
        for classify in decoder.class_embed:
            classify.weight.zero_()
        locations = decoder(memory)
    torch.testing.assert_close(locations.logits.sigmoid(), torch.full_like(locations.logits, 0.02))
    # no layer moves a box at first: all have the first one's
    sizes = locations.boxes[..., 2:]
    torch.testing.assert_close(sizes, torch.full_like(sizes, 0.3))
    torch.testing.assert_close(locations.boxes[-1], locations.boxes[0])


def test_grid_start(memory):
    decoder = make_decoder(reference_init="grid").eval()
    with torch.no_grad():
        centres = decoder(memory).boxes[0, 0, :, :2]
    places = torch.tensor([1 / 6, 1 / 2, 5 / 6])
    expected = torch.cartesian_prod(places, places).flip(-1)
    torch.testing.assert_close(centres, expected, rtol=1e-4, atol=1e-4)


def test_unknown_start_is_told():
    with pytest.raises(ValueError, match="REFERENCE_INIT is 'random': use 'learned' or 'grid'"):
        make_decoder(reference_init="random")
