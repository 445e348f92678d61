"""What every picture shares: style, layout, planes of a volume, the CT with its organs."""
