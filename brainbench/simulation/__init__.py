"""Participants with planted layers and known ceilings. Nothing here was measured."""
