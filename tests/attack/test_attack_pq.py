"""Panoptic quality of random maps: its bounds, what changes nothing, and panopticapi."""

import numpy as np
import pytest
from attack_cases import cases
from hypothesis import given
from hypothesis import strategies as st
from panoptic_pairs import CATEGORIES, count, panoptic_pair

from d2_psformer.data import write_panoptic_png

PAIRS = st.lists(panoptic_pair(), min_size=1, max_size=4)


@given(pairs=PAIRS)
@cases(60)
def test_equal_to_panopticapi(pairs, tmp_path_factory):
    api = pytest.importorskip("panopticapi.evaluation", reason="panopticapi is not installed")
    folder = tmp_path_factory.mktemp("pq")
    annotations = []
    for image_id, sides in enumerate(pairs):
        entries = []
        for side, (ids, segments) in zip(("gt", "pred"), sides, strict=True):
            name = f"{side}{image_id}.png"
            write_panoptic_png(folder / name, ids)
            copies = [dict(segment) for segment in segments]  # it writes areas into them
            entries.append({"image_id": image_id, "file_name": name, "segments_info": copies})
        annotations.append(tuple(entries))
    categories = {c["id"]: c for c in CATEGORIES}
    stat = api.pq_compute_single_core(0, annotations, folder, folder, categories)
    results = count(pairs).results()
    for category_id in categories:
        ours, theirs = results["per_class"][category_id], stat[category_id]
        assert [ours[k] for k in ("tp", "fp", "fn")] == [theirs.tp, theirs.fp, theirs.fn]
        assert ours["iou"] == pytest.approx(theirs.iou, abs=1e-9)
    for split, isthing in (("All", None), ("Things", True), ("Stuff", False)):
        if results[split]["n"]:  # panopticapi divides by zero
            averages, _ = stat.pq_average(categories, isthing)
            assert results[split] == pytest.approx(averages, abs=1e-9)


@given(pairs=PAIRS)
@cases(30)
def test_bounds(pairs):
    """Every figure is a part of one; what is found and what is missed is all that there is."""
    results = count(pairs).results()
    wanted = [s for (_, truth), _ in pairs for s in truth if not s["iscrowd"]]
    for category_id, figures in results["per_class"].items():
        occurs = sum(s["category_id"] == category_id for s in wanted)
        assert figures["tp"] + figures["fn"] == occurs
        assert 0.5 * figures["tp"] <= figures["iou"] <= figures["tp"]
    for split in ("All", "Things", "Stuff"):
        figures = results[split]
        if figures["n"]:
            assert 0 <= figures["pq"] <= min(figures["sq"], figures["rq"]) <= 1
            assert max(figures["sq"], figures["rq"]) <= 1


@given(pairs=PAIRS, data=st.data())
@cases(30)
def test_ids_and_orders_do_not_matter(pairs, data):
    def renamed(ids, segments):
        old = [segment["id"] for segment in segments]
        sizes = {"min_size": len(old), "max_size": len(old)}
        new = data.draw(st.lists(st.integers(1, 2**24 - 1), unique=True, **sizes))
        table = dict(zip(old, new, strict=True)) | {0: 0}
        # of several crowds of one class panopticapi takes the last
        crowds = any(segment["iscrowd"] for segment in segments)
        shuffled = segments if crowds else data.draw(st.permutations(segments))
        copies = [{**segment, "id": table[segment["id"]]} for segment in shuffled]
        return np.vectorize(table.get, otypes=[np.int64])(ids), copies

    others = [tuple(renamed(*side) for side in pair) for pair in data.draw(st.permutations(pairs))]
    found, expected = count(others).results(), count(pairs).results()
    for split in ("All", "Things", "Stuff"):
        assert found[split] == pytest.approx(expected[split], nan_ok=True)
