"""Pictures of the networks: their stages, their maps."""
