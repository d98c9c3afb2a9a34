from tests.running import prepared, service

__all__ = ["prepared", "service"]
