"""paho-mqtt, with its thread and in a loop of the program's, against a small broker."""

from __future__ import annotations

import time
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from estab import Host, Link, Network
from tools.programs.servers.mqtt import Broker


def new_client(**callbacks: Any) -> mqtt.Client:
    made = mqtt.Client(CallbackAPIVersion.VERSION2)
    for name, callback in callbacks.items():
        setattr(made, name, callback)
    return made


def test_messages_reach_a_subscriber_by_the_clients_thread(net: Network, client: Host, server: Host) -> None:
    server.run(Broker().serve)
    seen: list[tuple[str, bytes, float]] = []

    @client.run
    def listen() -> None:
        listener = new_client(
            on_connect=lambda own, *rest: own.subscribe("news"),
            on_message=lambda own, data, message: seen.append((message.topic, message.payload, time.monotonic())))
        listener.connect("server", keepalive=60)
        listener.loop_start()
        time.sleep(3600)
        listener.disconnect()
        listener.loop_stop()

    @client.run(start=1000)
    def speak() -> bool:
        speaker = new_client()
        speaker.connect("server")
        speaker.loop_start()
        told = speaker.publish("news", b"hello", qos=1)
        told.wait_for_publish(3600)
        speaker.disconnect()
        speaker.loop_stop()
        return told.is_published()

    net.run()
    assert speak.result()
    assert [(topic, text) for topic, text, _ in seen] == [("news", b"hello")]
    assert seen[0][2] == pytest.approx(1000.12, abs=0.05)


def test_a_broker_without_power_is_noticed_by_keepalive(net: Network, client: Host, server: Host) -> None:
    server.run(Broker().serve)
    net.at(100, server.power_off)

    @client.run
    def listen() -> tuple[float, str]:
        noticed: list[tuple[float, str]] = []

        def on_disconnect(own: mqtt.Client, data: Any, flags: Any, reason: Any, properties: Any) -> None:
            noticed.append((time.monotonic(), str(reason)))
            own.disconnect()

        listener = new_client(on_disconnect=on_disconnect)
        listener.connect("server", keepalive=600)
        listener.loop_forever()
        return noticed[0]

    net.run()
    noticed_s, reason = listen.result()
    # A ping after 600 s of silence, and as long to wait for its answer; paho looks at its clock once a second.
    assert noticed_s == pytest.approx(1200, abs=2)
    assert reason == "Keep alive timeout"


def test_a_cut_client_leaves_its_will_and_comes_back(
    net: Network, client: Host, server: Host, cable: Link,
) -> None:
    broker = Broker()
    server.run(broker.serve)
    wills: list[float] = []
    connected: list[float] = []
    net.at(100, net.links[0].cut)
    net.at(400, net.links[0].heal)

    @net.hosts["router"].run
    def watch() -> None:
        watcher = new_client(on_connect=lambda own, *rest: own.subscribe("gone"),
                             on_message=lambda own, data, message: wills.append(time.monotonic()))
        watcher.connect("server", keepalive=3600)
        watcher.loop_start()
        time.sleep(1000)
        watcher.disconnect()
        watcher.loop_stop()

    @client.run(start=1)
    def live() -> None:
        living = new_client(on_connect=lambda *rest: connected.append(time.monotonic()))
        living.will_set("gone", b"the client")
        living.connect("server", keepalive=60)
        living.loop_start()
        time.sleep(999)
        living.disconnect()
        living.loop_stop()

    net.run()
    # The broker hears nothing for one and a half times the keepalive, from the ping at about 61 s on.
    assert len(broker.lost) == 1
    assert broker.lost[0] == pytest.approx(61 + 90, abs=2)
    assert wills == [pytest.approx(broker.lost[0] + 0.015, abs=0.001)]
    assert len(connected) == 2
    assert 400 < connected[1] < 530
