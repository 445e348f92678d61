"""OpenKBP: its source files, their audit, and the way into a prepared folder."""
