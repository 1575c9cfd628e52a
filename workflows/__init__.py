"""The sagas as durable code, and the small kernel they share."""
