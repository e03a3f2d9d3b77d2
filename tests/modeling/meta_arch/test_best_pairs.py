"""The pairs of query and class that get a mask in inference."""

import torch

from d2_psformer.modeling.meta_arch.best_pairs import best_pairs, one_mask_per_query
from d2_psformer.modeling.outputs import SCORE


def test_pairs_come_by_their_score():
    logits = torch.tensor([[[0.1, 3.0], [2.0, -1.0], [0.2, 2.5]], [[9.0, 8.0], [7.0, 6.0], [5, 4]]])
    pairs = best_pairs(logits, 3, torch.tensor([7, 4]))
    assert pairs.query_index.tolist() == [[0, 2, 1], [0, 0, 1]]
    assert pairs.classes.tolist() == [[4, 4, 7], [7, 4, 7]]
    torch.testing.assert_close(
        pairs.logits[0], torch.tensor([[[3.0], [2.5], [2.0]], [[9.0], [8.0], [7.0]]])
    )
    assert pairs.mask_kind == SCORE


def test_fewer_pairs_than_asked_for():
    pairs = best_pairs(torch.randn(2, 3, 4), 100, torch.arange(4))
    assert pairs.classes.shape == (2, 12)
    for queries, classes in zip(pairs.query_index, pairs.classes, strict=True):
        assert len(set(zip(queries.tolist(), classes.tolist(), strict=True))) == 12


def test_all_pairs_of_a_query_have_its_first_mask():
    masks = torch.rand(2, 4, 3, 5)
    queries = torch.tensor([[6, 2, 6, 6], [0, 1, 1, 0]])
    expected = torch.stack([masks[0, [0, 1, 0, 0]], masks[1, [0, 1, 1, 0]]])
    assert torch.equal(one_mask_per_query(masks, queries), expected)
