"""Decoders on trial covariances, at the public door; they live in `brainbench.decoders.covariance`."""

from brainbench.decoders.covariance import CspLda, FbcspLda, Fgmdm, TangentLr, trial_covariances

__all__ = ["CspLda", "FbcspLda", "Fgmdm", "TangentLr", "trial_covariances"]
