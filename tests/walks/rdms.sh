# RDMs of two people and pictures: from the folder to report, comparison and export.
brainbench data init "my study"
brainbench check "my study.yaml"
brainbench plan "my study.yaml"
brainbench run "my study.yaml"
brainbench run "my study.yaml" --set "encoders=[{name: pixels, family: pixels, role: model}]" --out runs/pixels
brainbench compare "runs/my study" runs/pixels
brainbench export "runs/my study"
