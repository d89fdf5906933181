"""Settings of data sets: their base, the published ones, the user's own, recordings of sensors, simulations."""
