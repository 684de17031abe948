"""Message queues and task queues: producers, consumers and workers."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from tools.programs.entry import Family, arest, rest
from tools.programs.families.databases import serve_fakeredis
from tools.programs.servers.amqp import serve_amqp
from tools.programs.servers.kafka import serve_kafka
from tools.programs.servers.lines import serve_nats, serve_stomp
from tools.programs.servers.mqtt import Broker

_family = Family("Message and task queues")
_RIGHT = ["one", "two"]


# --- AMQP


def ask_pika() -> list[str]:
    import pika

    connection = pika.BlockingConnection(pika.ConnectionParameters("server", heartbeat=30))
    channel = connection.channel()
    channel.queue_declare("orders")
    found = []
    for word in _RIGHT:
        channel.basic_publish("", "orders", word.encode())
        for method, _, body in channel.consume("orders", inactivity_timeout=None):
            channel.basic_ack(method.delivery_tag)
            found.append(body.decode())
            break
        if word == "one":
            connection.sleep(0.1)
            rest()
    connection.close()
    return found


_family.add("pika", ask_pika, _RIGHT, server=serve_amqp, imports="pika", ci=True, tried="`heartbeat=30`")


async def ask_aio_pika() -> list[str]:
    import aio_pika

    connection = await aio_pika.connect("amqp://guest:guest@server/?heartbeat=30")
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("orders")
        found = []
        async with queue.iterator() as orders:
            for word in _RIGHT:
                await channel.default_exchange.publish(aio_pika.Message(word.encode()), "orders")
                async for order in orders:
                    async with order.process():
                        found.append(order.body.decode())
                    break
                if word == "one":
                    await arest()
        return found


_family.add("aio-pika", ask_aio_pika, _RIGHT, server=serve_amqp, imports="aio_pika", tried="`heartbeat=30`")


def ask_kombu() -> list[str]:
    import kombu

    found: list[str] = []
    with kombu.Connection("amqp://guest:guest@server//", heartbeat=10) as connection:
        queue = connection.SimpleQueue("orders")
        for word in _RIGHT:
            queue.put(word)
            message = queue.get(timeout=30)
            found.append(message.payload)
            message.ack()
            if word == "one":
                rest()
        queue.close()
    return found


_family.add("kombu", ask_kombu, _RIGHT, server=serve_amqp, imports="kombu", tried="`SimpleQueue.get(timeout=30)`")


def _celery_app(url: str) -> Any:
    import celery

    app = celery.Celery("shop", broker=url, backend="cache+memory://")
    app.conf.update(task_always_eager=False, worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)

    @app.task(name="shout")
    def shout(word: str) -> str:
        return word.upper()

    return app


def work_celery() -> list[str]:
    """A worker in a thread of the client's program, and the tasks that it did."""
    from celery.contrib.testing.worker import start_worker

    app = _celery_app("amqp://guest:guest@server//")
    found = []
    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="CRITICAL"):
        found.append(app.tasks["shout"].delay("one").get(timeout=60))
        rest()
        found.append(app.tasks["shout"].delay("two").get(timeout=60))
    return found


_family.add(
    "celery",
    work_celery,
    ["ONE", "TWO"],
    server=serve_amqp,
    imports="celery celery.contrib.testing.worker",
    tried='AMQP; a worker with `pool="solo"`, `get(timeout=60)`',
    differs="reply ids, from `id()` and pids",
)


# --- task queues over Redis


def shout(word: str) -> str:
    return word.upper()


def work_rq() -> list[str]:
    import redis
    import rq

    connection = redis.Redis(host="server", socket_timeout=30)
    queue = rq.Queue(connection=connection)
    found = []
    for word in _RIGHT:
        job = queue.enqueue(shout, word)
        rq.SimpleWorker([queue], connection=connection).work(burst=True, logging_level="CRITICAL")
        found.append(job.return_value())
        if word == "one":
            rest()
    return found


_family.add(
    "rq",
    work_rq,
    ["ONE", "TWO"],
    server=serve_fakeredis,
    imports="rq redis fakeredis",
    tried="`SimpleWorker`, burst mode",
)


def work_rq_fork() -> Any:
    import redis
    import rq

    connection = redis.Redis(host="server")
    queue = rq.Queue(connection=connection)
    queue.enqueue(shout, "one")
    return rq.Worker([queue], connection=connection).work(burst=True)


_family.add(
    "rq, Worker",
    work_rq_fork,
    None,
    server=serve_fakeredis,
    package="rq",
    imports="rq redis fakeredis",
    is_refused=True,
    tried="forks for each job",
)


def work_huey() -> list[str]:
    import huey
    from huey.consumer import Consumer

    tasks = huey.RedisHuey("shop", host="server", blocking=True, read_timeout=1)
    call = tasks.task()(shout)
    consumer = Consumer(tasks, workers=1, periodic=False, initial_delay=0.1, max_delay=1)
    consumer.start()
    found = []
    for word in _RIGHT:
        found.append(call(word).get(blocking=True, timeout=60))
        if word == "one":
            rest()
    consumer.stop()
    return found


_family.add(
    "huey",
    work_huey,
    ["ONE", "TWO"],
    server=serve_fakeredis,
    imports="huey huey.consumer fakeredis",
    tried="its consumer with a thread",
)


def work_dramatiq() -> list[str]:
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    broker = RedisBroker(host="server")
    done: list[str] = []
    event = threading.Event()

    @dramatiq.actor(broker=broker, actor_name="shout")  # type: ignore[misc]
    def actor(word: str) -> None:
        done.append(word.upper())
        event.set()

    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=500)
    worker.start()
    for word in _RIGHT:
        actor.send(word)
        if not event.wait(60):
            raise TimeoutError("nothing was done for 60 s")
        event.clear()
        if word == "one":
            rest()
    worker.stop()
    return done


_family.add(
    "dramatiq",
    work_dramatiq,
    ["ONE", "TWO"],
    server=serve_fakeredis,
    fresh=("dramatiq",),
    imports="fakeredis",
    tried="over Redis, a worker with a thread",
    friction='`fresh=("dramatiq",)`: it holds a lock of its module across a wait',
)


async def work_arq() -> list[str]:
    from arq import create_pool
    from arq.connections import RedisSettings
    from arq.worker import Worker, func

    async def arq_shout(context: Any, word: str) -> str:
        return word.upper()

    settings = RedisSettings(host="server")
    pool = await create_pool(settings)
    worker = Worker([func(arq_shout, name="shout")], redis_settings=settings, handle_signals=False, poll_delay=0.5)
    task = asyncio.ensure_future(worker.async_run())
    found = []
    for word in _RIGHT:
        job = await pool.enqueue_job("shout", word)
        assert job is not None
        found.append(await job.result(timeout=60))
        if word == "one":
            await arest()
    await worker.close()
    task.cancel()
    await pool.aclose()
    return found


_family.add("arq", work_arq, ["ONE", "TWO"], server=serve_fakeredis, imports="arq arq.worker fakeredis")


# --- MQTT


async def serve_mqtt() -> None:
    await Broker().serve()


def serve_amqtt() -> None:
    async def main() -> None:
        from amqtt.broker import Broker as Amqtt

        broker = Amqtt(
            {
                "listeners": {"default": {"type": "tcp", "bind": "0.0.0.0:1883"}},
                "sys_interval": 0,
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
        await broker.start()
        await asyncio.get_running_loop().create_future()

    asyncio.run(main())


def ask_paho() -> list[str]:
    import queue

    import paho.mqtt.client as mqtt

    came: queue.Queue[Any] = queue.Queue()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="shop")
    client.on_message = lambda client, data, message: came.put(message.payload.decode())
    client.on_subscribe = lambda *arguments: came.put("subscribed")
    client.on_disconnect = lambda client, data, flags, reason, properties: came.put(ConnectionError(str(reason)))
    client.connect("server", keepalive=20)
    client.loop_start()
    client.subscribe("orders", 1)
    found = []

    def take() -> str:
        item = came.get()
        if isinstance(item, Exception):
            raise item
        return str(item)

    take()
    for word in _RIGHT:
        client.publish("orders", word, 1)
        found.append(take())
        if word == "one":
            rest()
    client.on_disconnect = None
    client.disconnect()
    client.loop_stop()
    return found


_family.add(
    "paho-mqtt",
    ask_paho,
    _RIGHT,
    server=serve_mqtt,
    imports="paho.mqtt.client",
    ci=True,
    tried="its network thread, `keepalive=20`",
)


async def ask_aiomqtt() -> list[str]:
    import aiomqtt

    found = []
    async with aiomqtt.Client("server", keepalive=20, identifier="shop") as client:
        await client.subscribe("orders", 1)
        for word in _RIGHT:
            await client.publish("orders", word, 1)
            async for message in client.messages:
                found.append(message.payload.decode())
                break
            if word == "one":
                await arest()
    return found


_family.add("aiomqtt", ask_aiomqtt, _RIGHT, server=serve_mqtt, imports="aiomqtt", tried="`keepalive=20`")
_family.add(
    "amqtt",
    ask_paho,
    _RIGHT,
    server=serve_amqtt,
    imports="amqtt.broker paho.mqtt.client",
    tried="its broker, asked by paho",
)


async def ask_gmqtt() -> list[str]:
    import gmqtt

    came: asyncio.Queue[str] = asyncio.Queue()
    client = gmqtt.Client("shop")

    async def on_message(client: Any, topic: str, payload: bytes, qos: int, properties: Any) -> int:
        came.put_nowait(payload.decode())
        return 0

    client.on_message = on_message
    client.on_subscribe = lambda *arguments: came.put_nowait("subscribed")
    await client.connect("server", keepalive=20, version=gmqtt.constants.MQTTv311)
    client.subscribe("orders", 1)
    await came.get()
    found = []
    for word in _RIGHT:
        client.publish("orders", word, 1)
        found.append(await asyncio.wait_for(came.get(), 60))
        if word == "one":
            await arest()
    await client.disconnect()
    return found


_family.add("gmqtt", ask_gmqtt, _RIGHT, server=serve_mqtt, imports="gmqtt", tried="`keepalive=20`, connects again")


# --- others


async def ask_nats() -> list[str]:
    import nats

    errors: list[Exception] = []

    async def on_error(error: Exception) -> None:
        errors.append(error)

    client = await nats.connect("nats://server:4222", ping_interval=10, max_outstanding_pings=2, error_cb=on_error)
    orders = await client.subscribe("orders")
    found = []
    for word in _RIGHT:
        await client.publish("orders", word.encode())
        found.append((await orders.next_msg(timeout=60)).data.decode())
        if word == "one":
            await arest()
    await client.close()
    return found


_family.add(
    "nats-py", ask_nats, _RIGHT, server=serve_nats, imports="nats", ci=True, tried="`ping_interval=10`; connects again"
)


def ask_stomp() -> list[str]:
    import queue

    import stomp

    came: queue.Queue[Any] = queue.Queue()

    class Listener(stomp.ConnectionListener):  # type: ignore[misc]
        def on_message(self, frame: Any) -> None:
            came.put(frame.body)

        def on_disconnected(self) -> None:
            came.put(ConnectionError("disconnected"))

    connection = stomp.Connection12([("server", 61613)])
    connection.set_listener("", Listener())
    connection.connect(wait=True)
    connection.subscribe("/queue/orders", id="1")
    found = []
    for word in _RIGHT:
        connection.send("/queue/orders", word)
        item = came.get(timeout=2000)
        if isinstance(item, Exception):
            raise item
        found.append(item)
        if word == "one":
            rest()
    connection.disconnect()
    return found


_family.add("stomp.py", ask_stomp, _RIGHT, server=serve_stomp, imports="stomp", tried="no heartbeats")


async def ask_faststream() -> list[str]:
    from faststream.nats import NatsBroker

    broker = NatsBroker("nats://server:4222", logger=None)
    came: asyncio.Queue[str] = asyncio.Queue()

    @broker.subscriber("orders")  # type: ignore[misc]
    async def take(word: str) -> None:
        came.put_nowait(word)

    await broker.start()
    found = []
    for word in _RIGHT:
        await broker.publish(word, "orders")
        found.append(await asyncio.wait_for(came.get(), 60))
        if word == "one":
            await arest()
    await broker.stop()
    return found


_family.add("faststream", ask_faststream, _RIGHT, server=serve_nats, imports="faststream.nats", tried="over NATS")


async def ask_aiokafka() -> list[str]:
    import aiokafka

    producer = aiokafka.AIOKafkaProducer(bootstrap_servers="server:9092", request_timeout_ms=10_000)
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers="server:9092", request_timeout_ms=10_000)
    await producer.start()
    await consumer.start()
    try:
        place = aiokafka.TopicPartition("orders", 0)
        await producer.send_and_wait("orders", b"one")
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        found = [(await consumer.getone()).value.decode()]
        await arest()
        await producer.send_and_wait("orders", b"two")
        return [*found, (await consumer.getone()).value.decode()]
    finally:
        await consumer.stop()
        await producer.stop()


_BROKER = "the broker is a small one in Python; `request_timeout_ms=10000`"
_family.add(
    "aiokafka", ask_aiokafka, ["one", "two"], server=serve_kafka, imports="aiokafka",
    tried=f"a producer and a consumer without a group; {_BROKER}",
    differs="its records' timestamps: `time.time` is a default argument in C",
)


def ask_kafka_python() -> list[str]:
    import kafka

    producer = kafka.KafkaProducer(
        bootstrap_servers="server:9092", request_timeout_ms=10_000, enable_idempotence=False, api_version=(1, 0))
    consumer = kafka.KafkaConsumer(
        bootstrap_servers="server:9092", request_timeout_ms=10_000, api_version=(1, 0), consumer_timeout_ms=20_000)
    try:
        place = kafka.TopicPartition("orders", 0)
        producer.send("orders", b"one").get(20)
        consumer.assign([place])
        consumer.seek_to_beginning(place)
        found = [next(consumer).value.decode()]
        rest()
        producer.send("orders", b"two").get(20)
        return [*found, next(consumer).value.decode()]
    finally:
        consumer.close()
        producer.close(1)


_family.add(
    "kafka-python", ask_kafka_python, ["one", "two"], server=serve_kafka, imports="kafka",
    tried=f"a producer and a consumer without a group; {_BROKER}, `api_version=(1, 0)`, `get(20)`",
)


def ask_confluent() -> Any:
    import confluent_kafka

    producer = confluent_kafka.Producer({"bootstrap.servers": "server:9092"})
    producer.produce("orders", b"one")
    return producer.flush(10)


_family.add("confluent-kafka", ask_confluent, 0, imports="confluent_kafka", is_refused=True)


def ask_pulsar() -> Any:
    import pulsar

    return pulsar.Client("pulsar://server:6650").create_producer("orders").send(b"one")


_family.add("pulsar-client", ask_pulsar, None, imports="pulsar", is_refused=True, tried="its network is written in C++")
