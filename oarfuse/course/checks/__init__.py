"""Checks for the exercises of the notebooks, one module for each notebook.

`start` (00), `data` (01), `architecture` (02), `training` (03), `evaluation` (04), `qualitative`
(05), `comparison` (06), `ledger` (07). A check is called ``check_NN_topic(answer)``. It prints one
line and returns whether the answer is right: "not answered yet" for None, a confirmation for the
right answer, and a hint, never the answer itself, for a wrong one. It never raises, so that a
notebook with open exercises still runs from top to bottom.
"""
