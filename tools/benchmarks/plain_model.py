"""Panoptic SegFormer in the plain formulation: the peer of the benchmarks.

The same weights and the same mathematics, written down step after step as the method is described:
deformable attention by ``grid_sample`` on values that are always masked, offsets and weights by
layers of their own, the masks of every block, eight channels of every level resized before they are
mixed, every (query, class) pair decoded, every mask made as large as the image before one of them
is dropped, and a loop with a question to the device for every segment.
"""

import copy

import timm
import torch
import torch.nn.functional as F
from d2_psformer.modeling.pixel_decoder.memory import Memory, level_padding_masks, valid_ratio
from torch import Tensor, nn

from d2_psformer.layers import inverse_sigmoid
from d2_psformer.modeling.pixel_decoder.deformable_encoder import cell_centres
from d2_psformer.modeling.transformer_decoder import Locations

from .plain_layers import (
    decode_masks,
    deformable_attention,
    dropped,
    feed_forward,
    linear,
    normed,
    self_attention,
)


class PlainPanopticSegFormer(nn.Module):
    """Takes a copy of the weights of a model of ours, for a backbone that gives NCHW maps.

    Every stage is a method; the results are those of the model, panoptic alone.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        if model.backbone.puts_channels_last or model.backbone.is_swin:
            raise ValueError(
                f"The plain formulation has no '{model.backbone.name}': set "
                "MODEL.BACKBONE.TIMM_NAME to a ResNet."
            )
        self.weights = copy.deepcopy(model)
        self.topk = model.matched_queries.topk
        self.weights.backbone.body = plain_backbone(self.weights.backbone.body, model.backbone.name)

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict]) -> list[dict]:
        """As of our model in evaluation: ``panoptic_seg`` for each image."""
        images = self.weights.normalizer([x["image"] for x in batched_inputs])
        memory = self.memory(self.features(images.tensor), images)
        locations = self.locations(memory)
        results = []
        for i, (inputs, valid) in enumerate(zip(batched_inputs, images.sizes, strict=True)):
            alone = memory.image(i)
            scores, pairs = locations.logits[-1, i].sigmoid().flatten().topk(self.topk)
            num_classes = locations.logits.shape[-1]
            chosen = locations.queries[-1, i, pairs // num_classes]
            things = self.thing_masks(chosen[None], alone)[-1][0]
            stuff, stuff_logits = self.stuff_masks(alone)
            size = (inputs.get("height", valid[0]), inputs.get("width", valid[1]))
            candidates = (
                torch.cat([things, stuff[-1][0]]),
                torch.cat([scores, stuff_logits[-1][0].sigmoid()]).float(),
                torch.cat([pairs % num_classes, torch.arange(len(stuff[-1][0])).to(pairs)]),
            )
            results.append({"panoptic_seg": self.merge(*candidates, valid, size)})
        return results

    def train(self, mode: bool = True) -> "PlainPanopticSegFormer":
        """Batch norms stay in evaluation mode."""
        super().train(mode)
        self.weights.backbone.body.eval()
        return self

    def features(self, images: Tensor) -> list[Tensor]:
        backbone = self.weights.backbone
        maps = backbone.body(images)
        return [norm(x) for norm, x in zip(backbone.output_norms, maps, strict=True)]

    def memory(self, features: list[Tensor], images) -> Memory:
        """Input projection and encoder."""
        decoder = self.weights.pixel_decoder
        levels = [f(x) for f, x in zip(decoder.input_projection.projections, features, strict=True)]
        coarser = features[-1]
        for convolve in decoder.input_projection.extra:
            coarser = convolve(coarser)
            levels.append(coarser)
        shapes = [tuple(x.shape[-2:]) for x in levels]
        padding = images.padding_mask
        if padding is None:
            padding = torch.zeros_like(images.tensor[:, 0], dtype=torch.bool)
        masks = level_padding_masks(padding, shapes)
        position = torch.cat(
            [
                (decoder.position(mask) + code[:, None, None]).flatten(2).transpose(1, 2)
                for mask, code in zip(masks, decoder.level_embed, strict=True)
            ],
            dim=1,
        )
        padding = torch.cat([mask.flatten(1) for mask in masks], dim=1)
        ratios = torch.stack([valid_ratio(mask) for mask in masks], dim=1)
        tokens = torch.cat([x.flatten(2).transpose(1, 2) for x in levels], dim=1)
        reference = cell_centres(shapes, ratios)
        for layer in decoder.layers:
            memory = Memory(tokens, tuple(shapes), padding, ratios)
            update = deformable_attention(layer.self_attn, tokens + position, reference, memory)
            tokens = normed(layer.norm, tokens + dropped(layer.dropout, update))
            tokens = feed_forward(layer.ffn, tokens)
        return Memory(tokens, tuple(shapes), padding, ratios)

    def locations(self, memory: Memory) -> Locations:
        decoder, batch = self.weights.location_decoder, memory.tokens.shape[0]
        position, query = decoder.query_embed.weight.expand(batch, -1, -1).chunk(2, dim=-1)
        reference = linear(decoder.reference_points, position).sigmoid()
        queries, logits, boxes = [], [], []
        for i, layer in enumerate(decoder.layers):
            located = query + position
            update = self_attention(layer.self_attn, located, located, query)
            query = normed(layer.norm1, query + dropped(layer.dropout, update))
            ratios = memory.valid_ratios.repeat(1, 1, reference.shape[-1] // 2)
            levels = reference[:, :, None] * ratios[:, None]
            update = deformable_attention(layer.cross_attn, query + position, levels, memory)
            query = normed(layer.norm2, query + dropped(layer.dropout, update))
            query = feed_forward(layer.ffn, query)
            step = query
            for hidden in decoder.box_embed[i].layers[:-1]:
                step = F.relu(linear(hidden, step))
            step = linear(decoder.box_embed[i].layers[-1], step).float()
            known = inverse_sigmoid(reference.float())
            reference = (step + F.pad(known, (0, 4 - known.shape[-1]))).sigmoid()
            queries.append(query)
            logits.append(linear(decoder.class_embed[i], query))
            boxes.append(reference)
            reference = reference.detach()
        return Locations(torch.stack(queries), torch.stack(logits), torch.stack(boxes))

    def thing_masks(self, queries: Tensor, memory: Memory) -> list[Tensor]:
        """(B, N, dim) -> masks of every block and the tail, (B, N, h, w) each."""
        return decode_masks(self.weights.thing_mask_decoder, queries, None, memory)[0]

    def stuff_masks(self, memory: Memory) -> tuple[list[Tensor], list[Tensor]]:
        """Masks of every block and the tail, class logits (B, classes) of every block."""
        decoder, batch = self.weights.stuff_decoder, memory.tokens.shape[0]
        content, position = decoder.query_embed.weight.expand(batch, -1, -1).chunk(2, dim=-1)
        masks, queries = decode_masks(decoder.mask_decoder, content, position, memory)
        heads = zip(decoder.class_embed, queries, strict=True)
        return masks, [linear(head, query).squeeze(-1) for head, query in heads]

    def merge(
        self,
        masks: Tensor,
        scores: Tensor,
        classes: Tensor,
        valid: tuple[int, int],
        size: tuple[int, int],
    ) -> tuple[Tensor, list[dict]]:
        """Mask-wise merging; the first ``topk`` candidates are things, the rest stuff."""
        rules, layout = self.weights.results.merging, self.weights.class_layout
        rows, columns = (-(-side // self.weights.mask_stride) for side in valid)
        large = F.interpolate(masks[None, :, :rows, :columns].float(), size, mode="bilinear")[0]
        inside = large > rules.mask_threshold
        quality = (large * inside.float()).sum((1, 2)) / (inside.sum((1, 2)).float() + 1)
        scores = scores**rules.class_power * quality**rules.mask_power
        scores, order = scores.sort(descending=True, stable=True)
        large, classes = large[order], classes[order]
        is_thing = order < self.topk
        id_map = torch.zeros(size, dtype=torch.int32, device=masks.device)
        segments = []
        for mask, score, label, thing in zip(large, scores, classes, is_thing, strict=True):
            if score < rules.score_threshold:
                continue
            pixels = mask > rules.mask_threshold
            area = pixels.sum().item()
            taken = (pixels & (id_map > 0)).sum().item()
            limit = rules.thing_overlap_threshold if thing else rules.stuff_overlap_threshold
            if area in (0, taken) or taken / area > limit:
                continue
            id_map[pixels & (id_map == 0)] = len(segments) + 1
            segments.append(
                {
                    "id": len(segments) + 1,
                    "category_id": (layout.thing_ids if thing else layout.stuff_ids)[label.item()],
                    "isthing": bool(thing),
                    "score": min(score.item(), 1.0),
                    "area": area - taken,
                }
            )
        return id_map, segments


def plain_backbone(ours: nn.Module, name: str) -> nn.Module:
    """timm's own modules with the weights of ours, in its own memory layout."""
    levels = ours.feature_info.out_indices
    body = timm.create_model(name, features_only=True, out_indices=levels)
    body.load_state_dict(ours.state_dict())
    for parameter, known in zip(body.parameters(), ours.parameters(), strict=True):
        parameter.requires_grad_(known.requires_grad)
    return body.eval()
