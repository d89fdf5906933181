"""Cases: one subject under one scheme; its rows, folds, ceilings, and what takes several of them."""
