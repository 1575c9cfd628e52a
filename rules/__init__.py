"""Pure decisions: classification, routing, validation, matching, shaping, differences, causes.

Everything here is a function of its arguments: no I/O, no clock. Rules run inside activities, so that
changing one never breaks the replay of a running saga.
"""
