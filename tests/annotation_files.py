"""Writers of the formats that convert-data reads, made without the package, for its tests.

A scene is a grid of cells, each void (0) or of object 1, 2, ...; a cell has CELL by CELL pixels, so
that outlines of whole cells are drawn exactly.
"""

import base64
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import yaml
from PIL import Image
from pycocotools import mask as mask_util

CELL = 4
CLASSES = ("cat", "dog", "sky")  # the last one is stuff
STUFF = ["sky"]
Scene = tuple[np.ndarray, dict[int, str]]  # cells, and the class of each object


def pixels(cells: np.ndarray) -> np.ndarray:
    return cells.repeat(CELL, 0).repeat(CELL, 1)


def rectangles(cells: np.ndarray, number: int) -> list[list[float]]:
    """x0, y0, x1, y1 of every cell of an object."""
    return [
        [x * CELL, y * CELL, (x + 1) * CELL, (y + 1) * CELL]
        for y, x in np.argwhere(cells == number).tolist()
    ]


def corners(x0, y0, x1, y1) -> list[list[float]]:
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


def write_images(root: Path, scenes: list[Scene]) -> None:
    (root / "images").mkdir(parents=True)
    for number, (cells, _) in enumerate(scenes):
        height, width = cells.shape
        image = Image.new("RGB", (width * CELL, height * CELL), (90, 90, 90))
        image.save(root / "images" / f"{number}.jpg")


def write_labelme(root: Path, scenes: list[Scene], kind: str = "polygon") -> Path:
    for number, (cells, classes) in enumerate(scenes):
        ids, shapes = pixels(cells), []
        for k, label in classes.items():
            if kind == "mask":
                y, x = np.argwhere(ids == k).T.astype(int)
                box = [[int(x.min()), int(y.min())], [int(x.max()), int(y.max())]]
                part = ids[y.min() : y.max() + 1, x.min() : x.max() + 1] == k
                file = io.BytesIO()
                Image.fromarray(part).save(file, format="PNG")
                mask = base64.b64encode(file.getvalue()).decode()
                shapes.append({"label": label, "points": box, "shape_type": kind, "mask": mask})
                continue
            for x0, y0, x1, y1 in rectangles(cells, k):
                points = [[x0, y0], [x1, y1]] if kind == "rectangle" else corners(x0, y0, x1, y1)
                shapes.append({"label": label, "points": points, "shape_type": kind, "group_id": k})
        height, width = ids.shape
        content = {"imagePath": f"..\\images\\{number}.jpg", "imageData": None, "shapes": shapes}
        content |= {"imageHeight": height, "imageWidth": width}
        path = root / "labelme" / f"{number}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    return root / "labelme"


def write_cvat(root: Path, scenes: list[Scene], kind: str = "polygon") -> Path:
    document = ElementTree.Element("annotations")
    labels = ElementTree.SubElement(document, "meta")
    for tag in ("task", "labels"):
        labels = ElementTree.SubElement(labels, tag)
    for name in CLASSES:
        label = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(label, "name").text = name
        ElementTree.SubElement(label, "color").text = "#102030"
    for number, (cells, classes) in enumerate(scenes):
        ids = pixels(cells)
        size = {"height": str(ids.shape[0]), "width": str(ids.shape[1])}
        image = ElementTree.SubElement(document, "image", name=f"images/{number}.jpg", **size)
        for k, label in classes.items():
            common = {"label": label, "z_order": "0"}
            if kind == "mask":
                flat = (ids == k).ravel()
                edges = np.flatnonzero(np.diff(flat)) + 1
                runs = np.diff([0, *edges, flat.size]).tolist()
                runs = [0, *runs] if flat[0] else runs
                values = {"rle": ", ".join(map(str, runs)), "left": "0", "top": "0", **size}
                ElementTree.SubElement(image, "mask", **common, **values)
                continue
            for x0, y0, x1, y1 in rectangles(cells, k):
                values = {"xtl": str(x0), "ytl": str(y0), "xbr": str(x1), "ybr": str(y1)}
                if kind == "polygon":
                    points = ";".join(f"{x},{y}" for x, y in corners(x0, y0, x1, y1))
                    values = {"points": points}
                ElementTree.SubElement(image, kind, **common, **values, group_id=str(k))
    path = root / "annotations.xml"
    ElementTree.ElementTree(document).write(path)
    return path


def write_yolo(root: Path, scenes: list[Scene]) -> Path:
    """One object per cell: the format has no objects of several parts."""
    (root / "labels").mkdir()
    for number, (cells, classes) in enumerate(scenes):
        height, width = pixels(cells).shape
        lines = []
        for k, label in classes.items():
            for rectangle in rectangles(cells, k):
                shares = [v for x, y in corners(*rectangle) for v in (x / width, y / height)]
                lines.append(" ".join(map(str, [CLASSES.index(label), *shares])))
        (root / "labels" / f"{number}.txt").write_text("\n".join(lines))
    path = root / "yolo" / "data.yaml"
    path.parent.mkdir()
    content = {"path": "..", "train": "images", "names": dict(enumerate(CLASSES))}
    path.write_text(yaml.safe_dump(content))
    return path


def write_coco(root: Path, scenes: list[Scene], kind: str = "polygon") -> Path:
    images, annotations = [], []
    for number, (cells, classes) in enumerate(scenes):
        ids = pixels(cells)
        size = [int(n) for n in ids.shape]
        image = {"id": 10 + number, "file_name": f"{number}.jpg"}
        images.append({**image, "height": size[0], "width": size[1]})
        for k, label in classes.items():
            code = mask_util.encode(np.asfortranarray(ids == k).astype(np.uint8))
            outline = {"size": size, "counts": code["counts"].decode()}
            if kind == "polygon":
                outline = [np.ravel(corners(*r)).tolist() for r in rectangles(cells, k)]
            if kind == "uncompressed":
                flat = (ids == k).ravel(order="F")
                edges = np.flatnonzero(np.diff(flat)) + 1
                counts = np.diff([0, *edges, flat.size]).tolist()
                outline["counts"] = [0, *counts] if flat[0] else counts
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 10 + number,
                    "category_id": 5 + CLASSES.index(label),
                    "segmentation": outline,
                    "bbox": mask_util.toBbox(code).tolist(),
                    "area": int(mask_util.area(code)),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": 5 + i, "name": name} for i, name in enumerate(CLASSES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    path = root / "instances.json"
    path.write_text(json.dumps(content))
    return path


def write_panoptic(root: Path, scenes: list[Scene]) -> Path:
    images, annotations = [], []
    (root / "panoptic").mkdir()
    for number, (cells, classes) in enumerate(scenes):
        ids = pixels(cells) * 70_000
        rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
        Image.fromarray(rgb).save(root / "panoptic" / f"{number}.png")
        image = {"id": number, "file_name": f"{number}.jpg"}
        images.append({**image, "height": ids.shape[0], "width": ids.shape[1]})
        segments = [
            {"id": k * 70_000, "category_id": 5 + CLASSES.index(label), "iscrowd": 0}
            for k, label in classes.items()
        ]
        annotations.append(
            {"image_id": number, "file_name": f"{number}.png", "segments_info": segments}
        )
    categories = [
        {"id": 5 + i, "name": name, "isthing": int(name not in STUFF)}
        for i, name in enumerate(CLASSES)
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    path = root / "panoptic.json"
    path.write_text(json.dumps(content))
    return path


def write_instance_ids(root: Path, scenes: list[Scene]) -> Path:
    """Cityscapes' numbers, with classes from 7 on, as PNGs of 16 bits."""
    (root / "ids").mkdir()
    for number, (cells, classes) in enumerate(scenes):
        table = np.zeros(max([0, *classes]) + 1, np.uint16)
        for k, label in classes.items():
            value = 7 + CLASSES.index(label)
            table[k] = value if label in STUFF else 1000 * value + k
        Image.fromarray(table[pixels(cells)]).save(root / "ids" / f"{number}.png")
    return root / "ids"


def write_mapillary(root: Path, scenes: list[Scene]) -> Path:
    """16-bit PNGs of 256 label + number, in which 0 is a label, and the config with the labels."""
    names = ["bird", *CLASSES, "unlabeled"]
    labels = [
        {
            "name": f"void--{name}" if name == "unlabeled" else f"object--{name}",
            "readable": name,
            "instances": name not in (*STUFF, "unlabeled"),
            "evaluate": name != "unlabeled",
            "color": [10 * k, 20, 30],
        }
        for k, name in enumerate(names)
    ]
    (root / "config_v1.2.json").write_text(json.dumps({"labels": labels}))
    (root / "instances").mkdir()
    for number, (cells, classes) in enumerate(scenes):
        table = np.full(max([0, *classes]) + 1, 256 * (len(names) - 1), np.uint16)
        for k, label in classes.items():
            table[k] = 256 * names.index(label) + (0 if label in STUFF else k)
        Image.fromarray(table[pixels(cells)]).save(root / "instances" / f"{number}.png")
    return root / "instances"


def write_semantic(root: Path, scenes: list[Scene]) -> Path:
    (root / "labels_semantic").mkdir()
    for number, (cells, classes) in enumerate(scenes):
        table = np.full(max([0, *classes]) + 1, 255, np.uint8)
        for k, label in classes.items():
            table[k] = CLASSES.index(label)
        Image.fromarray(table[pixels(cells)]).save(root / "labels_semantic" / f"{number}.png")
    return root / "labels_semantic"
