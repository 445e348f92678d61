"""Plots of numbers: curves, boxes, cohorts, differences."""
