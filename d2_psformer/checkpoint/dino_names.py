"""Parameter names of DINOv2 and DINOv3 in Hugging Face's ``transformers`` -> those of timm."""

from torch import Tensor

from .huggingface import packed
from .renaming import Parts, Renames, rename_part

DINOV2_BLOCK: Renames = [
    (r"\.attention\.(output\.dense|o_proj|out_proj)\.", ".attn.proj."),
    (r"\.attention\.attention\.(q|k|v)(uery|ey|alue)\.", r".attn.\1_proj."),
    (r"\.attention\.", ".attn."),
    (r"\.layer_scale(\d)\.lambda1", r".ls\1.gamma"),
]
DINOV3_BLOCK: Renames = [
    (r"\.attention\.o_proj\.", ".attn.proj."),
    (r"\.attention\.([qv])_proj\.bias", r".attn.\1_bias"),
    (r"\.attention\.", ".attn."),
    (r"\.layer_scale(\d)\.lambda1", r".gamma_\1"),
    (r"\.mlp\.up_proj\.", ".mlp.fc1."),
    (r"\.mlp\.down_proj\.", ".mlp.fc2."),
]
# Positions and register tokens get the names of DINOv2's authors, which timm converts.
_DINOV2: Parts = {
    "embeddings.(cls_token|mask_token|register_tokens)": (r"\1", []),
    "embeddings.position_embeddings": ("pos_embed", []),
    "embeddings.patch_embeddings.projection": ("patch_embed.proj", []),
    "encoder.layer": ("blocks", DINOV2_BLOCK),
    "layernorm": ("norm", []),
}
_DINOV3: Parts = {
    "embeddings.cls_token": ("cls_token", []),
    "embeddings.register_tokens": ("reg_token", []),
    "embeddings.patch_embeddings": ("patch_embed.proj", []),
    r"(model\.)?layer": ("blocks", DINOV3_BLOCK),
    "norm": ("norm", []),
}


def timm_names(content: dict[str, Tensor]) -> dict[str, Tensor]:
    """The parameters of a ViT by timm's names; those of other files as they are.

    Raises:
        UserError: queries, keys or values are missing.
    """
    for sign, parts in (
        ("embeddings.patch_embeddings.projection.weight", _DINOV2),
        ("embeddings.patch_embeddings.weight", _DINOV3),
    ):
        if sign in content:
            renamed = {rename_part(key, parts): value for key, value in content.items()}
            renamed.pop(None, None)
            return packed(renamed)
    return content
