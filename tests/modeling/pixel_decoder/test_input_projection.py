"""Backbone features to one width."""

import pytest
import torch

from d2_psformer.modeling.pixel_decoder.input_projection import InputProjection


def test_coarser_levels_are_made_from_the_raw_last_feature():
    projection = InputProjection([8, 12], dim=16, num_levels=4)
    levels = projection([torch.randn(2, 8, 9, 11), torch.randn(2, 12, 5, 6)])
    assert [tuple(x.shape) for x in levels] == [
        (2, 16, 9, 11),
        (2, 16, 5, 6),
        (2, 16, 3, 3),
        (2, 16, 2, 2),
    ]
    assert projection.extra[0][0].weight.shape == (16, 12, 3, 3)
    assert projection.extra[1][0].weight.shape == (16, 16, 3, 3)
    assert all(conv.bias is None for conv, _ in [*projection.projections, *projection.extra])


@pytest.mark.parametrize(("dim", "groups"), [(256, 32), (64, 32), (32, 8), (24, 8)])
def test_group_norm_fits_the_width(dim, groups):
    projection = InputProjection([4], dim, 1)
    assert projection.projections[0][1].num_groups == groups
    assert projection([torch.ones(1, 4, 1, 1)])[0].shape == (1, dim, 1, 1)


def test_no_extra_levels():
    projection = InputProjection([4, 8], 16, 2)
    assert len(projection([torch.ones(1, 4, 2, 2), torch.ones(1, 8, 1, 1)])) == 2
