"""Looks at a folder and proposes a recipe for what it holds: `brainbench data init`."""
