"""Machines and things: industrial protocols, the internet of things, networks' own devices."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from typing import Any

from tools.programs.entry import Family, arest, rest

_family = Family("Industry and things")


# --- Modbus


def serve_pymodbus() -> None:
    async def main() -> None:
        from pymodbus.server import StartAsyncTcpServer
        from pymodbus.simulator import DataType, SimData, SimDevice

        device = SimDevice(1, simdata=[SimData(0, count=10, values=7, datatype=DataType.REGISTERS)])
        await StartAsyncTcpServer(device, address=("0.0.0.0", 502))

    asyncio.run(main())


def ask_pymodbus() -> list[list[int]]:
    from pymodbus.client import ModbusTcpClient

    with ModbusTcpClient("server", timeout=5, retries=1) as client:
        answers = [client.read_holding_registers(1, count=2, device_id=1).registers]
        rest()
        return [*answers, client.read_holding_registers(1, count=2, device_id=1).registers]


_family.add(
    "pymodbus",
    ask_pymodbus,
    [[7, 7], [7, 7]],
    server=serve_pymodbus,
    imports="pymodbus.client pymodbus.server",
    ci=True,
    tried="both sides, `timeout=5`",
)


async def ask_pymodbus_async() -> list[list[int]]:
    from pymodbus.client import AsyncModbusTcpClient

    client = AsyncModbusTcpClient("server", timeout=5, retries=1)
    await client.connect()
    answers = [(await client.read_holding_registers(1, count=2, device_id=1)).registers]
    await arest()
    answers.append((await client.read_holding_registers(1, count=2, device_id=1)).registers)
    client.close()
    return answers


_family.add(
    "pymodbus, asyncio",
    ask_pymodbus_async,
    [[7, 7], [7, 7]],
    server=serve_pymodbus,
    package="pymodbus",
    imports="pymodbus.client pymodbus.server",
    tried="`timeout=5`, connects again",
)


def serve_pymodbustcp() -> None:
    from pyModbusTCP.server import DataBank, ModbusServer

    ModbusServer("0.0.0.0", 502, data_bank=DataBank(h_regs_size=10, h_regs_default_value=7)).start()


def ask_pymodbustcp() -> list[Any]:
    from pyModbusTCP.client import ModbusClient

    client = ModbusClient("server", 502, timeout=5)
    answers = [client.read_holding_registers(1, 2)]
    rest()
    answers.append(client.read_holding_registers(1, 2))
    client.close()
    return answers


_family.add(
    "pyModbusTCP",
    ask_pymodbustcp,
    [[7, 7], [7, 7]],
    server=serve_pymodbustcp,
    ci=True,
    imports="pyModbusTCP.server pyModbusTCP.client",
    tried="both sides, `timeout=5`; errors are `None`",
    differs="transaction numbers, from `random`",
)


# --- OPC UA, S7, BACnet, CoAP, SNMP, EtherNet/IP, KNX


async def serve_asyncua() -> None:
    from asyncua import Server

    server = Server()
    await server.init()
    server.set_endpoint("opc.tcp://0.0.0.0:4840/")
    space = await server.register_namespace("shop")
    machine = await server.nodes.objects.add_object(space, "machine")
    await machine.add_variable(space, "count", 7)
    async with server:
        await asyncio.get_running_loop().create_future()


async def ask_asyncua() -> list[Any]:
    from asyncua import Client

    async with Client("opc.tcp://server:4840/", timeout=10) as client:
        node = await client.nodes.objects.get_child(["2:machine", "2:count"])
        answers = [await node.read_value()]
        await arest()
        return [*answers, await node.read_value()]


_family.add(
    "asyncua",
    ask_asyncua,
    [7, 7],
    server=serve_asyncua,
    imports="asyncua",
    start=30,
    tried="OPC UA, both sides, `timeout=10`",
    differs="nonces of the machine's",
)


def serve_snap7() -> None:
    import ctypes

    import snap7
    from snap7.type import SrvArea

    server = snap7.server.Server(log=False)
    area = (ctypes.c_uint8 * 100)(*range(100))
    server.register_area(SrvArea.DB, 1, area)
    server.start_to("0.0.0.0", 102)
    threading.Event().wait()


def ask_snap7() -> list[bytes]:
    import snap7

    client = snap7.client.Client()
    client.connect("10.0.0.2", 0, 1, 102)
    answers = [bytes(client.db_read(1, 7, 2))]
    rest()
    answers.append(bytes(client.db_read(1, 7, 2)))
    client.disconnect()
    return answers


_family.add(
    "python-snap7",
    ask_snap7,
    [b"\x07\x08"] * 2,
    server=serve_snap7,
    imports="snap7.server snap7.client",
    tried="S7, both sides",
)


async def serve_coap() -> None:
    import aiocoap
    import aiocoap.resource

    class Count(aiocoap.resource.Resource):
        async def render_get(self, request: Any) -> Any:
            return aiocoap.Message(payload=b"7")

    site = aiocoap.resource.Site()
    site.add_resource(["count"], Count())
    await aiocoap.Context.create_server_context(site, bind=("10.0.0.2", 5683), transports=["simplesocketserver"])
    await asyncio.get_running_loop().create_future()


async def ask_coap() -> list[bytes]:
    import aiocoap

    context = await aiocoap.Context.create_client_context(transports=["simple6"])
    answers = []
    for number in range(2):
        request = aiocoap.Message(code=aiocoap.GET, uri="coap://server/count")
        answers.append((await context.request(request).response).payload)
        if not number:
            await arest()
    await context.shutdown()
    return answers


_family.add(
    "aiocoap",
    ask_coap,
    [b"7", b"7"],
    server=serve_coap,
    imports="aiocoap aiocoap.resource",
    tried="CoAP over UDP, its transport `simple6`",
)


async def serve_pysnmp() -> None:
    from pysnmp.carrier.asyncio.dgram import udp
    from pysnmp.entity import config, engine
    from pysnmp.entity.rfc3413 import cmdrsp, context

    snmp = engine.SnmpEngine()
    config.add_transport(snmp, udp.DOMAIN_NAME, udp.UdpTransport().open_server_mode(("0.0.0.0", 161)))
    config.add_v1_system(snmp, "area", "public")
    config.add_vacm_user(snmp, 2, "area", "noAuthNoPriv", (1, 3, 6))
    cmdrsp.GetCommandResponder(snmp, context.SnmpContext(snmp))
    await asyncio.get_running_loop().create_future()


async def ask_pysnmp() -> list[str]:
    from pysnmp.hlapi.v3arch import asyncio as snmp

    engine = snmp.SnmpEngine()
    answers = []
    for number in range(2):
        target = await snmp.UdpTransportTarget.create(("10.0.0.2", 161), timeout=2, retries=2)
        error, _, _, found = await snmp.get_cmd(
            engine,
            snmp.CommunityData("public"),
            target,
            snmp.ContextData(),
            snmp.ObjectType(snmp.ObjectIdentity("1.3.6.1.2.1.1.1.0")),
        )
        if error:
            raise TimeoutError(str(error))
        answers.append(str(found[0][1])[:6])
        if not number:
            await arest()
    engine.close_dispatcher()
    return answers


_family.add(
    "pysnmp",
    ask_pysnmp,
    ["PySNMP", "PySNMP"],
    server=serve_pysnmp,
    imports="pysnmp.entity.engine",
    tried="both sides, UDP, `timeout=2, retries=2`",
    differs="numbers from `random`, and an engine id from `id()`",
)


async def ask_puresnmp() -> list[bytes]:
    from puresnmp import V2C, Client, PyWrapper

    client = PyWrapper(Client("10.0.0.2", V2C("public")))
    answers = [(await client.get("1.3.6.1.2.1.1.1.0"))[:6]]
    await arest()
    return [*answers, (await client.get("1.3.6.1.2.1.1.1.0"))[:6]]


_family.add(
    "puresnmp",
    ask_puresnmp,
    [b"PySNMP"] * 2,
    server=serve_pysnmp,
    imports="puresnmp pysnmp.entity.engine",
    tried="against pysnmp",
)


def serve_serial() -> None:
    from tools.programs.families.standard import serve_lines

    serve_lines()


def ask_pyserial() -> list[bytes]:
    import serial

    with serial.serial_for_url("socket://server:7", timeout=5) as port:
        port.write(b"one\n")
        answers = [port.readline()]
        rest()
        port.write(b"two\n")
        return [*answers, port.readline()]


_family.add(
    "pyserial",
    ask_pyserial,
    [b"ONE\n", b"TWO\n"],
    server=serve_serial,
    imports="serial",
    ci=True,
    tried="a `socket://` port, `timeout=5`; a line that does not come is empty",
)


def ask_scapy() -> list[bytes]:
    from scapy.layers.inet import TCP  # noqa: F401
    from scapy.packet import Raw
    from scapy.supersocket import StreamSocket

    stream = StreamSocket(socket.create_connection(("server", 7)), Raw)
    answers = []
    for word in (b"one\n", b"two\n"):
        answer = stream.sr1(Raw(word), timeout=5, verbose=0)
        if answer is None:
            raise TimeoutError("no answer in 5 s")
        answers.append(bytes(answer))
        if word == b"one\n":
            rest()
    stream.close()
    return answers


_family.add(
    "scapy",
    ask_scapy,
    [b"ONE\n", b"TWO\n"],
    server=serve_serial,
    imports="scapy.supersocket scapy.layers.inet",
    tried="a `StreamSocket`, `timeout=5`",
)


def serve_mavlink() -> None:
    from pymavlink import mavutil

    link = mavutil.mavlink_connection("udpin:0.0.0.0:14550", source_system=1)
    while True:
        link.recv_match(type="HEARTBEAT", blocking=True)
        link.mav.heartbeat_send(2, 3, 0, 7, 4)


def ask_mavlink() -> list[int]:
    from pymavlink import mavutil

    link = mavutil.mavlink_connection("udpout:10.0.0.2:14550", source_system=2)
    answers = []
    for number in range(2):
        link.mav.heartbeat_send(6, 8, 0, 0, 4)
        message = link.recv_match(type="HEARTBEAT", blocking=True, timeout=5)
        if message is None:
            raise TimeoutError("no heartbeat in 5 s")
        answers.append(message.custom_mode)
        if not number:
            rest()
    return answers


_family.add(
    "pymavlink", ask_mavlink, [7, 7], server=serve_mavlink, imports="pymavlink.mavutil", tried="UDP, both sides"
)


def serve_enip() -> None:
    """Enough of EtherNet/IP to register a session and list an identity."""

    class Handler(__import__("socketserver").StreamRequestHandler):  # type: ignore[misc]
        def handle(self) -> None:
            while head := self.rfile.read(24):
                command, size, session, status, context, options = struct.unpack("<HHII8sI", head)
                body = self.rfile.read(size)
                if command == 0x65:
                    session = 7
                elif command == 0x63:
                    identity = (
                        struct.pack("<H", 1)
                        + struct.pack(">HHIQ", 2, 44818, 0x0A000002, 0)
                        + struct.pack("<HHHBBHIB", 1, 14, 55, 20, 11, 0, 12345, 4)
                        + b"shop"
                        + b"\3"
                    )
                    body = struct.pack("<HHH", 1, 0x0C, len(identity)) + identity
                self.wfile.write(struct.pack("<HHII8sI", command, len(body), session, status, context, options) + body)

    from tools.programs.families.mail_files import _Threads

    with _Threads(("", 44818), Handler) as server:
        server.serve_forever()


def ask_pycomm3() -> list[str]:
    from pycomm3 import CIPDriver

    return [
        CIPDriver.list_identity("server")["product_name"],
        (rest(), CIPDriver.list_identity("server")["product_name"])[1],
    ]  # type: ignore[func-returns-value]


_family.add(
    "pycomm3", ask_pycomm3, ["shop", "shop"], server=serve_enip, imports="pycomm3", tried="EtherNet/IP, an identity"
)


async def serve_bacnet() -> None:
    from bacpypes3.app import Application
    from bacpypes3.local.analog import AnalogValueObject
    from bacpypes3.local.device import DeviceObject
    from bacpypes3.local.networkport import NetworkPortObject

    app = Application.from_object_list(
        [
            DeviceObject(objectIdentifier=("device", 7), objectName="shop", vendorIdentifier=999),
            NetworkPortObject("10.0.0.2/24", objectIdentifier=("network-port", 1), objectName="port"),
        ]
    )
    app.add_object(AnalogValueObject(objectIdentifier=("analog-value", 1), objectName="count", presentValue=7.0))
    await asyncio.get_running_loop().create_future()


async def ask_bacnet() -> list[float]:
    from bacpypes3.app import Application
    from bacpypes3.local.device import DeviceObject
    from bacpypes3.local.networkport import NetworkPortObject
    from bacpypes3.pdu import Address
    from bacpypes3.primitivedata import ObjectIdentifier

    app = Application.from_object_list(
        [
            DeviceObject(objectIdentifier=("device", 8), objectName="client", vendorIdentifier=999),
            NetworkPortObject("10.0.0.1/24", objectIdentifier=("network-port", 1), objectName="port"),
        ]
    )
    answers = []
    for number in range(2):
        answers.append(
            float(await app.read_property(Address("10.0.0.2"), ObjectIdentifier("analog-value,1"), "present-value"))
        )
        if not number:
            await arest()
    app.close()
    return answers


_family.add(
    "bacpypes3", ask_bacnet, [7.0, 7.0], server=serve_bacnet, imports="bacpypes3.app", tried="BACnet/IP, both sides"
)


def serve_zeroconf() -> None:
    import zeroconf

    with zeroconf.Zeroconf(interfaces=["10.0.0.2"]) as zone:
        zone.register_service(
            zeroconf.ServiceInfo(
                "_shop._tcp.local.",
                "till._shop._tcp.local.",
                port=80,
                addresses=[socket.inet_aton("10.0.0.2")],
                server="till.local.",
            )
        )
        threading.Event().wait()


def ask_zeroconf() -> list[Any]:
    import zeroconf

    with zeroconf.Zeroconf(interfaces=["10.0.0.1"]) as zone:
        found = [zone.get_service_info("_shop._tcp.local.", "till._shop._tcp.local.", timeout=3000)]
        rest()
        return [info and info.port for info in found]


_family.add(
    "zeroconf",
    ask_zeroconf,
    [80],
    server=serve_zeroconf,
    imports="zeroconf",
    tried="mDNS: a service that one host has registered, found by another",
    start=5,
)
