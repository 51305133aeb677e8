"""`apply_mask(data, mask)` of the websockets library: in C if that was built, otherwise one big XOR."""

try:
    from websockets.speedups import apply_mask
except ImportError:  # built without its C extension
    from websockets.utils import apply_mask

__all__ = ["apply_mask"]
