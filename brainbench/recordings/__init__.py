"""Data sets of continuous sensor recordings: EEG and its kin, cut into trials."""
