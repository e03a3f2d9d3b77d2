"""What becomes of memory that a process on a CPU frees."""

import ctypes

# of <malloc.h>; glibc ends at these values by itself once large blocks have come and gone
_TRIM_THRESHOLD, _TRIM_AT = -1, 64 << 20
_MMAP_THRESHOLD, _MMAP_FROM = -3, 32 << 20
_MMAP_MAX, _MAPPED_BLOCKS = -4, 65536
_NEVER = -1


def keep_freed_memory(keep: bool = True) -> bool:
    """Let this process keep the memory that it frees: the next tensor gets it at once.

    By default glibc hands large blocks back to the kernel, which must map and clear every page
    again when the next image asks for the same: a twentieth of the time of inference. The most that
    is used stays about what it was, but stays used between two peaks. Processes that are forked
    later do the same.

    Args:
        keep: False goes back to glibc's ways, and gives back what is free now.

    Returns:
        whether the C library takes such wishes: glibc does.
    """
    try:
        libc = ctypes.CDLL(None)
        set_option, trim = libc.mallopt, libc.malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return False
    if keep:
        return bool(set_option(_MMAP_MAX, 0) and set_option(_TRIM_THRESHOLD, _NEVER))
    done = (
        set_option(_MMAP_MAX, _MAPPED_BLOCKS)
        and set_option(_MMAP_THRESHOLD, _MMAP_FROM)
        and set_option(_TRIM_THRESHOLD, _TRIM_AT)
    )
    trim(0)
    return bool(done)
