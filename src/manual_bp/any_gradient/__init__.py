"""Any hand-written gradient: whether it is right, and which of its terms is not."""
