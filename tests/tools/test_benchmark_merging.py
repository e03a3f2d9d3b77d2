"""The benchmark of merging compares mergings that give the same map."""

import argparse

import pytest
import torch
from benchmarks import merging
from benchmarks.pipelines import run_stages
from d2_psformer.modeling.merging import MaskWiseMerging


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    merging.add_options(parser)
    return parser.parse_args([*arguments, "--no-memory"])


@pytest.fixture(autouse=True)
def _same_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_rows_belong_together(capsys, monkeypatch):
    monkeypatch.delenv("PSFORMER_REFERENCE", raising=False)
    chosen = options("--cases", "few segments", "--sizes", "427x640")
    chosen.rounds = 1
    rows = merging.measure(chosen)
    plain, ours = rows
    assert (plain["masks"], ours["masks"]) == (merging.PLAIN, merging.OURS)
    assert plain["segments"] == ours["segments"] == 10  # six things, four regions
    for row in rows:
        assert row["speed-up"] == pytest.approx(plain["ms"] / row["ms"])
        assert sum(row["stages"].values()) == pytest.approx(row["ms"])
    assert "few segments" in capsys.readouterr().out


def test_the_reference_is_a_case_where_it_is_at_hand(reference):
    chosen = options("--reference", str(reference))
    names = merging._golden_cases(chosen.reference)
    assert {"merge_case0", "merge_case1", "merge_case2"} <= set(names)
    contestants = {
        name: stages(merging._case(names[0], "427x640", chosen)[1])
        for name, stages in merging.CONTESTANTS.items()
    }
    candidates, _ = merging._case(names[0], "427x640", chosen)
    assert merging._check_equal(names[0], contestants, candidates) > 1


@pytest.mark.parametrize("scene", merging.SCENES)
def test_scenes_have_as_many_segments_as_they_say(scene):
    things, stuff, rivals = merging.SCENES[scene]
    masks, scores = merging.make_candidates(things, stuff, rivals)
    assert masks.shape == (153, *merging.CELLS) and masks.min() >= 0
    sure = scores >= 0.5
    assert sure[:100].sum() == things * rivals and sure[100:].sum() == stuff
    candidates = merging.Candidates(masks, scores, torch.arange(153) < 100, (200, 300))
    _, (id_map, winners) = run_stages(merging.our_stages(MaskWiseMerging()), candidates)
    assert 0.6 * (things + stuff) <= len(winners) <= things + stuff
    assert (id_map > 0).float().mean() > 0.7


def test_another_map_is_told():
    masks, scores = merging.make_candidates(*merging.SCENES["few segments"])
    candidates = merging.Candidates(masks, scores, torch.arange(153) < 100, (100, 150))
    contestants = {
        threshold: merging.our_stages(MaskWiseMerging(mask_threshold=threshold))
        for threshold in (0.5, 0.6)
    }
    with pytest.raises(ValueError, match="The maps of 'mine' differ"):
        merging._check_equal("mine", contestants, candidates)
