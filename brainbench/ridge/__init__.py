"""Ridge: estimators over many targets, folds and files larger than memory."""
