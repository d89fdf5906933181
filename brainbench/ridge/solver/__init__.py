"""The solver under every ridge estimator: spectra, filters, scores of penalties, blocks of targets."""
