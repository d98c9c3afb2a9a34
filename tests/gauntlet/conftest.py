from tests.running import prepared, service
from tests.s3_server import s3_credentials, s3_server

__all__ = ["prepared", "s3_credentials", "s3_server", "service"]
