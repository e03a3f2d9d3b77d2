"""The card of one config: what its model is, how large, and the commands that use it."""

from ..model_zoo import get_weights_file

_COMMANDS = {
    "train": "psformer train --config {name}",
    "evaluate": "psformer evaluate --config {name} MODEL.WEIGHTS {weights}",
    "predict": "psformer predict photos/ --model {name} --weights {weights}",
}


def model_card(name: str, tasks: str) -> str:
    """Text of a few lines and a table of the model's parts; builds the model, without memory."""
    from tabulate import tabulate

    from ..engine.analysis import analyze, read_config

    cfg = read_config(name)
    size = _image_size(cfg)
    analysis = analyze(cfg, size)
    parts = [
        (part or "whole model", row["parameters"] / 1e6, row["flops"] / 1e9)
        for part in analysis.parts(depth=1)
        for row in [analysis.row(part)]
    ]
    titles = ["part", "parameters, M", f"GFLOPs at {size[0]}x{size[1]}"]
    weights = get_weights_file(name)
    commands = {
        verb: command.format(name=name, weights=weights or "MODEL.pth")
        for verb, command in _COMMANDS.items()
    }
    facts = {"model": name, "tasks": tasks, **_settings(cfg), "losses": _losses(analysis.model)}
    facts["weights"] = weights or "none in this package: docs/models.md names the official ones"
    return "\n\n".join(
        [
            tabulate(facts.items(), tablefmt="plain", disable_numparse=True),
            tabulate(parts, titles, "simple", floatfmt=".2f"),
            tabulate(commands.items(), tablefmt="plain"),
        ]
    )


def _image_size(cfg) -> tuple[int, int]:
    """Height and width of a 3:2 image as the config resizes it for inference, else 800x1200."""
    if cfg.INPUT.DEEPLAB2.ENABLED:
        return (cfg.INPUT.DEEPLAB2.SIZE,) * 2
    wide = min(3 * cfg.INPUT.MIN_SIZE_TEST // 2, cfg.INPUT.MAX_SIZE_TEST)
    return (2 * wide // 3, wide) if wide else (800, 1200)


def _losses(model) -> str:
    """The terms of all criteria with their weights."""
    criteria = [value for key, value in vars(model).items() if key.endswith("criterion")]
    terms = {term for criterion in criteria for term in getattr(criterion, "terms", (criterion,))}
    return ", ".join(sorted(f"{type(term).__name__} {term.weight:g}" for term in terms))


def _settings(cfg) -> dict[str, str]:
    """What a user asks first, under plain names."""
    backbone, solver = cfg.MODEL.BACKBONE, cfg.SOLVER
    of_timm = backbone.NAME in ("TimmBackbone", "PlainViT")
    name = backbone.TIMM_NAME if of_timm else backbone.NAME
    norm = "" if backbone.NAME == "PlainViT" else f", norm {backbone.NORM}"
    layers = {"decoder layers": str(cfg.MODEL.TRANSFORMER_DECODER.LAYERS)}
    if cfg.MODEL.META_ARCHITECTURE == "EoMT":
        layers = {"blocks with queries": str(cfg.MODEL.EOMT.QUERY_BLOCKS)}
    return {
        "architecture": cfg.MODEL.META_ARCHITECTURE,
        "backbone": f"{name}{norm}",
        "pretrained": backbone.PRETRAINED or backbone.WEIGHTS or "no",
        "classes of": ", ".join(cfg.DATASETS.TRAIN),
        "queries": str(cfg.MODEL.TRANSFORMER_DECODER.NUM_QUERIES),
        **layers,
        "schedule": f"{solver.MAX_ITER} iterations of {solver.IMS_PER_BATCH} images, "
        f"{solver.OPTIMIZER} {solver.BASE_LR:g}, {solver.LR_SCHEDULER_NAME}",
    }
