"""What the notebooks set up, measure and check."""
