"""moto's server in this process, one request at a time: its own threads are not linearizable."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any, Self

from failover_agent.adapters import aws

TABLE = "primacy"
REGION = "eu-central-1"


class MotoServer:
    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line per request
        application = DomainDispatcherApplication(create_backend_app)
        one_at_a_time = threading.Lock()

        def serialised(environ: Any, start_response: Any) -> Any:
            with one_at_a_time:
                return list(application(environ, start_response))

        self._server = make_server(host, port, serialised, threaded=True)
        self.url = f"http://{host}:{self._server.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        dynamodb_client(self.url).create_table(
            TableName=TABLE,
            KeySchema=[
                {"AttributeName": "cluster", "KeyType": "HASH"},
                {"AttributeName": "item", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "cluster", "AttributeType": "S"},
                {"AttributeName": "item", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        return self

    def __exit__(self, *_: object) -> None:
        from moto.backends import get_backend

        self._server.shutdown()
        get_backend("dynamodb").reset()  # moto's state is the process's: the next server starts empty

    def empty(self) -> None:
        client = dynamodb_client(self.url)
        for item in client.scan(TableName=TABLE)["Items"]:
            client.delete_item(TableName=TABLE, Key={key: item[key] for key in ("cluster", "item")})


def dynamodb_client(url: str, timeout_s: float = 60.0) -> Any:
    return client("dynamodb", url, timeout_s)


def client(service: str, url: str, timeout_s: float = 60.0) -> Any:
    os.environ["AWS_ACCESS_KEY_ID"] = os.environ["AWS_SECRET_ACCESS_KEY"] = "testing"
    return aws.client(
        service, region=REGION, endpoint_url=url, timeout_s=timeout_s, credentials=aws.CredentialsAhead()
    )
