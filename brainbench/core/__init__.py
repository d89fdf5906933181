"""What every other room stands on: errors, registries, digests, atomic files, progress."""
