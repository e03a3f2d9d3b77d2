"""Which decoders a config and its classes call for."""

from torch import nn

from ...classes import Classes
from .classifying_mask_decoder import ClassifyingMaskDecoder
from .learned_queries import LearnedQueries
from .location_decoder import LocationDecoder
from .mask_decoder import MaskDecoder, mask_decoder_options
from .stuff_decoder import StuffDecoder


def build_decoders(cfg, layout: Classes) -> dict[str, nn.Module | None]:
    """Location decoder and mask decoder of the matched queries, and stuff decoder, by these names.

    Matched queries are for things, without query decoupling for all classes. A kind without
    classes has no decoders.
    """
    node = cfg.MODEL.PSFORMER
    decoupled = node.QUERY_DECOUPLING
    num_matched = layout.num_things if decoupled else layout.num_things + layout.num_stuff
    location_decoder = thing_mask_decoder = stuff_decoder = None
    if num_matched:
        location_decoder = _location_decoder(cfg, num_matched)
        thing_mask_decoder = _mask_decoder(node, num_matched)
    if decoupled and layout.num_stuff:
        stuff_decoder = StuffDecoder(cfg, layout.num_stuff)
    return {
        "location_decoder": location_decoder,
        "thing_mask_decoder": thing_mask_decoder,
        "stuff_decoder": stuff_decoder,
    }


def _location_decoder(cfg, num_classes: int) -> nn.Module:
    node = cfg.MODEL.PSFORMER
    if node.LOCATION_SUPERVISION == "none":
        return LearnedQueries(cfg)
    return LocationDecoder(cfg, num_classes if node.CLASSIFY == "location" else 0)


def _mask_decoder(node, num_classes: int) -> MaskDecoder:
    options = mask_decoder_options(node, node.THING_MASK_LAYERS)
    if node.CLASSIFY == "location":
        return MaskDecoder(**options)
    return ClassifyingMaskDecoder(num_classes=num_classes, class_prior=node.CLASS_PRIOR, **options)
