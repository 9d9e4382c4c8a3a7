"""The generator: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11)."""

ROUNDS = 10

# Multipliers and key increments: Salmon et al. 2011, section 3.3; Random123 philox.h.
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
INCREMENTS = (0x9E3779B9, 0xBB67AE85)

MASK = 0xFFFFFFFF

Counter = tuple[int, int, int, int]
Key = tuple[int, int]


def words(key: Key, counter: Counter) -> Counter:
    """Return the four uint32 words of one block.

    Args:
        key: two uint32.
        counter: four uint32.

    >>> [f"{word:08x}" for word in words((0, 0), (0, 0, 0, 0))]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        p0 = c0 * MULTIPLIERS[0]
        p1 = c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & MASK, (p0 >> 32) ^ c3 ^ k1, p0 & MASK
        k0 = (k0 + INCREMENTS[0]) & MASK
        k1 = (k1 + INCREMENTS[1]) & MASK
    return c0, c1, c2, c3
