"""Decoding of trials: folds, certificates, scores, leaks, probabilities and evidence."""
