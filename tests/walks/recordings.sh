# BrainVision, EDF and FIF with tables of events: from the folder to report, comparison and export.
brainbench data init "my recordings"
brainbench check "my recordings.yaml"
brainbench plan "my recordings.yaml"
brainbench run "my recordings.yaml"
brainbench run "my recordings.yaml" --set "dataset.band=[4.0, 40.0]" --out runs/wide
brainbench compare "runs/my recordings" runs/wide
brainbench export "runs/my recordings"
