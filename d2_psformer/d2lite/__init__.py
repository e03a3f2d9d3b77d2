"""A small runtime with Detectron2's names and behaviour, for machines without Detectron2.

Module paths, arguments, dict keys and config keys are those of Detectron2, so that a config, a
data set registration, a mapper or a model moves between the two unchanged. It stands on fvcore,
iopath, pycocotools and torch, and imports nothing else of this project.
"""
