"""The ``trueup`` command: what operators, finance, the PMO and auditors type."""
