"""Files with changed bytes, and pickles with changed opcodes."""

import io
import pickle
import pickletools
import random
import struct
import zipfile

TOKENS = (b"\0", b"\xff", b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\1\0\0\0", b"IHDR", b"")
WHOLE = (
    0,
    1,
    2,
    3,
    -1,
    7,
    255,
    2**16,
    2**31 - 1,
    -(2**31),
    2**32,
    2**40,
    2**63 - 1,
    2**64,
    -(2**63),
)
PLAIN = (b"N", b"\x88", b")", b"]", b"}", b"\x8f", b"G\x7f\xf8\0\0\0\0\0\0", b"X\1\0\0\0x", b"U\1a")
NAMES = (
    *("os.system", "builtins.eval", "builtins.getattr", "builtins.set", "builtins.bytearray"),
    *("builtins.complex", "collections.OrderedDict", "collections.Counter", "_codecs.encode"),
    *("torch.FloatStorage", "torch.LongStorage", "torch.ByteStorage", "torch.Size", "torch.Tensor"),
    *(
        "torch.storage.UntypedStorage",
        "torch.storage.TypedStorage",
        "torch.device",
        "torch.float32",
    ),
    *("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3", "torch.qint8"),
    *("torch._utils._rebuild_parameter", "torch._utils._rebuild_qtensor", "torch.FloatTensor"),
    *("torch._utils._rebuild_sparse_tensor", "torch._utils._rebuild_nested_tensor"),
    *("torch._utils._rebuild_wrapper_subclass", "torch._tensor._rebuild_from_type_v2"),
    *("torch.nn.parameter.Parameter", "numpy.ndarray", "numpy.dtype", "numpy.float32"),
    *("numpy.core.multiarray._reconstruct", "numpy._core.multiarray.scalar"),
    *("numpy._core.numeric._frombuffer", "builtins.bytes", "a\0b.c", "é.é"),
)


def damaged(content: bytes, seed: int) -> bytes:
    """The content with bytes changed, exchanged, inserted, removed, or cut off."""
    chance = random.Random(seed)
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 5, 20))):
        # Headers and tables are where damage matters most.
        start = chance.choice((0, max(len(data) - 300, 0)))
        place = min(start + chance.randrange(chance.choice((24, 300, len(data) + 1))), len(data))
        what = chance.randrange(7)
        if what == 0:
            del data[place:]
        elif what == 1:
            data[place:place] = chance.choice(TOKENS)
        elif what == 2:
            data[place : place + chance.randrange(9)] = chance.choice(TOKENS)
        else:
            data[place : place + 1] = bytes([chance.randrange(256)])
    return bytes(data)


def opcodes(pickled: bytes) -> list[bytes]:
    """A pickle in its instructions, each with its argument."""
    starts = [place for _, _, place in pickletools.genops(pickled)]
    return [pickled[a:b] for a, b in zip(starts, [*starts[1:], len(pickled)], strict=True)]


def named(name: str) -> bytes:
    module, _, last = name.rpartition(".")
    return f"c{module}\n{last}\n".encode()


def whole(number: int) -> bytes:
    if 0 <= number < 256:
        return b"K" + bytes([number])
    if -(2**31) <= number < 2**31:
        return b"J" + struct.pack("<i", number)
    data = pickle.encode_long(number)
    return b"\x8a" + bytes([len(data)]) + data


def changed_pickle(instructions: list[bytes], seed: int) -> bytes:
    """The pickle with one to five instructions changed, removed, exchanged or added."""
    chance, changed = random.Random(seed), list(instructions)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 5))):
        place, what = chance.randrange(len(changed)), chance.randrange(10)
        kind = changed[place][:1]
        if kind in b"KMJ\x8a" and what < 8:
            changed[place] = whole(chance.choice(WHOLE))
        elif kind == b"c" and what < 8:
            changed[place] = named(chance.choice(NAMES))
        elif what < 2:
            del changed[place]
        elif what < 4:
            changed.insert(place, chance.choice(changed))
        elif what < 6:
            changed[place] = chance.choice((*PLAIN, whole(chance.choice(WHOLE))))
        elif what == 6:
            changed.insert(place, named(chance.choice(NAMES)))
        elif what == 7:
            changed[place] = bytes([chance.randrange(256)]) + changed[place][1:]
        else:
            other = chance.randrange(len(changed))
            changed[place], changed[other] = changed[other], changed[place]
        if not changed:
            break
    return b"".join(changed)


def with_parts(archive: bytes, change) -> bytes:
    """A zip file with ``change(name, content)`` of each part, and right checksums."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(written, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return written.getvalue()
