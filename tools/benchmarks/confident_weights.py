"""Weights of an untrained model that give merging the work that a trained one gives.

Random weights find nothing: no candidate comes near the score threshold. Here the last classifiers
and the layer that mixes the masks are rescaled, each by two numbers, so that on one given image
about as many candidates are sure, unsure and hopeless as a trained model has on COCO, and masks
cover as much of it. Queries and keys of the masks are centred, so that every query has a mask of
its own. Which pixels and which classes these are is chance. Layers that start at zero get noise, so
that all parts depend on the image; nothing else is touched.
"""

import torch
from torch import Tensor, nn

from .plain_layers import decode_masks, linear
from .plain_model import PlainPanopticSegFormer

# Of the candidates of an image of COCO about 12 pairs of things and 5 stuff classes are sure; the
# last thing has a probability of two percent, the last stuff class of far less.
SURE_THINGS, SURE_STUFF = 12, 5
SURE_LOGIT, LAST_THING_LOGIT, LAST_STUFF_LOGIT = 1.0, -4.0, -8.0
# share of the image that lies in a sure mask; hardly a pixel is above the peak
THING_SHARE, STUFF_SHARE = 0.03, 0.12
THRESHOLD, PEAK = 0.5, 1.3
ALIVE = 100.0  # added to masks, so that their ReLU cuts nothing off while they are measured


@torch.no_grad()
def make_confident(model: nn.Module, sample: dict) -> None:
    """Change the weights of our model, which has things and stuff, in place."""
    plain = PlainPanopticSegFormer(model).eval()
    ours = plain.weights
    for name, parameter in ours.named_parameters():
        if name.endswith(("sampling_offsets.weight", "attention_weights.weight")):
            nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
    for regress in ours.location_decoder.box_embed:
        last = regress.layers[-1]
        nn.init.normal_(last.weight, std=0.3 * last.in_features**-0.5)
    images = ours.normalizer([sample["image"]])
    memory = plain.memory(plain.features(images.tensor), images)

    locations = plain.locations(memory)
    logits, pairs = locations.logits[-1, 0].flatten().topk(ours.matched_queries.topk)
    _spread_logits(ours.location_decoder.class_embed[-1], logits, SURE_THINGS, LAST_THING_LOGIT)
    queries = locations.queries[-1, :, pairs // locations.logits.shape[-1]]
    _spread_masks(ours.thing_mask_decoder, queries, None, memory, SURE_THINGS, THING_SHARE)

    stuff = ours.stuff_decoder
    content, position = stuff.query_embed.weight[None].chunk(2, dim=-1)
    logits, classes = plain.stuff_masks(memory)[1][-1][0].sort(descending=True)
    _spread_logits(stuff.class_embed[-1], logits, SURE_STUFF, LAST_STUFF_LOGIT)
    queries = content[:, classes], position[:, classes]
    _spread_masks(stuff.mask_decoder, *queries, memory, SURE_STUFF, STUFF_SHARE)
    model.load_state_dict(ours.state_dict())


def _spread_logits(classifier: nn.Linear, sorted_logits: Tensor, sure: int, last: float) -> None:
    """Make ``sure`` of these outputs, but not all, sure and give the last one this value."""
    middle = sorted_logits[min(sure, len(sorted_logits) // 2)]
    _map_outputs(classifier, {middle: SURE_LOGIT, sorted_logits[-1]: last})


def _spread_masks(
    decoder: nn.Module, queries: Tensor, position: Tensor | None, memory, sure: int, share: float
) -> None:
    """Make the final masks of the first queries, the ``sure`` ones, cover this share each."""
    tail = decoder.tail
    last = decode_masks(decoder, queries, position, memory)[1][-1]
    last = last if position is None else last + position
    for layer, inputs in ((tail.q_proj, last), (tail.k_proj, memory.finest(decoder.num_levels))):
        layer.bias -= linear(layer, inputs).mean((0, 1))
    tail.mask_fc.bias += ALIVE
    masks = decode_masks(decoder, queries, position, memory)[0][-1]
    values = masks[:, :sure].flatten()
    values = values[:: max(1, len(values) // 10**6)]  # as many as torch.quantile takes
    edge, peak = values.quantile(values.new_tensor([1 - share, 1 - share / 50]))
    _map_outputs(tail.mask_fc, {edge: THRESHOLD, peak: PEAK})


def _map_outputs(layer: nn.Linear, wanted: dict[Tensor, float]) -> None:
    """Rescale and shift a layer so that two of its outputs become what is wanted."""
    (first, new_first), (second, new_second) = wanted.items()
    scale = (new_second - new_first) / (second - first)
    layer.weight *= scale
    layer.bias.mul_(scale).add_(new_first - first * scale)
