"""Architectures: networks that read electrodes, their views and losses."""
