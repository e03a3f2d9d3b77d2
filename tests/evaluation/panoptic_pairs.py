"""Random ground truth and predictions for the tests of panoptic quality."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from d2_psformer.evaluation import PanopticQuality

# The category 50 never occurs.
CATEGORIES = [{"id": i, "name": str(i), "isthing": int(i % 2)} for i in (1, 4, 7, 8, 50)]


@st.composite
def panoptic_pair(draw, crowds=True):
    """Ground truth and prediction, small, with void and ids of up to 24 bits, often overlapping."""
    labels = st.integers(0, 4)
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))
    gt = draw(hnp.arrays(np.int64, shape, elements=labels))
    noise = draw(hnp.arrays(np.int64, shape, elements=labels))
    keep = draw(hnp.arrays(bool, shape, fill=st.just(True)))
    classes = draw(st.lists(st.sampled_from([1, 4, 7, 8]), min_size=5, max_size=5))
    crowd = draw(st.lists(st.booleans(), min_size=5, max_size=5)) if crowds else [False] * 5
    pair = []
    for labels_map, iscrowd in ((gt, crowd), (np.where(keep, gt, noise), [False] * 5)):
        new_ids = draw(st.lists(st.integers(1, 2**24 - 1), min_size=4, max_size=4, unique=True))
        ids = np.array([0, *new_ids])
        segments = [
            {
                "id": int(ids[k]),
                "category_id": classes[k],
                "iscrowd": int(iscrowd[k]),
                "area": int((labels_map == k).sum()),
            }
            for k in np.unique(labels_map)
            if k
        ]
        pair.append((ids[labels_map], segments))
    return pair


def count(pairs):
    quality = PanopticQuality(CATEGORIES)
    for image_id, (gt, pred) in enumerate(pairs):
        quality.add(image_id, *gt, *pred)
    return quality
