"""Change orders: one saga carries each, another sees to it that a contract's are carried one by one."""
