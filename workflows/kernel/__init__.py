"""The saga kernel in layers: core, books, waiting, unwinding; ``workflows.saga.Saga`` is the top."""
