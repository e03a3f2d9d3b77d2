"""COCO's submission files for panoptic segmentation: one zip of a JSON and a folder of PNGs."""

import itertools
import logging
import os
import zipfile
from pathlib import Path

from ..classes import Classes
from ..d2.data import DatasetCatalog, MetadataCatalog
from ..d2.evaluation import DatasetEvaluator
from ..d2.utils import comm
from ..data.panoptic_png import write_panoptic_png
from ..utils.errors import UserError
from ..utils.files import atomic_write, comparable_name, safe_name, write_json
from ..utils.progress import progress
from ..utils.wording import counted
from .panoptic_evaluator import with_dataset_ids

logger = logging.getLogger(__name__)

_PNGS_AT_ONCE = 64  # of one process, in memory


class SubmissionWriter(DatasetEvaluator):
    """Writes predictions instead of judging them, for data whose ground truth is kept elsewhere.

    In ``output_dir`` it leaves ``panoptic_<data set>_results.json``, the folder of the same name
    with one PNG per image, and both in ``panoptic_<data set>_results.zip``. The first process gets
    the PNGs of the others through the process group, so that no shared disk is needed.

    Args:
        dataset_name: a registered data set.
        output_dir: made if it is missing.
        classes: those of the predictions; by default those of the data set.

    Raises:
        UserError: two images would share one PNG.
    """

    def __init__(self, dataset_name: str, output_dir: str, classes: Classes | None = None):
        classes = classes or Classes.from_metadata(MetadataCatalog.get(dataset_name))
        self._category_ids = classes.category_ids
        self._stem = os.path.join(output_dir, safe_name(f"panoptic_{dataset_name}_results"))
        first: dict[str, dict] = {}
        for record in DatasetCatalog.get(dataset_name):
            other = first.setdefault(comparable_name(_png_name(record)), record)
            if other is not record:
                raise UserError(
                    f"Images {other['image_id']} and {record['image_id']} would both be written to "
                    f"'{_png_name(record)}': give their image files different names."
                )
        self.reset()

    def reset(self) -> None:
        self._annotations: list[dict] = []

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Write the PNG of each image and keep its JSON entry."""
        for sample, output in zip(inputs, outputs, strict=True):
            image_id = sample["image_id"]
            ids, segments_info = output["panoptic_seg"]
            name = _png_name(sample)
            segments = with_dataset_ids(segments_info, self._category_ids, image_id)
            write_panoptic_png(os.path.join(self._stem, name), ids.cpu().numpy())
            self._annotations.append(
                {"image_id": image_id, "file_name": name, "segments_info": segments}
            )

    def evaluate(self) -> dict:
        """Write the JSON and the zip in the main process; there are no figures."""
        comm.synchronize()
        parts = comm.gather(self._annotations)
        self._collect_pngs()
        if not comm.is_main_process():
            return {}
        annotations = sorted(itertools.chain(*parts), key=lambda a: a["file_name"])
        write_json(f"{self._stem}.json", {"annotations": annotations})
        folder = os.path.basename(self._stem)
        with atomic_write(f"{self._stem}.zip") as file, zipfile.ZipFile(file, "w") as archive:
            archive.write(f"{self._stem}.json", f"{folder}.json", zipfile.ZIP_DEFLATED)
            for annotation in progress(annotations, desc="Zip", unit="image"):
                name = annotation["file_name"]  # PNGs are compressed already
                archive.write(os.path.join(self._stem, name), f"{folder}/{name}")
        logger.info(
            "The predictions of %s are in %s.zip", counted(len(annotations), "image"), self._stem
        )
        return {}

    def _collect_pngs(self) -> None:
        """Write the PNGs of the other processes in the main one, a few at a time."""
        mine = [] if comm.is_main_process() else [a["file_name"] for a in self._annotations]
        for start in range(0, max(comm.all_gather(len(mine))), _PNGS_AT_ONCE):
            names = mine[start : start + _PNGS_AT_ONCE]
            pngs = {name: Path(self._stem, name).read_bytes() for name in names}
            for name, content in itertools.chain(*map(dict.items, comm.gather(pngs))):
                with atomic_write(os.path.join(self._stem, name)) as file:
                    file.write(content)


def _png_name(sample: dict) -> str:
    return os.path.splitext(os.path.basename(sample["file_name"]))[0] + ".png"
