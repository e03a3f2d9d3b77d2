"""Copies of images: the same pixels, or the same picture resized or compressed anew."""

import hashlib
from collections import defaultdict
from dataclasses import dataclass

import cv2
import numpy as np

_SIDE = 16  # of thumbnails
_LARGEST_DIFFERENCE = 4  # mean of thumbnails' grey levels, of the same picture
_LEAST_CONTRAST = 6  # grey levels; pictures of one colour are all alike
_BANDS = 4
_CANDIDATES = 50  # that are compared for a band


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of an image to find its copies.

    Attributes:
        digest: of its size and pixels.
        bands: where the brightness rises, in four parts; a copy has at least one of them in common.
        thumbnail: uint8 (256,), grey.
    """

    digest: bytes
    bands: tuple[bytes, ...]
    thumbnail: np.ndarray


def fingerprint(pixels: np.ndarray) -> Fingerprint:
    """The fingerprint of an image, uint8 (H, W, 3), RGB."""
    digest = hashlib.blake2b(str(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels))
    small = cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    thumbnail = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    tiny = cv2.resize(pixels, (9, 9), interpolation=cv2.INTER_AREA).sum(axis=2, dtype=np.int32)
    rises = [tiny[:8, 1:] > tiny[:8, :-1], tiny[1:, :8] > tiny[:-1, :8]]
    bits = np.packbits(rises).tobytes()
    part = len(bits) // _BANDS
    bands = tuple(bits[k * part : (k + 1) * part] for k in range(_BANDS))
    is_flat = thumbnail.std() < _LEAST_CONTRAST
    return Fingerprint(digest.digest(), () if is_flat else bands, thumbnail.ravel())


class CopyIndex:
    """Finds the copies of images among those that were added."""

    def __init__(self):
        self._exact: dict[bytes, int] = {}
        self._bands: defaultdict[tuple[int, bytes], list[int]] = defaultdict(list)
        self._thumbnails: dict[int, np.ndarray] = {}

    def add(self, place: int, image: Fingerprint) -> None:
        self._exact.setdefault(image.digest, place)
        self._thumbnails[place] = image.thumbnail
        for key in enumerate(image.bands):
            if len(self._bands[key]) < _CANDIDATES:
                self._bands[key].append(place)

    def find(self, image: Fingerprint) -> tuple[int, bool] | None:
        """The place of an image that this one is a copy of, and whether all pixels are equal."""
        if image.digest in self._exact:
            return self._exact[image.digest], True
        places = sorted({p for key in enumerate(image.bands) for p in self._bands.get(key, ())})
        if not places:
            return None
        thumbnails = np.stack([self._thumbnails[p] for p in places]).astype(np.int16)
        differences = np.abs(thumbnails - image.thumbnail).mean(axis=1)
        nearest = int(differences.argmin())
        return (places[nearest], False) if differences[nearest] <= _LARGEST_DIFFERENCE else None
