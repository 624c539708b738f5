"""Grids of settings and seeds: trained, measured, and put into a figure."""
