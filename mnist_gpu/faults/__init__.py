"""Provoking what goes wrong on real machines, and checking what is left behind."""

STAGE_VARIABLE = "MNIST_GPU_FAULTS_STAGES"
