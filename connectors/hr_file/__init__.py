"""People from a file: the HR system's regular export as the source of workers, roles and cost rates."""

from connectors.hr_file.connector import HrFileConnector

__all__ = ["HrFileConnector"]
