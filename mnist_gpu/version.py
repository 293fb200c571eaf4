"""The version of this program: what every room may name, without the package's own doors."""

__version__ = "0.1.0"
