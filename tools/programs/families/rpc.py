"""Remote procedure calls."""

from __future__ import annotations

from typing import Any

from tools.programs.entry import Family, arest, rest

_family = Family("Remote calls")


def serve_rpyc() -> None:
    import rpyc
    from rpyc.utils.server import ThreadedServer

    class Shop(rpyc.Service):  # type: ignore[misc]
        def exposed_add(self, one: int, two: int) -> int:
            return one + two

    ThreadedServer(Shop, port=18812).start()


def ask_rpyc() -> list[int]:
    import rpyc

    with rpyc.connect("server", 18812) as connection:
        answers = [connection.root.add(1, 2)]
        rest()
        return [*answers, connection.root.add(3, 4)]


_family.add(
    "rpyc",
    ask_rpyc,
    [3, 7],
    server=serve_rpyc,
    imports="rpyc rpyc.utils.server",
    ci=True,
    tried="30 s by default",
    differs="it sends `id()` of objects",
)


def serve_pyro() -> None:
    import Pyro5.api

    @Pyro5.api.expose
    class Shop:
        def add(self, one: int, two: int) -> int:
            return one + two

    Pyro5.api.serve({Shop: "shop"}, host="0.0.0.0", port=9999, use_ns=False, verbose=False)


def ask_pyro() -> list[int]:
    import Pyro5.api

    with Pyro5.api.Proxy("PYRO:shop@server:9999") as shop:
        answers = [shop.add(1, 2)]
        rest()
        return [*answers, shop.add(3, 4)]


_family.add("Pyro5", ask_pyro, [3, 7], server=serve_pyro, imports="Pyro5.api", ci=True)


def _grpclib_messages() -> Any:
    from google.protobuf import wrappers_pb2

    return wrappers_pb2


async def serve_grpclib() -> None:
    from grpclib.const import Cardinality, Handler
    from grpclib.server import Server

    messages = _grpclib_messages()

    class Shop:
        async def shout(self, stream: Any) -> None:
            request = await stream.recv_message()
            await stream.send_message(messages.StringValue(value=request.value.upper()))

        def __mapping__(self) -> Any:
            return {
                "/shop.Shop/Shout": Handler(
                    self.shout, Cardinality.UNARY_UNARY, messages.StringValue, messages.StringValue
                )
            }

    server = Server([Shop()])
    await server.start("0.0.0.0", 50051)
    await server.wait_closed()


async def ask_grpclib() -> list[str]:
    from grpclib.client import Channel, UnaryUnaryMethod

    messages = _grpclib_messages()
    async with Channel("server", 50051) as channel:
        shout = UnaryUnaryMethod(channel, "/shop.Shop/Shout", messages.StringValue, messages.StringValue)
        answers = [(await shout(messages.StringValue(value="one"), timeout=30)).value]
        await arest()
        return [*answers, (await shout(messages.StringValue(value="two"), timeout=30)).value]


_family.add(
    "grpclib",
    ask_grpclib,
    ["ONE", "TWO"],
    server=serve_grpclib,
    ci=True,
    tried="a deadline of 30 s",
    imports="grpclib.server grpclib.client google.protobuf.wrappers_pb2",
)


def serve_grpcio() -> None:
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    grpc.server(ThreadPoolExecutor(1)).start()


def ask_grpcio() -> Any:
    import grpc

    return grpc.insecure_channel("server:50051").unary_unary("/shop.Shop/Shout")(b"one")


_family.add("grpcio", ask_grpcio, b"ONE", server=serve_grpcio, imports="grpc", is_refused=True, ci=True)


class _ThriftHandler:
    def shout(self, word: str) -> str:
        return word.upper()


def _thrift_protocol(transport: Any) -> Any:
    from thrift.protocol.TBinaryProtocol import TBinaryProtocol

    return TBinaryProtocol(transport)


def serve_thrift() -> None:
    from thrift.server.TServer import TThreadedServer
    from thrift.Thrift import TMessageType, TProcessor, TType
    from thrift.transport.TSocket import TServerSocket
    from thrift.transport.TTransport import TBufferedTransportFactory

    class Processor(TProcessor):  # type: ignore[misc]
        def process(self, iprot: Any, oprot: Any) -> bool:
            name, _, number = iprot.readMessageBegin()
            iprot.readStructBegin()
            iprot.readFieldBegin()
            word = iprot.readString()
            iprot.readFieldEnd()
            iprot.readFieldBegin()
            iprot.readStructEnd()
            iprot.readMessageEnd()
            oprot.writeMessageBegin(name, TMessageType.REPLY, number)
            oprot.writeFieldBegin("success", TType.STRING, 0)
            oprot.writeString(word.upper())
            oprot.writeFieldStop()
            oprot.writeMessageEnd()
            oprot.trans.flush()
            return True

    from thrift.protocol.TBinaryProtocol import TBinaryProtocolFactory

    TThreadedServer(
        Processor(), TServerSocket("0.0.0.0", 9090), TBufferedTransportFactory(), TBinaryProtocolFactory(), daemon=True
    ).serve()


def ask_thrift() -> list[str]:
    from thrift.Thrift import TMessageType, TType
    from thrift.transport.TSocket import TSocket
    from thrift.transport.TTransport import TBufferedTransport

    socket = TSocket("server", 9090)
    socket.setTimeout(10_000)
    transport = TBufferedTransport(socket)
    transport.open()
    protocol = _thrift_protocol(transport)

    def shout(word: str) -> str:
        protocol.writeMessageBegin("shout", TMessageType.CALL, 1)
        protocol.writeFieldBegin("word", TType.STRING, 1)
        protocol.writeString(word)
        protocol.writeFieldStop()
        protocol.writeMessageEnd()
        transport.flush()
        protocol.readMessageBegin()
        protocol.readFieldBegin()
        answer: str = protocol.readString()
        protocol.readFieldBegin()
        protocol.readMessageEnd()
        return answer

    answers = [shout("one")]
    rest()
    answers.append(shout("two"))
    transport.close()
    return answers


_family.add(
    "thrift",
    ask_thrift,
    ["ONE", "TWO"],
    server=serve_thrift,
    tried="its threaded server, a time-out of 10 s",
    imports="thrift.server.TServer thrift.transport.TSocket thrift.protocol.TBinaryProtocol",
)


def serve_zerorpc() -> None:
    import zerorpc

    server = zerorpc.Server(_ThriftHandler())
    server.bind("tcp://0.0.0.0:4242")
    server.run()


def ask_zerorpc() -> Any:
    import zerorpc

    client = zerorpc.Client()
    client.connect("tcp://server:4242")
    return client.shout("one")


_family.add(
    "zerorpc", ask_zerorpc, "ONE", server=serve_zerorpc, imports="zerorpc", is_refused=True, tried="gevent and ZeroMQ"
)


async def serve_dask() -> None:
    from distributed import Scheduler

    async with Scheduler(host="0.0.0.0", port=8786, dashboard=False) as scheduler:
        await scheduler.finished()


async def ask_dask() -> list[int]:
    from distributed import Client, Worker

    async with (
        Worker("tcp://server:8786", nthreads=1, dashboard=False, host="client") as _,
        Client("tcp://server:8786", asynchronous=True) as client,
    ):
        answers = [await client.submit(sum, [1, 2])]
        await arest()
        return [*answers, await client.submit(sum, [3, 4])]


_family.add(
    "distributed",
    ask_dask,
    [3, 7],
    server=serve_dask,
    imports="distributed",
    start=5,
    tried="Dask: scheduler, worker and client",
    differs="keys from `id()` and real measurements",
)


def ask_zmq() -> Any:
    import zmq

    with zmq.Context() as context, context.socket(zmq.REQ) as end:
        end.connect("tcp://server:5555")
        end.send(b"one")
        return end.recv()


_family.add("pyzmq", ask_zmq, b"ONE", imports="zmq", is_refused=True, ci=True, tried="`tcp:`; its `inproc:` works")
