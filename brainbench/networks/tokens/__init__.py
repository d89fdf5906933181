"""Networks that turn recordings into tokens: their training, and what they do when it is done."""
