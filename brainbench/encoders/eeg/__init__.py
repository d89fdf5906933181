"""Networks that read electrodes: their architectures, views and losses; estimators stand in `brainbench.heads`."""
