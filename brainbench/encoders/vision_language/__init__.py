"""Networks that see a picture and read a text at once."""
