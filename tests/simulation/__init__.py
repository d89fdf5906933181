"""Tests of simulated data."""
