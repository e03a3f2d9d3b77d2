"""Generated scenes of COCO's size for the benchmarks that need a data set."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data import register_panoptic
from d2_psformer.data.scenes import ScenesSpec, write_scenes


@contextmanager
def generated_dataset(images: int, size: int) -> Iterator[str]:
    """Write and register scenes; gives the name of the data set. Both are gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        write_scenes(f"{folder}/scenes", ScenesSpec(train=0, val=images, size=size))
        name = f"benchmark at {folder}"
        files = ("val", "panoptic_val.json", "panoptic_val")
        register_panoptic(name, *(f"{folder}/scenes/{file}" for file in files))
        try:
            yield name
        finally:
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
