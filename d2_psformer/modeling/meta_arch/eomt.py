"""EoMT (Kerssies et al., CVPR 2025, arXiv 2503.19108)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...classes import NO_OBJECT, Classes
from ...d2.config import configurable
from ...d2.modeling import META_ARCH_REGISTRY
from ...layers import MLP
from ...utils.checks import check_at_least, check_choice, check_fraction
from ...utils.errors import UserError
from ..criterion import SetCriterion, Targets
from ..outputs import QueryOutputs, SegmenterOutputs
from ..pixel_decoder import UpscaleBlock
from ..transformer_decoder import MaskAnnealing
from ..transformer_decoder.mask_heads import multiply
from .maskformer_losses import mask2former_criterion
from .preprocessing import ImageBatch
from .segmenter import Segmenter, shared_parts


@META_ARCH_REGISTRY.register()
class EoMT(Segmenter):
    """A plain ViT that has the queries among its tokens in the last blocks, and no decoder.

    In training, queries attend to the patches inside their masks alone, less and less often.
    """

    @configurable
    def __init__(
        self,
        *,
        num_classes: int,
        num_queries: int,
        query_blocks: int,
        annealing: MaskAnnealing,
        criterion: SetCriterion,
        **shared,
    ):
        """
        Args:
            num_classes: without "no object".
            query_blocks: last blocks that have the queries; ``annealing`` has a schedule for each.
            shared: arguments of :class:`Segmenter` but ``mask_stride``.
        """
        patch, dim = shared["backbone"].patch_size, shared["backbone"].channels
        doublings = max(1, int(math.log2(patch)) - 2)
        super().__init__(mask_stride=patch // 2**doublings, **shared)
        self.query_blocks = query_blocks
        self.query_embed = nn.Embedding(num_queries, dim)
        self.upscaling = nn.Sequential(*(UpscaleBlock(dim) for _ in range(doublings)))
        self.class_embed = nn.Linear(dim, num_classes + 1)
        self.mask_embed = MLP(dim, dim, dim, 3, activation=F.gelu)
        self.annealing = annealing
        self.criterion = criterion

    @classmethod
    def from_config(cls, cfg) -> dict:
        check_choice(("PlainViT",), **{"MODEL.BACKBONE.NAME": cfg.MODEL.BACKBONE.NAME})
        key = "MODEL.POSTPROCESSING.MASK_THRESHOLD"
        check_fraction(**{key: cfg.MODEL.POSTPROCESSING.MASK_THRESHOLD})
        shared, node = shared_parts(cfg, ("backbone",)), cfg.MODEL.EOMT
        blocks, queries = len(shared["backbone"].vit.blocks), node.QUERY_BLOCKS
        check_at_least(1, **{"MODEL.EOMT.QUERY_BLOCKS": queries})
        if queries > blocks or len(node.MASK_ANNEALING) not in (0, queries):
            raise UserError(
                f"MODEL.EOMT.QUERY_BLOCKS is {queries}: it must be at most the {blocks} blocks of "
                "the backbone, and MASK_ANNEALING must have one entry for each, or none."
            )
        return {
            **shared,
            "num_classes": shared["classes"].num_classes,
            "num_queries": cfg.MODEL.TRANSFORMER_DECODER.NUM_QUERIES,
            "query_blocks": queries,
            "annealing": MaskAnnealing(node.MASK_ANNEALING),
            "criterion": mask2former_criterion(cfg),
        }

    def predict(self, images: Tensor, padding: Tensor | None = None) -> SegmenterOutputs:
        """Classes and masks of all queries; those before each masked block too, which need them."""
        grid = tuple(side // self.backbone.patch_size for side in images.shape[-2:])
        tokens, rotary = self.backbone.embed(images)
        blocks = self.backbone.vit.blocks
        for block in blocks[: -self.query_blocks]:
            tokens = self.backbone.run(block, tokens, rotary)
        queries = self.query_embed.weight.expand(images.shape[0], -1, -1)
        tokens, rotary = self.backbone.insert(tokens, rotary, queries)
        outputs = QueryOutputs()
        for number, block in enumerate(blocks[-self.query_blocks :]):
            mask = None
            if self.annealing.is_masked(number, self.training):
                self._read(tokens, grid, outputs)
                cells = F.interpolate(outputs.masks[-1].detach(), grid, mode="bilinear")
                mask = self.backbone.closed(self.annealing(cells.flatten(2) <= 0, number))
            tokens = self.backbone.run(block, tokens, rotary, mask)
        self._read(tokens, grid, outputs)
        return SegmenterOutputs({"queries": outputs})

    def _read(self, tokens: Tensor, grid: tuple[int, int], outputs: QueryOutputs) -> None:
        """Append what the heads make of tokens: (B, Q, K + 1) and (B, Q, h, w)."""
        tokens = self.backbone.vit.norm(tokens)[:, self.backbone.prefix :]
        queries, patches = tokens.tensor_split([self.query_embed.num_embeddings], dim=1)
        features = self.upscaling(patches.mT.unflatten(2, grid))
        outputs.logits.append(self.class_embed(queries))
        outputs.masks.append(multiply(self.mask_embed(queries), features))

    def losses(self, images: ImageBatch, targets: list[Targets]) -> dict[str, Tensor]:
        self.annealing.update()
        return super().losses(images, targets)

    def class_rows(self, classes: Classes) -> dict[str, list[int]]:
        return {"class_embed": [*range(classes.num_classes), NO_OBJECT]}

    def compile_parts(self) -> None:
        """Run the network as a whole through torch.compile."""
        self.predict = torch.compile(self.predict, fullgraph=True)
