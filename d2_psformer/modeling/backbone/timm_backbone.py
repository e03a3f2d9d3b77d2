"""Any timm feature extractor as a Detectron2 backbone."""

import math

import timm
import torch
import torch.nn.functional as F
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from ...d2.config import configurable
from ...d2.layers import ShapeSpec
from ...d2.modeling import BACKBONE_REGISTRY, Backbone
from .swin_windows import use_whole_windows

_STRIDES = {"res2": 4, "res3": 8, "res4": 16, "res5": 32}


@BACKBONE_REGISTRY.register()
class TimmBackbone(Backbone):
    """Features named by stride: res2 (4), res3 (8), res4 (16), res5 (32).

    Building never loads weights: see :mod:`d2_psformer.checkpoint`. Swin gets, as in the reference,
    the input padded to its patch size and a LayerNorm on every output level.
    """

    @configurable
    def __init__(
        self,
        *,
        name: str,
        out_features: list[str],
        freeze_at: int = 0,
        freeze_bn: bool = False,
        drop_path: float = 0.0,
        checkpointing: bool = False,
    ):
        """
        Args:
            name: timm model name.
            out_features: any of res2 … res5; stages beyond the last are not built.
            freeze_at: Detectron2's meaning: 1 freezes the stem, 2 also the first stage, and so on.
            freeze_bn: keep batch norms at their statistics and without gradient.
            drop_path: stochastic depth rate.
            checkpointing: compute the stages' activations again in the backward pass. Batch norms
                that are not frozen then see every batch twice.

        Raises:
            ValueError: timm has no such model, it has no feature of a wanted stride, or it is
                built in a way whose stages cannot be frozen or checkpointed.
        """
        super().__init__()
        self.name = name
        self.out_features = list(out_features)
        self.is_swin = name.startswith("swin")
        options = {"drop_path_rate": drop_path} if drop_path else {}
        if self.is_swin:
            # any size of image, and shifted windows even where one window would cover the map
            options |= {"strict_img_size": False, "always_partition": True}
        plan = _feature_plan(name, options)
        strides = [info["reduction"] for info in plan.feature_info]
        missing = [f for f in out_features if _STRIDES.get(f) not in strides]
        if missing:
            raise ValueError(
                f"timm model '{name}' has strides {strides}, none for {', '.join(missing)}; "
                "res2 … res5 stand for 4, 8, 16, 32."
            )
        indices = [strides.index(_STRIDES[f]) for f in out_features]
        self.body = timm.create_model(
            name, pretrained=False, features_only=True, out_indices=indices, **options
        )
        use_whole_windows(self.body)
        if checkpointing:
            self._checkpoint_stages()
        # Convolutions are 15 to 25 % faster in this layout on a CPU, and tensor cores want it too.
        self.body.to(memory_format=torch.channels_last)
        self.puts_channels_last = getattr(self.body, "output_fmt", "NCHW") == "NHWC"
        self.channels = self.body.feature_info.channels()
        self.output_norms = nn.ModuleList(
            LayerNorm2d(c, eps=1e-5) if self.is_swin else nn.Identity() for c in self.channels
        )
        # Swin's own padding makes every stride round up.
        self.divisibility = 0 if self.is_swin or _rounds_up(plan) else max(_STRIDES.values())
        self._frozen = self._frozen_stages(freeze_at, plan) if freeze_at else []
        if freeze_bn:
            self._frozen += [m for m in self.body.modules() if isinstance(m, nn.BatchNorm2d)]
        for module in self._frozen:
            module.requires_grad_(False)
        self.train()

    @classmethod
    def from_config(cls, cfg, input_shape):
        node = cfg.MODEL.BACKBONE
        return {
            "name": node.TIMM_NAME,
            "out_features": cfg.MODEL.PSFORMER.IN_FEATURES,
            "freeze_at": node.FREEZE_AT,
            "freeze_bn": node.FREEZE_BN,
            "drop_path": node.DROP_PATH,
            "checkpointing": "backbone" in cfg.MODEL.PSFORMER.CHECKPOINTING,
        }

    @property
    def size_divisibility(self) -> int:
        """0 where every stride rounds up, so that any canvas will do; else 32."""
        return self.divisibility

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {
            f: ShapeSpec(channels=c, stride=_STRIDES[f])
            for f, c in zip(self.out_features, self.channels, strict=True)
        }

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) normalised -> one (B, C, ceil(H / stride), ceil(W / stride)) a feature."""
        if self.is_swin:
            x = F.pad(x, (0, -x.shape[-1] % 4, 0, -x.shape[-2] % 4))
        maps = self.body(x.contiguous(memory_format=torch.channels_last))
        if self.puts_channels_last:
            maps = [y.permute(0, 3, 1, 2) for y in maps]
        maps = [norm(y) for norm, y in zip(self.output_norms, maps, strict=True)]
        return dict(zip(self.out_features, maps, strict=True))

    def train(self, mode: bool = True) -> "TimmBackbone":
        """Frozen stages and norms stay in evaluation mode: their statistics are fixed too."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def _checkpoint_stages(self) -> None:
        if not hasattr(self.body, "set_grad_checkpointing"):
            raise ValueError(
                f"timm model '{self.name}' cannot compute its stages twice: "
                "take 'backbone' out of MODEL.PSFORMER.CHECKPOINTING."
            )
        self.body.set_grad_checkpointing(True)

    def _frozen_stages(self, freeze_at: int, plan: nn.Module) -> list[nn.Module]:
        """What lies before the end of stage ``freeze_at - 1``, the stem being stage 0."""
        stages = [
            info["module"].replace(".", "_")
            for info in plan.feature_info
            if info["reduction"] in _STRIDES.values()
        ]
        children = dict(self.body.named_children())
        last = stages[max(freeze_at - 2, 0)] if freeze_at <= len(stages) + 1 else None
        if last not in children:
            raise ValueError(
                f"timm model '{self.name}' has no separate stage for MODEL.BACKBONE.FREEZE_AT "
                f"{freeze_at}: its parts are {', '.join(children)}. Set it to 0."
            )
        end = list(children).index(last) + (freeze_at > 1)
        return list(children.values())[:end]


def _feature_plan(name: str, options: dict) -> nn.Module:
    """The whole feature extractor without memory for weights."""
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('_', maxsplit=1)[0]}*")[:5]
        hint = f"; near it: {', '.join(near)}" if near else ""
        raise ValueError(f"timm has no model '{name}' (MODEL.BACKBONE.TIMM_NAME){hint}.")
    with torch.device("meta"):
        return timm.create_model(name, pretrained=False, features_only=True, **options)


def _rounds_up(plan: nn.Module) -> bool:
    """Whether odd sizes give ceil(size / stride) cells; not so for ConvNeXt and its like."""
    strides = plan.feature_info.reduction()
    side = 2 * max(strides) + 1
    try:
        maps = plan.eval()(torch.zeros(1, 3, side, side, device="meta"))
    except (AssertionError, RuntimeError):
        # HRNet and its like cannot add up the maps of an odd size at all
        return False
    return all(y.shape[-1] == math.ceil(side / s) for y, s in zip(maps, strides, strict=True))
