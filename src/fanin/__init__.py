"""fanin: one seed, the same weights, on every framework, device and sharding."""

__version__ = "0.1.0.dev0"
