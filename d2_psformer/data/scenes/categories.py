"""The classes of the generated scenes: things differ by outline, stuff by texture."""


def _category(id: int, name: str, isthing: int, color: tuple[int, int, int]) -> dict:
    return {"id": id, "name": name, "isthing": isthing, "color": list(color)}


# Ids have gaps on purpose: code that takes dataset ids for contiguous ones must fail here.
SCENES_CATEGORIES: list[dict] = [
    _category(1, "disc", 1, (220, 60, 60)),
    _category(3, "square", 1, (60, 120, 220)),
    _category(4, "triangle", 1, (250, 170, 40)),
    _category(7, "star", 1, (250, 230, 80)),
    _category(8, "ring", 1, (170, 70, 200)),
    _category(12, "cross", 1, (60, 190, 160)),
    _category(21, "sky", 0, (150, 205, 245)),
    _category(22, "water", 0, (40, 90, 140)),
    _category(25, "grass", 0, (110, 160, 60)),
    _category(27, "brick", 0, (150, 80, 60)),
    _category(30, "pebbles", 0, (150, 150, 150)),
]

CATEGORY_ID: dict[str, int] = {c["name"]: c["id"] for c in SCENES_CATEGORIES}
THING_NAMES: tuple[str, ...] = tuple(c["name"] for c in SCENES_CATEGORIES if c["isthing"])
STUFF_NAMES: tuple[str, ...] = tuple(c["name"] for c in SCENES_CATEGORIES if not c["isthing"])
