"""How many patients are drawn for each split."""

# By `oarfuse.phantom.make_phantom` and ``oarfuse phantom``.
SIZES = {"train": 6, "validation": 2, "test": 2}
# For the phantom that notebooks and ``make reproduce`` share.
COURSE_SIZES = SIZES | {"train": 8}
