"""Keys that one architecture alone reads."""

from ..d2.config import CfgNode as CN


def add_psformer_keys(model: CN) -> None:
    node = model.PSFORMER = CN()
    # Mask decoder blocks before the final attention, for things and for stuff.
    node.THING_MASK_LAYERS = 4
    node.STUFF_MASK_LAYERS = 6
    # Stuff has queries of its own; else one set of queries is matched with all segments.
    node.QUERY_DECOUPLING = True
    # The best (query, class) pairs of things that get a mask in inference.
    node.TOPK = 100
    # Inference ends after this block of the mask decoders; 0: after the final attention.
    node.EXIT_AFTER = 0
    # Weight of the class loss of stuff.
    node.STUFF_CLASS_WEIGHT = 4.0
    # Class cost of the second matching, the one with masks.
    node.MASK_MATCH_CLASS_COST = 4.0
    # First reference points: "learned" (Deformable DETR) or "grid" (start on a regular grid).
    node.REFERENCE_INIT = "learned"
    # Class probability that every classifier starts from (-4.595 as a bias is 0.01).
    node.CLASS_PRIOR = 0.01
    # Side of the first predicted boxes as a fraction of the image (-2 as a bias is 0.12).
    node.BOX_SIZE_PRIOR = 0.12


def add_max_deeplab_keys(model: CN) -> None:
    # The queries are the memory's slots: their number, the heads and the hidden channels of the
    # memory's feed-forward layers stand in TRANSFORMER_DECODER, the channels of the heads of pixels
    # and of the embeddings in PIXEL_DECODER (DIM, MASK_DIM).
    node = model.MAX_DEEPLAB = CN()
    # "S" or "L".
    node.VARIANT = "S"
    # Ways up and down in the decoder before the last way up, L in the paper: 0 for S, 2 for L.
    node.DECODER_STACKS = 0
    # Factors on the channels at stride 2, and at the other strides.
    node.STEM_WIDTH = 1.0
    node.WIDTH = 1.0
    # Channels of the keys in dual-path layers at the end of the encoder (S 128, L 256), half of
    # them in the stage before, and so on.
    node.TRANSFORMER_WIDTH = 128
    # Stages with dual-path layers, decoder stages of their size included: [5] in S and [4, 5] in L;
    # [3, 4, 5] for stride 8 too.
    node.TRANSFORMER_STAGES = [5]
    # Attention that exists; the first reads the second, pixels (p) and memory (m). Without "p2p"
    # convolutions stand for axial attention.
    node.ATTENTION_PATHS = ["p2p", "p2m", "m2p", "m2m"]
    # Channels of the memory, and of what the heads get from it (S 256, L 512).
    node.MEMORY_DIM = 256
    node.FEATURE_DIM = 256
    # PQ-style loss: weight of the matched slots; the unmatched ones have the rest to 1, ...
    node.POSITIVE_SHARE = 0.75
    # ... times the share of their mask that lies on pixels without a class, "void_share" (the
    # authors' code), or 1, "constant" (the paper).
    node.NEGATIVE_WEIGHT = "void_share"
    # Of the similarity of embeddings, in the instance loss.
    node.TEMPERATURE = 0.3
    # Weight of the pixels of small things in the semantic loss, and how many pixels are not small.
    node.SMALL_THING_WEIGHT = 1.0
    node.SMALL_THING_AREA = 4096
    # The share of the pixels, the largest losses first, that these learn from: mask id, instance
    # and semantic loss.
    node.HARDEST_PIXELS = 1.0


def add_eomt_keys(model: CN) -> None:
    node = model.VIT = CN()
    # Side of the images that the learned positions of "PlainViT" are for, and of its patches,
    # pixels.
    node.IMAGE_SIZE = 640
    node.PATCH_SIZE = 16
    # In training, rotary positions (DINOv3) of a batch are multiplied with one random number
    # between 1 / this and this; 1: they stay as they are.
    node.ROTARY_RESCALE = 1.0
    # The number of queries stands in TRANSFORMER_DECODER.
    node = model.EOMT = CN()
    # Last blocks of the ViT that have the queries among their tokens.
    node.QUERY_BLOCKS = 4
    # [first, last iteration] of each of these blocks between which more and more queries, in the
    # end all, attend outside of their masks too; empty: all do from the start.
    node.MASK_ANNEALING = []
