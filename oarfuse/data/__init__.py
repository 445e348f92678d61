"""Reading, preparing and serving the data sets."""
