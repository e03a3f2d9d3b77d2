"""Box and mask AP of ``instances`` against COCO's annotation, or a derived one."""

import hashlib
import io
import logging
import os
from contextlib import redirect_stdout

from ..classes import Classes, unique_names
from ..d2.data import DatasetCatalog, MetadataCatalog
from ..d2.evaluation import COCOEvaluator
from ..d2.structures import Instances
from ..d2.utils import comm
from ..data.class_alignment import align_categories
from ..data.coco_instances import read_instance_json, usable_outline
from ..data.panoptic_json import check_categories
from ..data.panoptic_labels import instances_from_panoptic
from ..data.panoptic_png import read_panoptic_png
from ..data.registration import register_records
from ..utils.files import safe_name, write_json
from ..utils.progress import progress

logger = logging.getLogger(__name__)


class InstanceEvaluator(COCOEvaluator):
    """Detectron2's ``COCOEvaluator`` for things anywhere among the contiguous class ids.

    The ground truth is the data set's instance annotation (``json_file``) where it has one; for
    panoptic data it is else derived from the PNGs once and kept in ``output_dir``. Derived masks do
    not overlap, so their AP differs from one measured with overlapping annotation.

    Args:
        dataset_name: a registered data set in Detectron2's panoptic or COCO instance format.
        output_dir: where the derived annotation is kept.
    """

    def __init__(self, dataset_name: str, output_dir: str):
        metadata = MetadataCatalog.get(dataset_name)
        classes = Classes.from_metadata(metadata)
        ids = {i: classes.category_ids[i] for i in classes.thing_ids}
        categories = [{"id": ids[i], "name": classes.names[i]} for i in ids]
        json_file = metadata.get("json_file", None)
        if json_file and os.path.isfile(json_file):
            ids = dict(zip(ids, _ids_in_file(json_file, categories), strict=True))
        else:
            json_file = _derived_json(dataset_name, categories, ids, output_dir)
        # The parent expects things to be 0...T-1, and names in the order of the category ids.
        things = sorted(ids, key=ids.__getitem__)
        self._thing_index = {contiguous: index for index, contiguous in enumerate(things)}
        name = register_records(
            f"{dataset_name}_instance_evaluation",
            [],
            thing_classes=unique_names([classes.names[i] for i in things], map(ids.get, things)),
            thing_dataset_id_to_contiguous_id={ids[i]: k for i, k in self._thing_index.items()},
            json_file=json_file,
        )
        super().__init__(name, tasks=("bbox", "segm"))
        # Detectron2 has a faster AP of its own, which differs slightly from pycocotools'.
        self._use_fast_impl = False
        self._leave_out_empty_outlines()

    def _leave_out_empty_outlines(self) -> None:
        """They are no ground truth in training either, and pycocotools cannot draw them."""
        content = self._coco_api.dataset
        for annotation in content.setdefault("annotations", []):
            annotation["segmentation"] = usable_outline(annotation["segmentation"])
            annotation.setdefault("iscrowd", 0)  # pycocotools asks for it, files may not
        content["annotations"] = [a for a in content["annotations"] if a["segmentation"]]
        with redirect_stdout(io.StringIO()):
            self._coco_api.createIndex()

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Keep the things of ``outputs[i]["instances"]``, their classes renumbered, as RLE."""
        super().process(inputs, [{"instances": self._things(o["instances"])} for o in outputs])

    def _things(self, instances: Instances) -> Instances:
        instances = instances.to("cpu")
        index = [self._thing_index.get(c, -1) for c in instances.pred_classes.tolist()]
        instances.pred_classes = instances.pred_classes.new_tensor(index)
        return instances[instances.pred_classes >= 0]


def _ids_in_file(json_file: str, categories: list[dict]) -> list[int | str]:
    """The ids that the classes of ``categories`` have in an instance annotation, by their names."""
    where = f"'{json_file}'"
    in_file, ours = (
        [{"isthing": 1, **c} for c in side]
        for side in (read_instance_json(json_file)["categories"], categories)
    )
    check_categories(in_file, where)
    aligned = align_categories(in_file, ours, where, "the panoptic annotation")
    return [category["id"] for category in aligned]


def derive_instances(records: list[dict], thing_ids: dict[int, int | str]) -> dict:
    """COCO instance annotation of panoptic records, masks as RLE, without its categories.

    Args:
        records: dataset dicts with ``file_name``, ``image_id``, ``pan_seg_file_name`` and
            ``segments_info``.
        thing_ids: contiguous id -> the data set's id, of the things alone.
    """
    images, annotations = [], []
    for record in progress(records, desc="Instances from panoptic", unit="image"):
        ids = read_panoptic_png(record["pan_seg_file_name"])
        image_id, (height, width) = record["image_id"], ids.shape
        image = {"id": image_id, "file_name": record["file_name"]}
        images.append({**image, "height": height, "width": width})
        segments = [  # other loaders may leave out isthing
            {**segment, "isthing": segment["category_id"] in thing_ids}
            for segment in record["segments_info"]
        ]
        for instance in instances_from_panoptic(ids, segments):
            category_id = thing_ids[instance["category_id"]]
            number = len(annotations) + 1  # pycocotools takes 0 for "no match"
            annotations.append(
                {**instance, "id": number, "image_id": image_id, "category_id": category_id}
            )
    return {"info": {}, "images": images, "annotations": annotations}


def _derived_json(dataset_name, categories, thing_ids, output_dir: str) -> str:
    """Path of the derived annotation; its name has a hash of the panoptic JSON that it is from."""
    with open(MetadataCatalog.get(dataset_name).panoptic_json, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()[:12]
    path = os.path.join(output_dir, f"{safe_name(dataset_name)}_instances_{digest}.json")

    def derive_once() -> None:
        if not os.path.isfile(path):
            logger.info("Deriving the instances of '%s' from its panoptic PNGs", dataset_name)
            content = derive_instances(DatasetCatalog.get(dataset_name), thing_ids)
            write_json(path, {**content, "categories": categories})

    if comm.is_main_process():
        derive_once()
    comm.synchronize()
    derive_once()  # does something only on a machine with a disk of its own
    return path
