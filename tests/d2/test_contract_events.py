"""Event storage and writers, the same on both backends."""

import pytest
import torch

from d2_psformer.d2.utils import (
    EventStorage,
    EventWriter,
    TensorboardXWriter,
    get_event_storage,
)


def test_the_innermost_storage_is_in_use():
    with pytest.raises(AssertionError):
        get_event_storage()
    with EventStorage() as outer:
        assert get_event_storage() is outer
        with EventStorage(5) as inner:
            assert get_event_storage() is inner
            assert inner.iter == 5
        assert get_event_storage() is outer
    with pytest.raises(AssertionError):
        get_event_storage()


def test_scalars_have_iterations():
    storage = EventStorage(start_iter=3)
    storage.put_scalar("a", torch.tensor(2.0))
    storage.step()
    storage.put_scalars(a=4, b=1)
    storage.put_scalar("c", 7, cur_iter=9)
    assert storage.latest() == {"a": (4.0, 4), "b": (1.0, 4), "c": (7.0, 9)}
    assert storage.history("a").values() == [(2.0, 3), (4.0, 4)]
    storage.iter = 20
    assert storage.iter == 20
    with pytest.raises(KeyError, match="missing"):
        storage.history("missing")


def test_noisy_scalars_are_smoothed_over_iterations():
    storage = EventStorage()
    for value in range(10):
        storage.put_scalar("noisy", value)
        storage.put_scalar("exact", value, smoothing_hint=False)
        if value % 2:
            storage.put_scalar("rare", value)
        storage.step()
    assert storage.smoothing_hints() == {"noisy": True, "exact": False, "rare": True}
    assert storage.latest_with_smoothing_hint(4) == {
        "noisy": (7.5, 9),
        "exact": (9, 9),
        "rare": (8, 9),
    }
    with pytest.raises(AssertionError, match="exact"):
        storage.put_scalar("exact", 1)


def test_tensorboard_holds_scalars(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    writer = TensorboardXWriter(str(tmp_path))
    writer.close()
    assert not list(tmp_path.iterdir())

    with EventStorage(3) as storage:
        storage.put_scalar("loss", 2)
        writer = TensorboardXWriter(str(tmp_path))
        writer.write()
        storage.step()
        storage.put_scalar("loss", 6)
        writer.write()
        writer.close()
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(3, 2), (4, 4)]


def test_writers_are_event_writers(tmp_path):
    assert issubclass(TensorboardXWriter, EventWriter)
    with pytest.raises(NotImplementedError):
        EventWriter().write()
    EventWriter().close()
