"""What losses are divided by, in one process and in several."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from small_targets import image_targets

from d2_psformer.modeling.criterion import CrossEntropyClass, mean_segments, total_segments
from d2_psformer.modeling.criterion.targets import MatchedTargets

BATCHES = [([[0, 1, 2, 3]], 4), ([[0, 1, 2, 3], [0]], 2.5), ([[], [3]], 1), ([[]], 1)]


@pytest.mark.parametrize(("batch", "mean"), BATCHES)
def test_mean_segments(batch, mean):
    """At least one, so that nothing is divided by zero."""
    assert mean_segments([image_targets(*classes) for classes in batch]).item() == mean


@pytest.mark.parametrize(("batch", "total"), [(b, max(sum(map(len, b)), 1)) for b, _ in BATCHES])
def test_total_segments(batch, total):
    assert total_segments([image_targets(*classes) for classes in batch]).item() == total


@pytest.mark.parametrize(("others", "mean"), [(5.0, 3.5), (0.0, 1.0)])
@pytest.mark.parametrize("count", [mean_segments, total_segments])
def test_segments_are_averaged_over_processes(monkeypatch, count, others, mean):
    """Two segments in one image here, ``others`` in another process."""
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", lambda count: count.add_(others))
    assert count([image_targets(0, 3)]).item() == mean


def class_loss(images: list[int], **options) -> torch.Tensor:
    """Of some of two images, with one and with three segments."""
    logits = torch.linspace(-3, 3, 2 * 5 * 4).sin().view(2, 5, 4)[images]
    targets = [[image_targets(0), image_targets(0, 1, 2)][image] for image in images]
    matches = [(torch.arange(len(t)), torch.arange(len(t))) for t in targets]
    matched = MatchedTargets.of(targets, matches)
    term = CrossEntropyClass(1.0, 1.0, **options)
    return term.loss(logits, matched) / term.divisor(logits, matched, 1.0)


def _in_process(rank: int, path: str, results) -> None:
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    results[rank] = torch.stack([class_loss([rank], global_weight=True), class_loss([rank])])
    results[2 + rank] = total_segments([[image_targets(0), image_targets(0, 1, 2)][rank]])
    dist.destroy_process_group()


def test_two_processes_learn_the_class_loss_of_one(tmp_path):
    """If they share the weights; the official code, and the default, divides by each one's own."""
    results = torch.zeros(4, 2).share_memory_()
    mp.spawn(_in_process, (str(tmp_path / "group"), results), nprocs=2)
    together, official = results[:2].mean(0)
    torch.testing.assert_close(together, class_loss([0, 1]))
    torch.testing.assert_close(official, (class_loss([0]) + class_loss([1])) / 2)
    assert abs(official - together) > 1e-3
    assert results[2:].unique().tolist() == [2]
