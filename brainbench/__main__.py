"""``python -m brainbench``."""

from brainbench.cli import main

if __name__ == "__main__":
    main()
