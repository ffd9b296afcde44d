"""From labelled photos to a calibrated int8 OLTR bundle: train, export, quantise, check."""
