"""What the paper prints, and what it leaves open."""

from oarfuse.paper.printed import claims_audit, paper_row, paper_table, table_consistency

__all__ = ["claims_audit", "paper_row", "paper_table", "table_consistency"]
