"""A small runtime with Detectron2's names and behaviour, for machines without Detectron2.

It holds the parts of Detectron2 that a training script for a model of one's own needs, under the
same module paths, with the same arguments, dict keys and results:

* ``config``: the key tree with all defaults, safe YAML files, ``@configurable``;
* ``data``: catalogs (COCO 2017 and Cityscapes panoptic are registered), readers of COCO's formats,
  ``detection_utils``, augmentations;
* ``modeling``, ``layers``, ``structures``: registries, ``ShapeSpec``, boxes, masks, instances;
* ``engine``, ``solver``, ``checkpoint``: ``TrainerBase``, hooks, launching; schedules; weights;
* ``evaluation``: the loop, ``COCOEvaluator`` and ``SemSegEvaluator``;
* ``utils``: communication, events, logging.

It holds no models, no optimizers, no mappers and no loaders. It stands on torch, fvcore, iopath,
pycocotools, OpenCV and Pillow, and imports only the error class of the rest of the package.
Mistakes of users raise :class:`.errors.UserError` with one sentence.
"""
