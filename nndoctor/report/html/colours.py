"""The colour map of matrices: cividis, which is perceptually uniform and reads the same with a colour deficiency."""

from __future__ import annotations

# Equally spaced colours of cividis (Nunez, Anderton and Renslow 2018), as matplotlib publishes them.
CIVIDIS = (
    (0, 34, 78),
    (18, 53, 112),
    (59, 73, 108),
    (87, 93, 109),
    (112, 113, 115),
    (138, 134, 120),
    (165, 156, 116),
    (195, 179, 105),
    (225, 204, 85),
    (254, 232, 56),
)


def colour(share: float) -> str:
    """The colour of a value between 0 and 1."""
    place = min(max(share, 0.0), 1.0) * (len(CIVIDIS) - 1)
    index = min(int(place), len(CIVIDIS) - 2)
    mixed = (
        round(low + (high - low) * (place - index))
        for low, high in zip(CIVIDIS[index], CIVIDIS[index + 1], strict=True)
    )
    return "#" + "".join(f"{part:02x}" for part in mixed)
