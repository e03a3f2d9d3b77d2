"""Two processes learn and find what one does, without a disk that they share."""

import json
import logging
import os
import tempfile
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from small_models import (
    EOMT,
    MASK2FORMER,
    MASKFORMER,
    MAX_DEEPLAB,
    PER_PIXEL,
    TINY_BACKBONE,
    VARIANTS,
    VERSION_1,
    fill_by_rule,
    sample,
    small_model,
)

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data import register_from_config
from d2_psformer.data.scenes import ScenesSpec, write_scenes
from d2_psformer.engine import evaluate, load_config
from d2_psformer.engine.checkpointer import AtomicCheckpointer
from d2_psformer.engine.distributed import distribute, share_buffers
from d2_psformer.engine.train_step import TrainStep
from d2_psformer.utils.errors import UserError

ROOT = Path(__file__).parents[2]
GLOBAL = {"MODEL.LOSS.CLASS_NORMALIZER": "global"}
FAMILIES = {
    "panoptic segformer": TINY_BACKBONE,
    "version 1": TINY_BACKBONE | VERSION_1,
    "maskformer": TINY_BACKBONE | MASKFORMER | GLOBAL,
    "mask2former": TINY_BACKBONE | MASK2FORMER | GLOBAL,
    "eomt": EOMT | GLOBAL | {"MODEL.EOMT.MASK_ANNEALING": []},  # draws random numbers
    "per pixel": TINY_BACKBONE | PER_PIXEL,
    "per pixel plus": TINY_BACKBONE | VARIANTS["per pixel plus"],
    "max-deeplab": MAX_DEEPLAB | {"MODEL.BACKBONE.NORM": "FrozenBN"},
    # whose losses differ
    "maskformer, local": TINY_BACKBONE | MASKFORMER,
}
EQUAL = list(FAMILIES)[:-1]
SAMPLES = [sample(32, 64, classes, len(classes)) for classes in ([0, 3], [1, 2, 2, 3, 4])]
# The second is left out, by the process that has no NaN too.
NAN = SAMPLES[0] | {"image": torch.full(SAMPLES[0]["image"].shape, torch.nan)}
BATCHES = [SAMPLES, [NAN, SAMPLES[1]], SAMPLES]
DATA_SETS = ("three_images", "one_image", "no_truth")


def same_points(shape: tuple[int, ...], device) -> torch.Tensor:
    """Uniform numbers that do not depend on how many masks there are."""
    return torch.rand(shape[1:], generator=torch.Generator().manual_seed(0)).expand(shape)


def train(overrides: dict, rank: int = 0, processes: int = 1) -> dict:
    """A few steps of one process; in all, they see the same images."""
    model = fill_by_rule(small_model(**overrides))
    if overrides.get("MODEL.META_ARCHITECTURE") in ("Mask2Former", "EoMT"):
        criterion = model.criterion
        criterion.masks = replace(criterion.masks, rand=same_points)
        criterion.matcher.masks = replace(criterion.matcher.masks, rand=same_points)
    step = TrainStep(
        distribute(model), torch.optim.SGD(model.parameters(), lr=1e-3), max_bad_steps=1
    )
    losses = [step([batch[rank::processes]], i) for i, batch in enumerate(BATCHES)]
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    return {
        "losses": losses,
        "gradients": {name: p.grad for name, p in learned.items()},
        "weights": {name: p.detach() for name, p in learned.items()},
    }


def scenes_cfg(scenes: Path, output: Path):
    register = [
        ["three_images", scenes / "val", scenes / "panoptic_val.json", scenes / "panoptic_val"],
        ["one_image", scenes / "train", scenes / "panoptic_train.json", scenes / "panoptic_train"],
        ["no_truth", scenes / "val", scenes / "no_truth.json", ""],
    ]
    switches = [f"MODEL.POSTPROCESSING.{kind}_ON" for kind in ("SEMANTIC", "INSTANCE")]
    options = {
        "DATASETS.REGISTER": [[str(part) for part in entry] for entry in register],
        "DATASETS.TEST": DATA_SETS,
        "DATALOADER.NUM_WORKERS": 0,
        "MODEL.WEIGHTS": str(ROOT / "demo" / "psformer_scenes.pth"),
        "OUTPUT_DIR": str(output),
        **dict.fromkeys(switches, True),
    }
    pairs = [str(part) for pair in options.items() for part in pair]
    cfg = load_config(str(ROOT / "configs" / "scenes" / "demo.yaml"), pairs)
    register_from_config(cfg)
    return cfg


def buffers_of_rank(rank: int) -> torch.Tensor:
    """What the running mean is after the processes have shared it."""
    norm = torch.nn.BatchNorm2d(2)
    norm.running_mean += rank + 1
    share_buffers(norm)
    return norm.running_mean


def batch_norm_warnings(norm: str) -> list[str]:
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logging.getLogger("d2_psformer.engine.distributed").addHandler(handler)
    distribute(small_model(**TINY_BACKBONE | {"MODEL.BACKBONE.NORM": norm}))
    return messages


def resume_error(folder: Path, rank: int) -> str:
    """What is said when the first machine alone has a checkpoint."""
    folder.mkdir()
    if rank == 0:
        (folder / "last_checkpoint").write_text("model_0000009.pth")
    checkpointer = AtomicCheckpointer(torch.nn.Linear(1, 1), str(folder), metadata={})
    with pytest.raises(UserError) as caught:
        checkpointer.resume_or_load("", resume=True)
    return str(caught.value)


def work(rank: int, folder: Path, scenes: Path) -> None:
    torch.set_num_threads(1)
    own = folder / f"machine{rank}"
    (own / "tmp").mkdir(parents=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(own / "tmp")
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = {name: train(overrides, rank, 2) for name, overrides in FAMILIES.items()}
    found["warnings"] = [str(w.message) for w in caught if "buffers" in str(w.message)]
    found["buffers"] = buffers_of_rank(rank)
    found["batch norms"] = {norm: batch_norm_warnings(norm) for norm in ("BN", "FrozenBN")}
    found["resume"] = resume_error(own / "resumed", rank)
    found["results"] = evaluate(scenes_cfg(scenes, own / "output"))
    torch.save(found, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "scenes"
    write_scenes(root, ScenesSpec(train=1, val=3))
    content = json.loads((root / "panoptic_val.json").read_text())
    (root / "no_truth.json").write_text(json.dumps({"images": content["images"]}))
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory, scenes):
    folder = tmp_path_factory.mktemp("two")
    mp.spawn(work, (folder, scenes), nprocs=2)
    return folder


@pytest.fixture(scope="module")
def both(folder):
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in (0, 1)]


@pytest.fixture(scope="module")
def alone(scenes, tmp_path_factory):
    """The results of one process, and its OUTPUT_DIR."""
    output = tmp_path_factory.mktemp("alone")
    yield evaluate(scenes_cfg(scenes, output)), output
    for name in DATA_SETS:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def mean_losses(parts: list[dict]) -> list[dict[str, float]]:
    """Of every step, the mean over the processes; the norm is of gradients that are the same."""
    return [
        {name: sum(step[name] for step in steps) / len(steps) for name in steps[0]}
        for steps in zip(*(part["losses"] for part in parts), strict=True)
    ]


@pytest.mark.parametrize("family", EQUAL)
def test_two_processes_learn_what_one_does(both, family):
    expected = train(FAMILIES[family])
    found = [process[family] for process in both]
    assert expected["losses"][1] == {"bad_steps": 1}
    for ours, theirs in zip(mean_losses(found), expected["losses"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    for part in found:
        torch.testing.assert_close(part["gradients"], expected["gradients"], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(part["weights"], expected["weights"], rtol=1e-5, atol=1e-6)


def test_the_class_loss_is_each_process_own_mean_by_default(both):
    local, together = (
        mean_losses([process[name] for process in both])[0]
        for name in ("maskformer, local", "maskformer")
    )
    assert abs(local["loss_ce"] - together["loss_ce"]) > 1e-3
    assert local["loss_dice"] == together["loss_dice"]


def test_processes_evaluate_with_the_buffers_that_are_saved(both):
    assert [process["buffers"].tolist() for process in both] == [[1.0, 1.0]] * 2


def test_a_checkpoint_that_one_machine_lacks_is_refused(both):
    assert all("(model_0000009.pth, none): copy it" in process["resume"] for process in both)


def test_batch_norms_of_each_process_are_warned_of(both):
    assert all(process["warnings"] == [] for process in both)
    found = both[0]["batch norms"]
    assert found["FrozenBN"] == []
    assert len(found["BN"]) == 1 and "MODEL.BACKBONE.NORM to 'SyncBN'" in found["BN"][0]


def test_two_processes_find_the_figures_of_one(both, alone):
    """Shards of two images and one, and of one and none."""
    expected, _ = alone
    results, nothing = (process["results"] for process in both)
    assert nothing == {}
    assert list(results) == list(expected) == list(DATA_SETS)
    assert results["no_truth"] == expected["no_truth"] == {}
    for name in DATA_SETS[:2]:
        assert list(results[name]) == ["panoptic_seg", "sem_seg", "bbox", "segm"]
        assert results[name]["panoptic_seg"]["PQ"] > 20
        for task, figures in results[name].items():
            assert figures == pytest.approx(expected[name][task], abs=1e-9, nan_ok=True)


def test_the_submission_is_whole_without_a_shared_disk(folder, both, alone):
    _, output = alone
    name = Path("inference", "no_truth", "panoptic_no_truth_results.zip")
    contents = []
    for path in (output / name, folder / "machine0" / "output" / name):
        with zipfile.ZipFile(path) as archive:
            contents.append({file: archive.read(file) for file in archive.namelist()})
    assert contents[0] == contents[1] and len(contents[0]) == 4
    assert not (folder / "machine1" / "output" / name).exists()
