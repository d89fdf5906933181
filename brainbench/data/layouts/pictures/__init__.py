"""Data sets of pictures and clips that are shown several times, the test set most often."""
