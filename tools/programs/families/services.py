"""Clients of services: search, clouds, containers; most speak HTTP, against a server that answers as theirs."""

from __future__ import annotations

import threading
from typing import Any

from tools.programs.entry import Family, arest, twice
from tools.programs.servers.web import serve_json

_family = Family("Services: search, clouds, monitoring, chat")


# --- search and time series


def _search(method: str, path: str, headers: Any, body: bytes) -> Any:
    product = {
        "X-Elastic-Product": "Elasticsearch",
        "Content-Type": headers.get("accept", "application/json").split(",")[0],
    }
    if path.startswith(("/shop/_search", "/shop/_doc")):
        return 200, product, {"hits": {"total": {"value": 7}}, "_source": {"count": 7}, "found": True}
    return (
        200,
        product,
        {"version": {"number": "9.1.0", "distribution": "opensearch"}, "tagline": "You Know, for Search"},
    )


def ask_elasticsearch() -> list[int]:
    import elasticsearch

    with elasticsearch.Elasticsearch("http://server:9200", request_timeout=5, max_retries=1) as client:
        return twice(lambda: client.search(index="shop")["hits"]["total"]["value"])


_family.add(
    "elasticsearch",
    ask_elasticsearch,
    [7, 7],
    server=serve_json(_search, 9200),
    imports="elasticsearch",
    tried="`request_timeout=5`, one retry",
)


async def ask_elasticsearch_async() -> list[int]:
    import elasticsearch

    async with elasticsearch.AsyncElasticsearch("http://server:9200", request_timeout=5, max_retries=1) as client:
        answers = [(await client.search(index="shop"))["hits"]["total"]["value"]]
        await arest()
        return [*answers, (await client.search(index="shop"))["hits"]["total"]["value"]]


_family.add(
    "elasticsearch, asyncio",
    ask_elasticsearch_async,
    [7, 7],
    server=serve_json(_search, 9200),
    package="elasticsearch",
    imports="elasticsearch aiohttp",
    tried="over aiohttp, `request_timeout=5`",
)


def ask_opensearch() -> list[int]:
    import opensearchpy

    client = opensearchpy.OpenSearch("http://server:9200", timeout=5, max_retries=1)
    return twice(lambda: client.search(index="shop")["hits"]["total"]["value"])


_family.add(
    "opensearch-py",
    ask_opensearch,
    [7, 7],
    server=serve_json(_search, 9200),
    imports="opensearchpy",
    tried="`timeout=5`, one retry",
)


def ask_influxdb() -> list[Any]:
    from influxdb_client import InfluxDBClient
    from influxdb_client.client.write_api import SYNCHRONOUS

    with InfluxDBClient("http://server:8086", token="t", org="o", timeout=5000) as client:
        api = client.write_api(write_options=SYNCHRONOUS)
        return twice(lambda: api.write("shop", record="orders count=7"))


_family.add(
    "influxdb-client",
    ask_influxdb,
    [None, None],
    imports="influxdb_client",
    server=serve_json(lambda method, path, headers, body: (204, {}, b""), 8086),
    tried="`timeout=5000`",
)


def _clickhouse(method: str, path: str, headers: Any, body: bytes) -> Any:
    kind = {"X-ClickHouse-Format": "Native", "Content-Type": "application/octet-stream", "X-ClickHouse-Query-Id": "q"}
    text = body.decode(errors="replace") + path
    if "version()" in text:
        return 200, {**kind, "X-ClickHouse-Format": "TabSeparated"}, b"24.8.1\tUTC\tdefault\n"
    if "system.settings" in text or "system.functions" in text:
        return 200, kind, b"\x03\x00\x04name\x06String\x05value\x06String\x08readonly\x05UInt8"
    return 200, kind, b"\x01\x01\x01n\x06UInt64" + (7).to_bytes(8, "little")


def ask_clickhouse() -> list[Any]:
    import clickhouse_connect

    with clickhouse_connect.get_client(
        host="server", port=8123, send_receive_timeout=10, autogenerate_session_id=False, compress=False
    ) as client:
        return twice(lambda: client.query("select 7 as n").result_rows)


_family.add(
    "clickhouse-connect",
    ask_clickhouse,
    [[(7,)], [(7,)]],
    server=serve_json(_clickhouse, 8123),
    imports="clickhouse_connect",
    tried="`send_receive_timeout=10`",
)


def _qdrant(method: str, path: str, headers: Any, body: bytes) -> Any:
    if path == "/collections":
        return {"result": {"collections": [{"name": "shop"}]}, "status": "ok", "time": 0}
    return {"title": "qdrant", "version": "1.15.0"}


def ask_qdrant() -> list[str]:
    from qdrant_client import QdrantClient

    client = QdrantClient(host="server", port=6333, timeout=5, check_compatibility=False)
    return twice(lambda: client.get_collections().collections[0].name)


_family.add(
    "qdrant-client",
    ask_qdrant,
    ["shop", "shop"],
    server=serve_json(_qdrant, 6333),
    imports="qdrant_client",
    tried="over httpx, `timeout=5`",
)


def ask_meilisearch() -> list[int]:
    import meilisearch

    client = meilisearch.Client("http://server:7700", timeout=5)
    return twice(lambda: client.index("shop").search("one")["estimatedTotalHits"])


_family.add(
    "meilisearch",
    ask_meilisearch,
    [7, 7],
    imports="meilisearch",
    tried="`timeout=5`",
    server=serve_json(lambda method, path, headers, body: {"hits": [], "estimatedTotalHits": 7}, 7700),
)


def ask_trino() -> list[Any]:
    import trino

    connection = trino.dbapi.connect(host="server", port=8080, user="a", request_timeout=5, max_attempts=1)

    def ask() -> Any:
        return connection.cursor().execute("select 7").fetchall()

    return twice(ask)


def _trino(method: str, path: str, headers: Any, body: bytes) -> Any:
    return {
        "id": "q",
        "infoUri": "http://server:8080/",
        "stats": {"state": "FINISHED"},
        "data": [[7]],
        "columns": [{"name": "n", "type": "integer", "typeSignature": {"rawType": "integer", "arguments": []}}],
    }


_family.add(
    "trino",
    ask_trino,
    [[[7]], [[7]]],
    server=serve_json(_trino, 8080),
    imports="trino.dbapi",
    tried="`request_timeout=5`",
)


def ask_hvac() -> list[bool]:
    import hvac

    client = hvac.Client("http://server:8200", token="t", timeout=5)
    return twice(
        lambda: client.secrets.kv.v2.read_secret("shop", raise_on_deleted_version=False)["data"]["data"]["ok"]
    )


_family.add(
    "hvac",
    ask_hvac,
    [True, True],
    imports="hvac",
    tried="Vault, `timeout=5`",
    server=serve_json(lambda method, path, headers, body: {"data": {"data": {"ok": True}}}, 8200),
)


# --- clouds and containers


_S3 = (
    b'<?xml version="1.0"?><ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Owner><ID>o</ID>'
    b"<DisplayName>o</DisplayName></Owner><Buckets><Bucket><Name>shop</Name>"
    b"<CreationDate>2026-01-01T00:00:00.000Z</CreationDate></Bucket></Buckets></ListAllMyBucketsResult>"
)


def serve_moto() -> None:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="0.0.0.0", port=5000, verbose=False)
    server.start()
    threading.Event().wait()


def _s3_settings() -> dict[str, Any]:
    return {
        "endpoint_url": "http://server:5000",
        "aws_access_key_id": "k",
        "aws_secret_access_key": "s",
        "region_name": "us-east-1",
    }


def ask_boto3() -> list[Any]:
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3", **_s3_settings(), config=Config(read_timeout=5, connect_timeout=5, retries={"max_attempts": 1})
    )
    client.create_bucket(Bucket="shop")
    client.put_object(Bucket="shop", Key="one", Body=b"1" * 100_000)
    return twice(lambda: len(client.get_object(Bucket="shop", Key="one")["Body"].read()))


_family.add(
    "boto3, moto",
    ask_boto3,
    [100_000, 100_000],
    server=serve_moto,
    package="boto3",
    imports="boto3 moto.server",
    tried="S3; `read_timeout=5`, one retry; moto's server",
    differs="request ids, from a generator of moto's",
)


def ask_boto3_sqs() -> list[str]:
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "sqs", **_s3_settings(), config=Config(read_timeout=30, connect_timeout=5, retries={"max_attempts": 1})
    )
    url = client.create_queue(QueueName="orders")["QueueUrl"]

    def pass_on() -> str:
        client.send_message(QueueUrl=url, MessageBody="one")
        message = client.receive_message(QueueUrl=url, WaitTimeSeconds=10)["Messages"][0]
        client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return str(message["Body"])

    return twice(pass_on)


_family.add(
    "boto3, SQS",
    ask_boto3_sqs,
    ["one", "one"],
    server=serve_moto,
    package="boto3",
    imports="boto3 moto.server",
    tried="long polling; moto's server",
    differs="ids, from a generator of moto's",
)


async def ask_aiobotocore() -> list[Any]:
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session

    async with get_session().create_client(
        "s3", **_s3_settings(), config=AioConfig(read_timeout=5, connect_timeout=5, retries={"max_attempts": 1})
    ) as client:
        await client.create_bucket(Bucket="shop")
        await client.put_object(Bucket="shop", Key="one", Body=b"1" * 1000)
        sizes = []
        for number in range(2):
            async with (await client.get_object(Bucket="shop", Key="one"))["Body"] as stream:
                sizes.append(len(await stream.read()))
            if not number:
                await arest()
        return sizes


_family.add(
    "aiobotocore",
    ask_aiobotocore,
    [1000, 1000],
    server=serve_moto,
    imports="aiobotocore.session moto.server",
    tried="S3 by aiohttp; moto's server",
    differs="request ids, from a generator of moto's",
)


def ask_minio() -> list[str]:
    import minio
    import urllib3

    client = minio.Minio(
        "server:9000",
        access_key="k",
        secret_key="s",
        secure=False,
        http_client=urllib3.PoolManager(timeout=5, retries=1),
    )
    return twice(lambda: client.list_buckets()[0].name)


_family.add(
    "minio",
    ask_minio,
    ["shop", "shop"],
    imports="minio",
    tried="`timeout=5`, one retry",
    server=serve_json(lambda method, path, headers, body: (200, {"Content-Type": "application/xml"}, _S3), 9000),
)


def _gcs(method: str, path: str, headers: Any, body: bytes) -> Any:
    return {"kind": "storage#buckets", "items": [{"id": "shop", "name": "shop"}]}


def ask_gcs() -> list[str]:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    client = storage.Client(
        project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": "http://server:4443"}
    )
    return twice(lambda: next(iter(client.list_buckets(timeout=5, retry=None))).name)


_family.add(
    "google-cloud-storage",
    ask_gcs,
    ["shop", "shop"],
    server=serve_json(_gcs, 4443),
    imports="google.cloud.storage",
    tried="`timeout=5`",
    differs="invocation ids",
)


_AZURE = (
    b'<?xml version="1.0"?><EnumerationResults><Containers><Container><Name>shop</Name><Properties>'
    b"<Last-Modified>Thu, 01 Jan 2026 00:00:00 GMT</Last-Modified><Etag>1</Etag></Properties></Container></Containers>"
    b"<NextMarker/></EnumerationResults>"
)


def ask_azure() -> list[str]:
    from azure.storage.blob import BlobServiceClient

    text = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;BlobEndpoint=http://server:10000/a;"
    with BlobServiceClient.from_connection_string(text, read_timeout=5, connection_timeout=5, retry_total=0) as client:
        return twice(lambda: next(iter(client.list_containers())).name)


_family.add(
    "azure-storage-blob",
    ask_azure,
    ["shop", "shop"],
    imports="azure.storage.blob",
    tried="`read_timeout=5`",
    server=serve_json(lambda method, path, headers, body: (200, {"Content-Type": "application/xml"}, _AZURE), 10000),
)


def _kubernetes(method: str, path: str, headers: Any, body: bytes) -> Any:
    return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [{"metadata": {"name": "shop-1"}}]}


def ask_kubernetes() -> list[str]:
    import kubernetes

    configuration = kubernetes.client.Configuration(host="http://server:8001")
    with kubernetes.client.ApiClient(configuration) as client:
        api = kubernetes.client.CoreV1Api(client)
        return twice(lambda: api.list_namespaced_pod("default", _request_timeout=5).items[0].metadata.name)


_family.add(
    "kubernetes",
    ask_kubernetes,
    ["shop-1", "shop-1"],
    server=serve_json(_kubernetes, 8001),
    imports="kubernetes.client",
    tried="`_request_timeout=5`",
)


def _docker(method: str, path: str, headers: Any, body: bytes) -> Any:
    return {"ApiVersion": "1.45", "Version": "27.0", "MinAPIVersion": "1.24"}


def ask_docker() -> list[str]:
    import docker

    client = docker.DockerClient("tcp://server:2375", timeout=5, version="1.45")
    return twice(lambda: client.version()["Version"])


_family.add(
    "docker", ask_docker, ["27.0", "27.0"], server=serve_json(_docker, 2375), imports="docker", tried="`timeout=5`"
)
