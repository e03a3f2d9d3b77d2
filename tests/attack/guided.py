"""Fuzzing that is guided by the code which it reaches: ``guided.py RUNS``, with atheris.

Each reader starts from a sound file. An error that is not one sentence ends it, with a traceback.
"""

import json
import logging
import pickle
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import atheris
import yaml

with atheris.instrument_imports(include=["d2_psformer"]):
    import annotation_files as write
    import test_foreign_annotation as foreign
    import test_instance_values as instances
    import test_panoptic_values as panoptic
    import test_pickles as pickles
    from attack_files import changed_pickle, opcodes
    from attack_values import changed, forget, one_sentence, try_all
    from test_config_attack import TINY, nested
    from test_converters import SMALL

    from d2_psformer.checkpoint import read_checkpoint
    from d2_psformer.d2.data import DatasetCatalog
    from d2_psformer.data import register_from_config
    from d2_psformer.engine import load_config

Reader = tuple[Path, Callable[[], None]]  # a sound file, and what reads it


def panoptic_json(folder: Path) -> Reader:
    panoptic.write_files(folder)
    path = folder / "p.json"
    shutil.copyfile(folder / "sound.json", path)
    return path, lambda: try_all(panoptic.attempts(folder), folder, panoptic.NAME)


def instance_json(folder: Path) -> Reader:
    instances.write_instances(folder)
    path = folder / "instances.json"
    return path, lambda: try_all(instances.attempts(folder), folder, instances.NAME)


def converted(kind: str) -> Callable[[Path], Reader]:
    def reader(folder: Path) -> Reader:
        writer, name = (foreign.JSONS | foreign.TEXTS)[kind]
        write.write_images(folder, [foreign.SCENE])
        source = writer(folder, [foreign.SCENE])
        return folder / name, lambda: foreign.attempt(kind, folder, source)

    return reader


def zoo_pickle(folder: Path) -> Reader:
    path = folder / "a.pkl"
    path.write_bytes(pickle.dumps({"model": pickles.ARRAYS, "__author__": "me"}, 2))
    return path, lambda: pickles.read(path)


def tensorflow(folder: Path) -> Reader:
    for name in (SMALL.name, "small.data-00000-of-00001"):
        shutil.copyfile(SMALL.with_name(name), folder / name)
    path = folder / SMALL.name

    def read() -> None:
        with one_sentence(folder / "small"):
            read_checkpoint(str(path))

    return path, read


def config(folder: Path) -> Reader:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(nested(TINY)))

    def read() -> None:
        with one_sentence(""):  # it names a key
            load_config(str(path))

    return path, read


def data_yaml(folder: Path) -> Reader:
    path, known = folder / "data.yaml", DatasetCatalog.list()
    entries = [["a", "images", "p.json", "png"], ["b", "images", "masks", ["sky", "sea"]]]
    content = {"DATASETS": {"REGISTER": entries, "TRAIN": ["a"], "TEST": ["b"]}}
    path.write_text(yaml.safe_dump(content))

    def read() -> None:
        with one_sentence(""), suppress(FileNotFoundError):  # it lists files
            register_from_config(load_config(None, [], str(path)))
        forget(*set(DatasetCatalog.list()) - set(known))

    return path, read


READERS = (
    panoptic_json,
    instance_json,
    *map(converted, ("coco-instances", "labelme", "cvat", "yolo")),
    zoo_pickle,
    tensorflow,
    config,
    data_yaml,
)
CHANGES = {
    ".json": lambda data, seed: json.dumps(changed(json.loads(data), seed)[0]).encode(),
    ".yaml": lambda data, seed: yaml.safe_dump(changed(yaml.safe_load(data), seed)[0]).encode(),
    ".pkl": lambda data, seed: changed_pickle(opcodes(data), seed),
}


def fuzz(reader: Callable[[Path], Reader], folder: Path, runs: int) -> None:
    """Ends the process."""
    path, read = reader(folder)
    (corpus := folder / "corpus").mkdir()
    shutil.copy2(path, corpus)

    def attack(data: bytes) -> None:
        path.write_bytes(data)
        read()

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        """Values half the time, where they can be read; else bytes."""
        if path.suffix in CHANGES and random.Random(seed).random() < 0.5:
            with suppress(Exception):
                return CHANGES[path.suffix](data, seed)[:max_size]
        return atheris.Mutate(data, max_size)

    options = [f"-runs={runs}", "-max_len=8000", "-timeout=60", "-rss_limit_mb=8000"]
    arguments = [sys.argv[0], *options, "-verbosity=0", f"-artifact_prefix={folder}/", str(corpus)]
    atheris.Setup(arguments, attack, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    for reader in READERS:
        folder = Path(tempfile.mkdtemp())
        arguments = reader, folder, int(sys.argv[1])
        process = get_context("fork").Process(target=fuzz, args=arguments)
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(f"What has failed is in '{folder}'.")
        shutil.rmtree(folder)
