"""Any timm feature extractor as a Detectron2 backbone."""

import timm
import torch
import torch.nn.functional as F
from timm.layers import LayerNorm2d, convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...d2.config import configurable
from ...d2.layers import ShapeSpec
from ...d2.modeling import BACKBONE_REGISTRY, Backbone
from ...d2.utils import comm
from ...utils.checks import check_fraction
from ...utils.errors import UserError, check_known
from .frozen_norms import freeze_batch_norms
from .swin_windows import use_whole_windows
from .timm_plan import (
    STRIDES,
    divisibility,
    feature_index,
    feature_plan,
    puts_channels_last,
    unused_parameters,
)

# Families whose stages end without a norm -> eps of the norm that detectors add to each.
_OUTPUT_NORM_EPS = {"swin": 1e-5, "convnext": 1e-6}


@BACKBONE_REGISTRY.register()
class TimmBackbone(Backbone):
    """Features named by stride: res2 (4), res3 (8), res4 (16), res5 (32).

    Building never loads weights: see :mod:`d2_psformer.checkpoint`. As in their authors' detectors,
    Swin and ConvNeXt get a LayerNorm on every output level, and Swin's input is padded to its patch
    size.
    """

    @configurable
    def __init__(
        self,
        *,
        name: str,
        out_features: list[str],
        freeze_at: int = 0,
        norm: str = "BN",
        drop_path: float = 0.0,
        checkpointing: bool = False,
    ):
        """
        Args:
            name: timm model name.
            out_features: any of res2 … res5; stages beyond the last are not built.
            freeze_at: Detectron2's meaning: 1 freezes the stem, 2 also the first stage, and so on;
                0 and less freeze nothing.
            norm: what the batch norms do: "BN", "FrozenBN" (they keep their statistics and have no
                gradient) or "SyncBN" (their statistics are those of all processes' images).
            drop_path: stochastic depth rate, from 0 to below 1.
            checkpointing: compute the stages' activations again in the backward pass. Batch norms
                that are not frozen then see every batch twice.

        Raises:
            UserError: the rate or norm is another one, timm has no such model, it has no feature of
                a given stride, it works on images of one size only, or its stages cannot be frozen
                or checkpointed, or have no stochastic depth.
        """
        super().__init__()
        check_fraction(**{"MODEL.BACKBONE.DROP_PATH": drop_path})
        check_known("MODEL.BACKBONE.NORM", norm, ("BN", "FrozenBN", "SyncBN"))
        self.name, self.out_features = name, list(out_features)
        self.is_swin = name.startswith("swin")
        options = {"drop_path_rate": drop_path} if drop_path else {}
        if self.is_swin:
            # any size of image, and shifted windows even where one window would cover the map
            options |= {"strict_img_size": False, "always_partition": True}
        plan = feature_plan(name, options)
        indices = feature_index(plan, name, self.out_features)
        self.body = timm.create_model(
            name, pretrained=False, features_only=True, out_indices=indices, **options
        )
        use_whole_windows(self.body)
        # One process has nothing to exchange, and torch's synchronised norms refuse a CPU.
        if norm == "SyncBN" and comm.get_world_size() > 1:
            self.body = convert_sync_batchnorm(self.body)
        if checkpointing:
            self._checkpoint_stages()
        # Convolutions are 15 to 25 % faster in this layout on a CPU, and tensor cores want it too.
        self.body.to(memory_format=torch.channels_last)
        self.puts_channels_last = puts_channels_last(self.body)
        self.channels = self.body.feature_info.channels()
        self.output_norms = nn.ModuleList(_output_norm(name, c) for c in self.channels)
        # Swin's own padding makes every stride round up.
        self.divisibility = 0 if self.is_swin else divisibility(name, plan)
        self._frozen = self._frozen_stages(freeze_at, plan) if freeze_at > 0 else []
        if norm == "FrozenBN":
            freeze_batch_norms(self.body)
            self._frozen += [m for m in self.body.modules() if isinstance(m, _BatchNorm)]
        self._switch_gradients_off(plan)
        self.train()

    @classmethod
    def from_config(cls, cfg, input_shape):
        node = cfg.MODEL.BACKBONE
        return {
            "name": node.TIMM_NAME,
            "out_features": cfg.MODEL.PIXEL_DECODER.IN_FEATURES,
            "freeze_at": node.FREEZE_AT,
            "norm": node.NORM,
            "drop_path": node.DROP_PATH,
            "checkpointing": "backbone" in cfg.MODEL.CHECKPOINTING,
        }

    @property
    def size_divisibility(self) -> int:
        """0 where every stride rounds up, so that any canvas will do; else at least 32."""
        return self.divisibility

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {
            f: ShapeSpec(channels=c, stride=STRIDES[f])
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

    def _switch_gradients_off(self, plan: nn.Module) -> None:
        """Of what is frozen, and of what has none: several processes refuse to train that."""
        for module in self._frozen:
            module.requires_grad_(False)
        strides = [shape.stride for shape in self.output_shape().values()]
        unused = unused_parameters(plan, strides, self.divisibility)
        for name, parameter in self.body.named_parameters():
            if name in unused:
                parameter.requires_grad_(False)

    def _checkpoint_stages(self) -> None:
        try:
            self.body.set_grad_checkpointing(True)
        except (AssertionError, AttributeError) as error:
            raise UserError(
                f"timm model '{self.name}' cannot compute its stages twice: "
                "take 'backbone' out of MODEL.CHECKPOINTING."
            ) from error

    def _frozen_stages(self, freeze_at: int, plan: nn.Module) -> list[nn.Module]:
        """What lies before the end of stage ``freeze_at - 1``, the stem being stage 0."""
        ends = {info["reduction"]: info["module"] for info in plan.feature_info}
        stages = [ends[stride] for stride in STRIDES.values() if stride in ends]
        ways = {
            n: _modules_until(self.body, stages[max(n - 2, 0)], including=n > 1)
            for n in range(1, len(stages) + 2)
        }
        frozen = ways.get(freeze_at)
        if frozen is None:
            possible = ", ".join(str(n) for n, modules in ways.items() if modules is not None)
            raise UserError(
                f"MODEL.BACKBONE.FREEZE_AT is {freeze_at}, but timm model '{self.name}' has no "
                f"separate stage for that: set it to one of 0 (nothing), {possible}."
            )
        return frozen


def _output_norm(name: str, channels: int) -> nn.Module:
    eps = next((e for prefix, e in _OUTPUT_NORM_EPS.items() if name.startswith(prefix)), None)
    return nn.Identity() if eps is None else LayerNorm2d(channels, eps=eps)


def _modules_until(root: nn.Module, path: str, including: bool) -> list[nn.Module] | None:
    """Children of any depth that come before the module at ``path``; None if it is not there."""
    modules = []
    path = path if path.partition(".")[0] in dict(root.named_children()) else path.replace(".", "_")
    for part in path.split("."):
        names = [name for name, _ in root.named_children()]
        if part not in names:
            return None
        modules += [root.get_submodule(name) for name in names[: names.index(part)]]
        root = root.get_submodule(part)
    return [*modules, root] if including else modules
