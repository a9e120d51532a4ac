"""One program for each queue; at its top stands what it needs and how it is set, as script metadata (PEP 723)."""
