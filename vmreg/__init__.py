"""One pull-through cache for Docker Hub per host: every byte leaves the hub once."""

__version__ = "0.1.0"
