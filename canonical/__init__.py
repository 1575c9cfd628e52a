"""The shared language of all sagas: frozen models, names and keys, failures. No I/O and no clock."""
