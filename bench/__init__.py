"""The benchmark: what the cache saves, measured at an upstream."""
