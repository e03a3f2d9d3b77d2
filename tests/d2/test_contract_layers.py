"""Shape records, the same on both backends."""

from d2_psformer.d2.layers import ShapeSpec


def test_shape_spec():
    spec = ShapeSpec(channels=3, stride=4)
    assert (spec.channels, spec.height, spec.width, spec.stride) == (3, None, None, 4)
    assert spec == ShapeSpec(3, None, None, 4)
