"""What every picture shares: layout, planes of a volume, overlays."""
