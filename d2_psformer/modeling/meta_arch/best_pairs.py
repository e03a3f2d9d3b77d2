"""The pairs of query and class that get a mask in inference."""

from torch import Tensor

from ..outputs import SCORE, QueryOutputs
from ..transformer_decoder.mask_attention import select_queries


def best_pairs(logits: Tensor, topk: int, class_ids: Tensor) -> QueryOutputs:
    """The best (query, class) pairs of every image, without masks.

    Args:
        logits: (B, Q, K).
        class_ids: (K,) contiguous ids.

    Returns:
        logits (B, topk, 1), classes and query_index (B, topk), the best first; fewer than ``topk``
        where there are fewer pairs.
    """
    flat = logits.flatten(1)
    best, pairs = flat.topk(min(topk, flat.shape[1]))
    num_classes = logits.shape[-1]
    return QueryOutputs(
        logits=[best[..., None]],
        classes=class_ids[pairs % num_classes],
        query_index=pairs // num_classes,
        mask_kind=SCORE,
    )


def one_mask_per_query(masks: Tensor, query_index: Tensor) -> Tensor:
    """Masks (B, N, h, w) with the first one of a query in place of its further ones.

    Where a query is decoded once for each of its classes, its masks differ by rounding, and merging
    by the highest mask would scatter the pixels among them.

    Args:
        query_index: (B, N) long.
    """
    first = (query_index[:, :, None] == query_index[:, None]).int().argmax(-1)
    return select_queries(masks.flatten(2), first).view_as(masks)
