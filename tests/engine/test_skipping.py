"""Training images that cannot be read: an error, or replaced by the next and counted."""

import json

import pytest
from dummy_processes import assert_equal_weights, weights_of
from dummy_training import NUM_IMAGES, RecordingTrainer, dummy_cfg, dummy_mapper

from d2_psformer.engine.loader_worker import CarryingMapper
from d2_psformer.engine.sampler import SeededDataset
from d2_psformer.engine.skipping import SkippingDataset
from d2_psformer.utils.errors import CarriedError, UserError

SKIP = ("DATALOADER.ON_ERROR", "skip")


class Broken:
    """A mapper that cannot read some images."""

    def __init__(self, *ids: int):
        self.ids = ids

    def __call__(self, record: dict) -> dict:
        sample = dummy_mapper(record)
        if record["image_id"] in self.ids:
            raise UserError(f"Image '{record['file_name']}' cannot be decoded.")
        return sample


def train(folder, *opts, mapper, resume: bool = False) -> list[float]:
    trainer = RecordingTrainer(dummy_cfg(folder, *opts))
    trainer.mapper = mapper
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return trainer.losses


def test_by_default_it_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"Image '7\.jpg' cannot be decoded"):
        train(tmp_path, mapper=Broken(7))


def test_without_broken_images_nothing_changes(tmp_path):
    whole = train(tmp_path / "raise", mapper=Broken())
    assert train(tmp_path / "skip", *SKIP, mapper=Broken()) == whole


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, workers, caplog):
    options = (*SKIP, "DATALOADER.NUM_WORKERS", workers)
    losses = train(tmp_path / "whole", *options, mapper=Broken(3, 7))
    assert "Skipped image 2: Image '" in caplog.text
    train(tmp_path / "again", *options, mapper=Broken(3, 7))
    (tmp_path / "again" / "last_checkpoint").write_text("model_0000009.pth")
    again = train(tmp_path / "again", *options, mapper=Broken(3, 7), resume=True)
    assert again == losses[10:]
    assert_equal_weights(weights_of(tmp_path / "whole"), weights_of(tmp_path / "again"))
    for folder in ("whole", "again"):
        rows = (tmp_path / folder / "metrics.json").read_text().splitlines()
        assert json.loads(rows[-1])["skipped_images"] == 2


@pytest.mark.parametrize("broken", [(3, 7), range(NUM_IMAGES)])
def test_there_is_a_limit(tmp_path, broken):
    options = (*SKIP, "DATALOADER.MAX_SKIPPED", 1)
    with pytest.raises(UserError, match=r"Image '\d\.jpg' cannot be decoded"):
        train(tmp_path, *options, mapper=Broken(*broken))


def test_the_next_image_takes_the_place():
    items = [{"image_id": k, "file_name": f"{k}.jpg"} for k in range(4)]
    mapper = CarryingMapper(Broken(2, 3))
    data = SkippingDataset(items, mapper, seed=1, limit=2)
    found = data[50, 2]
    assert (found["image_id"], [*found["skipped_images"]]) == (0, ["2.jpg", "3.jpg"])
    same = SeededDataset(items, mapper, seed=1)[50, 0]
    assert (found["image"] == same["image"]).all()
    assert "skipped_images" not in data[50, 1]
    assert isinstance(SkippingDataset(items, mapper, seed=1, limit=1)[50, 2], CarriedError)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (
            ("DATALOADER.ON_ERROR", "ignore"),
            "DATALOADER.ON_ERROR is 'ignore': use one of 'raise', 'skip'",
        ),
        ((*SKIP, "DATALOADER.MAX_SKIPPED", -1), "DATALOADER.MAX_SKIPPED is -1"),
    ],
)
def test_wrong_settings(tmp_path, option, sentence):
    with pytest.raises(UserError, match=sentence):
        RecordingTrainer(dummy_cfg(tmp_path, *option))
