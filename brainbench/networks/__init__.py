"""Networks and their training, weights and files; below encoders, knowing no data set and no stimulus."""
