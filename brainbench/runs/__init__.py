"""Run folders, units of work, and the engines that decide where units run."""
