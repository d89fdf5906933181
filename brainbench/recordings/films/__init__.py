"""EEG of people who watch films and say what they felt: published data sets, each film a trial or many."""
