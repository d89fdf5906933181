"""A BIDS-derivatives folder: its files, what they say of time, confounds, betas, and where targets lie."""
