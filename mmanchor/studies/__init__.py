"""Studies: grids of settings and seeds, trained, measured and compared."""
