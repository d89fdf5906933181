"""Contacts in the head: shafts and numbers, pairs along a shaft, tables of places and labels."""
