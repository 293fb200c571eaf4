"""Kernels in C for what PyTorch's own do with more work, compiled where they run."""
