"""Celery as the distributed engine uses it: messages that are only bells, and nothing that Celery has to remember."""

from __future__ import annotations

from celery import Celery

TASK = "gauntlet.work"


def make_celery(redis_url: str) -> Celery:
    """Return a Celery application on that broker.

    A message is acknowledged as soon as it is heard. A worker that dies afterwards loses its lease, and the sweeper
    queues the work again; a late acknowledgement would have Redis deliver it twice after the visibility timeout.
    """
    app = Celery("gauntlet", broker=redis_url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_acks_late=False,
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,  # a bell that a busy worker keeps would wake nobody
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"socket_connect_timeout": 2.0, "socket_timeout": 10.0, "socket_keepalive": True},
        task_default_queue="gauntlet",
    )
    return app
