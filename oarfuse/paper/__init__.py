"""What the paper prints, and what it leaves open."""
