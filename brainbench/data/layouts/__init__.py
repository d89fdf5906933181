"""Official layouts: a module a data set, and the readers they share."""
