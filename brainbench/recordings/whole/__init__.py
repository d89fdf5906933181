"""Recordings read whole, without trials: sensors of any layout, and segments of one length."""
