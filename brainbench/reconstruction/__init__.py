"""Images from brains: low-level codecs, generators, calibration of predicted features, and image metrics."""
