"""What the queries of a segment attended to, recorded from a model that stays as it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..modeling.outputs import QueryOutputs
from ..modeling.pixel_decoder import PixelFeatures
from ..modeling.transformer_decoder import LocationDecoder, MaskDecoder
from ..modeling.transformer_decoder.mask_attention import MaskScores
from ..ops.reference import locations_of, weights_of
from ..utils.errors import UserError


@dataclass(frozen=True)
class MaskMaps:
    """Attention of one query in a block or in the final attention of a mask decoder.

    Attributes:
        layer: "block 1", …, "final".
        scores: (heads, H_l, W_l) of every level, scaled, before the softmax, on the padded canvas.
        mask: (H_1, W_1) >= 0, which the layer makes of them.
    """

    layer: str
    scores: list[Tensor]
    mask: Tensor

    @property
    def attention(self) -> list[Tensor]:
        """Softmax of the scores over the cells of all levels together, shaped like them."""
        flat = torch.cat([level.flatten(1) for level in self.scores], dim=1).softmax(1)
        levels = flat.split([level[0].numel() for level in self.scores], dim=1)
        return [x.view_as(level) for x, level in zip(levels, self.scores, strict=True)]


@dataclass(frozen=True)
class SamplingPoints:
    """Where one query read in a layer of the location decoder.

    Places are x before y, in [0, 1] of the image without padding; points may lie outside.

    Attributes:
        layer: "layer 1", ….
        locations: (heads, levels, points, 2).
        weights: (heads, levels, points), of sum 1 for every head.
        reference: (2,) point or (4,) box (cx, cy, w, h) that the points are placed about.
        box: (4,), which the layer makes of it; None where the decoder predicts no boxes.
    """

    layer: str
    locations: Tensor
    weights: Tensor
    reference: Tensor
    box: Tensor | None


@dataclass(frozen=True)
class SegmentAttention:
    """All about one segment.

    Attributes:
        segment: its entry in segments_info.
        valid_cells: rows and columns of every level that hold the image; the rest is padding.
        maps: of the mask decoder's blocks and its final attention.
        points: of the location decoder's layers; none for stuff, which it does not locate.
    """

    segment: dict[str, Any]
    valid_cells: list[tuple[int, int]]
    maps: list[MaskMaps]
    points: list[SamplingPoints]


def check_recordable(model: nn.Module) -> None:
    """
    Raises:
        UserError: no attention of this model is recorded, or it makes no panoptic results.
    """
    if not any(isinstance(module, MaskDecoder) for module in model.modules()):
        raise UserError(
            f"The attention of {type(model).__name__} cannot be drawn: only Panoptic SegFormer has "
            "mask decoders, which make masks of attention."
        )
    if not model.postprocessor.panoptic:
        raise UserError(
            "Attention is drawn for panoptic segments: set MODEL.POSTPROCESSING.PANOPTIC_ON True."
        )


@contextmanager
def recording_attention(model: nn.Module) -> Iterator["AttentionRecord"]:
    """Note what the decoders of a Panoptic SegFormer attend to, one image at a time.

    ::

        with recording_attention(predictor.model) as record:
            ids, segments_info = predictor(image)["panoptic_seg"]
        attention = record.of(segments_info[0])

    Hooks keep the inputs of the attentions and are removed after the block; maps are computed from
    them when they are asked for. The results of the model do not change.

    Raises:
        UserError: see :func:`check_recordable`.
    """
    check_recordable(model)
    record = AttentionRecord()
    handles = list(record.attach(model))
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()


@dataclass
class _DecoderCall:
    """Inputs of a mask decoder and, in their order, of its attentions."""

    decoder: MaskDecoder
    queries: Tensor
    features: PixelFeatures
    inputs: dict[MaskScores, Tensor] = field(default_factory=dict)


class AttentionRecord:
    """What was noted of the last image."""

    def __init__(self):
        self._forget()

    def _forget(self) -> None:
        self._calls: dict[str, _DecoderCall] = {}
        self._located: tuple[PixelFeatures, Tensor, QueryOutputs] | None = None
        self._sampling: dict[nn.Module, tuple] = {}

    def attach(self, model: nn.Module) -> Iterator[Any]:
        """Put hooks on the model; yields their handles."""
        yield model.register_forward_pre_hook(self._start)
        for name, module in model.named_modules():
            if isinstance(module, MaskDecoder):
                kind = "stuff" if name.startswith("stuff") else "thing"
                start = partial(self._start_decoder, kind)
                yield module.register_forward_pre_hook(start)
                for attention in filter(lambda m: isinstance(m, MaskScores), module.modules()):
                    note = partial(self._note_queries, kind, attention)
                    yield attention.q_proj.register_forward_pre_hook(note)
            elif isinstance(module, LocationDecoder):
                yield module.register_forward_hook(self._note_located)
                for layer in module.layers:
                    yield layer.cross_attn.register_forward_pre_hook(self._note_sampling)

    def _start(self, model: nn.Module, args: tuple) -> None:
        if model.training or len(args[0]) != 1:
            raise ValueError("Attention is recorded for one image at a time, in evaluation mode.")
        self._forget()

    def _start_decoder(self, kind: str, decoder: MaskDecoder, args: tuple) -> None:
        queries, features = args[:2]
        self._calls[kind] = _DecoderCall(decoder, queries, features)

    def _note_queries(self, kind: str, attention: MaskScores, _, args: tuple) -> None:
        # maps asked for inside the block call the projection again, and do not count
        self._calls[kind].inputs.setdefault(attention, args[0])

    def _note_located(self, decoder: LocationDecoder, args: tuple, located: tuple) -> None:
        self._located = *args, *located

    def _note_sampling(self, module: nn.Module, args: tuple) -> None:
        query, reference, _, spatial_shapes, *_ = args
        self._sampling[module] = query, reference, spatial_shapes

    @torch.no_grad()
    def of(self, segment: dict[str, Any]) -> SegmentAttention:
        """What the query of an entry of the image's segments_info attended to.

        Raises:
            ValueError: no image was segmented in the block.
        """
        if not self._calls:
            raise ValueError("Nothing is recorded: segment an image inside recording_attention.")
        # without query decoupling one decoder serves both
        kind = "stuff" if not segment["isthing"] and "stuff" in self._calls else "thing"
        call, is_located = self._calls[kind], kind == "thing" and self._located is not None
        row = self._row(call, segment["query"]) if is_located else segment["query"]
        return SegmentAttention(
            segment=segment,
            valid_cells=_valid_cells(call.features),
            maps=_mask_maps(call, row),
            points=self._points(segment["query"]) if is_located else [],
        )

    def _row(self, call: _DecoderCall, query: int) -> int:
        """Only promising queries enter the mask decoder, as the location decoder left them."""
        _, located, _ = self._located
        same = (call.queries[0] == located[0, query]).all(-1)
        return int(same.nonzero()[0])

    def _points(self, query: int) -> list[SamplingPoints]:
        features, _, outputs = self._located
        ratios = features.valid_ratios  # (1, levels, 2), the image's share of the canvas
        one, points = slice(query, query + 1), []
        for i, (attention, (queries, references, shapes)) in enumerate(self._sampling.items()):
            form = (attention.num_heads, attention.num_levels, attention.num_points)
            located, reference = queries[:, one].float(), references[:, one].float()
            offsets = attention.sampling_offsets(located).unflatten(-1, (*form, 2))
            logits = attention.attention_weights(located).unflatten(-1, form)
            locations = locations_of(offsets, shapes, reference)
            points.append(
                SamplingPoints(
                    layer=f"layer {i + 1}",
                    locations=(locations / ratios[:, None, None, :, None])[0, 0],
                    weights=weights_of(logits)[0, 0],
                    reference=reference[0, 0, 0] / ratios[0, 0].repeat(reference.shape[-1] // 2),
                    box=outputs.boxes[i][0, query] if outputs.boxes else None,
                )
            )
        return points


def _valid_cells(features: PixelFeatures) -> list[tuple[int, int]]:
    ratios = features.valid_ratios[0].tolist()  # x before y
    return [
        (round(height * y), round(width * x))
        for (height, width), (x, y) in zip(features.spatial_shapes, ratios, strict=True)
    ]


def _mask_maps(call: _DecoderCall, row: int) -> list[MaskMaps]:
    final = call.decoder.final_attention
    tokens, shapes = call.features.finest(call.decoder.num_levels)
    maps = []
    for i, (attention, queries) in enumerate(list(call.inputs.items())):
        # The inputs have half precision where the model ran in it.
        scores = attention.scores(queries[:, row : row + 1].float(), tokens.float())
        levels = scores[0, :, 0].split([height * width for height, width in shapes], dim=-1)
        maps.append(
            MaskMaps(
                layer="final" if attention is final else f"block {i + 1}",
                scores=[x.unflatten(-1, shape) for x, shape in zip(levels, shapes, strict=True)],
                mask=attention.fuse(scores, shapes)[0, 0],
            )
        )
    return maps
