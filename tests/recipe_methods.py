"""Cases of recipes of methods rather than of one architecture: SIREN, LoRA, policies."""

from reference import Case

CASES: list[Case] = []
