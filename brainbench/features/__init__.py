"""From encoders to design matrices: the store, timing, drifts, reduction."""
