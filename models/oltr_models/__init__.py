"""From labelled photos to a calibrated int8 OLTR bundle: train, export, quantise, check."""

import os

# Before torch loads OpenMP: threads that wait for each other shall sleep, not spin, or training on
# a machine that also does something else slows down severalfold.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
