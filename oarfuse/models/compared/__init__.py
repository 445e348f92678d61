"""The thirteen methods that the paper compares with, each built from a well-kept library."""
