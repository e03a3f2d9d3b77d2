"""What transformer decoders give to the criterion and to postprocessing."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

# How the numbers of a mask are to be read.
LOGIT = "logit"  # sigmoid gives the probability of a pixel (MaskFormer, Mask2Former)
SCORE = "score"  # >= 0 and unbounded (Panoptic SegFormer)
SOFTMAX = "softmax"  # a softmax over the queries gives their shares of a pixel (MaX-DeepLab)


@dataclass(frozen=True)
class LayerOutputs:
    """One layer's outputs for one image; what a decoder does not predict is None.

    Attributes:
        logits: (Q, K).
        boxes: (Q, 4) cx, cy, w, h, normalised to the valid image.
        masks: (Q, h, w).
    """

    logits: Tensor | None = None
    boxes: Tensor | None = None
    masks: Tensor | None = None


@dataclass(frozen=True)
class QueryOutputs:
    """The outputs of one set of queries.

    The lists run over the supervised layers, the best one last. Each can be empty, or have a length
    of its own.

    Attributes:
        logits: (B, Q, K) of every layer; (B, Q, 1) where ``classes`` is set. Queries with masks of
            the other kinds than SCORE have (B, Q, K + 1), for a softmax whose last entry is "no
            object".
        masks: (B, Q, h, w) of every layer, of the kind ``mask_kind``.
        boxes: (B, Q, 4) of every layer: cx, cy, w, h, normalised to the valid image.
        classes: (B, Q) long, contiguous class ids, where these are known beforehand: of stuff
            queries, and of selected pairs of query and class.
        query_index: (B, Q) long, the query of the decoder that an output belongs to; None where
            they are in the decoder's order.
        mask_kind: LOGIT, SCORE or SOFTMAX.
    """

    logits: list[Tensor] = field(default_factory=list)
    masks: list[Tensor] = field(default_factory=list)
    boxes: list[Tensor] = field(default_factory=list)
    classes: Tensor | None = None
    query_index: Tensor | None = None
    mask_kind: str = LOGIT

    @property
    def num_layers(self) -> int:
        """Of the longest list."""
        return max(len(self.logits), len(self.masks), len(self.boxes))

    def of_image(self, image: int, layer: int = -1) -> LayerOutputs:
        """Outputs of one image in a layer, by default the last one of each list."""
        lists = self.logits, self.boxes, self.masks
        return LayerOutputs(*(x[layer][image] if x else None for x in lists))


@dataclass(frozen=True)
class SegmenterOutputs:
    """What ``Segmenter.predict`` returns.

    Attributes:
        queries: the outputs of each set of queries by name, e.g. "things" and "stuff".
        pixel_logits: (B, K, h, w) of every supervised layer, the best one last; of the baselines
            that classify every pixel, and in the training of MaX-DeepLab, there with "void" last.
        pixel_embedding: (B, D, h, w) of unit length at every pixel, in the training of MaX-DeepLab.
    """

    queries: dict[str, QueryOutputs] = field(default_factory=dict)
    pixel_logits: list[Tensor] = field(default_factory=list)
    pixel_embedding: Tensor | None = None


for _record in (QueryOutputs, SegmenterOutputs):
    torch.export.register_dataclass(_record)
