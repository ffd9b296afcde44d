#!/usr/bin/env python3
"""Lets Home Assistant's own schemas read what oltr-link announces: `tests/validate_home.py PROGRAM`.

A broker (Debian's mosquitto) takes the announcement of PROGRAM, oltr-link, and the MQTT integration of the PyPI package
`homeassistant` reads it as it would in a house: names in full, the device's options given to each entity, then the schema of
each platform. What cannot be had here is said and passed over; a Python 3.13 is needed, named by PYTHON unless it is this one.
"""
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = ROOT / "target/home-python"
PACKAGES = ["homeassistant==2025.1.4", "paho-mqtt<2"]
PLATFORMS = {"event", "sensor", "image", "binary_sensor"}
DEVICE = "trap-1"
PATIENCE = 20.0                      # seconds that the announcement may take


def announced(program: Path) -> tuple[str, str]:
    """The topic and the text of what PROGRAM announces, with an empty store."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        store = Path(folder, "store")
        (store / "segments").mkdir(parents=True)
        settings = Path(folder, "broker.conf")
        settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
        broker = subprocess.Popen(["mosquitto", "-c", str(settings)], stderr=subprocess.DEVNULL)
        link = None
        try:
            wait_for(port)
            link = subprocess.Popen([program, "--store", store, "--mqtt", f"mqtt://127.0.0.1:{port}", "--home-assistant",
                                     "--device", DEVICE])
            said = subprocess.run(["mosquitto_sub", "-p", str(port), "-t", "homeassistant/#", "-C", "1", "-F", "%t %p", "-W",
                                   str(int(PATIENCE))], stdout=subprocess.PIPE, text=True)
        finally:
            for process in filter(None, (link, broker)):
                process.terminate()
                process.wait()
    if said.returncode:
        sys.exit("nothing was announced")
    topic, text = said.stdout.strip().split(" ", 1)
    return topic, text


def wait_for(port: int) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            if time.monotonic() > end:
                sys.exit("the broker does not answer")
            time.sleep(0.1)


def read(topic: str, text: str) -> list[str]:
    """What Home Assistant finds wrong; run inside the environment."""
    import importlib

    from homeassistant import core
    from homeassistant.components.mqtt import discovery
    from homeassistant.helpers import frame

    match = discovery.TOPIC_MATCHER.match(topic.removeprefix("homeassistant/"))
    if not match or match["component"] != "device":
        return [f"{topic}: is no topic that devices are discovered at"]
    # Templates are compiled by a house that they need not know otherwise.
    house = core.HomeAssistant(tempfile.gettempdir())
    setup = getattr(frame, "async_setup", None)
    if setup:
        setup(house)
    payload = discovery._parse_device_payload(house, text, match["object_id"], match["node_id"])
    if not payload:
        return ["the device: see the warning above"]
    wrong = [] if discovery._valid_origin_info(payload) else ["the origin"]
    found = set()
    for name, entity in payload["components"].items():
        platform = entity.pop("platform")
        found.add(platform)
        discovery._merge_common_device_options(entity, payload)
        entity["device"], entity["origin"] = payload["device"], payload["origin"]
        module = importlib.import_module(f"homeassistant.components.mqtt.{platform}")
        try:
            module.DISCOVERY_SCHEMA(entity)
        except Exception as error:
            wrong.append(f"{name} ({platform}): {error}")
    if found != PLATFORMS:
        wrong.append(f"platforms {sorted(found)}, not {sorted(PLATFORMS)}")
    # It would say so of a payload that is none.
    broken = json.loads(text)
    next(iter(broken["cmps"].values()))["state_topic"] = "a/#/b"
    broken = discovery._parse_device_payload(house, json.dumps(broken), match["object_id"], match["node_id"])
    try:
        entity = next(iter(broken["components"].values()))
        module = importlib.import_module(f"homeassistant.components.mqtt.{entity.pop('platform')}")
        module.DISCOVERY_SCHEMA(entity)
        wrong.append("a wrong topic was not noticed: this checks nothing")
    except Exception:
        pass
    return wrong


def main() -> None:
    if os.environ.get("OLTR_HOME_INSIDE"):
        import asyncio

        async def inside() -> list[str]:
            return read(*json.load(sys.stdin))

        wrong = asyncio.run(inside())
        if wrong:
            sys.exit("\n".join(wrong))
        return
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for tool in ("mosquitto", "mosquitto_sub"):
        if not shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin"):
            print(f"passed over: {tool} is not here (Debian's mosquitto, mosquitto-clients)")
            return
    os.environ["PATH"] += ":/usr/sbin"
    environment = Path(os.environ.get("HOME_ENVIRONMENT", ENVIRONMENT))
    python = environment / "bin/python"
    if not python.exists():
        base = os.environ.get("PYTHON", sys.executable)
        made = subprocess.run([base, "-m", "venv", environment]).returncode == 0
        if not made or subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES]).returncode:
            shutil.rmtree(environment, ignore_errors=True)
            print(f"passed over: {PACKAGES[0]} cannot be installed for {base}; it takes Python 3.13")
            return
    topic, text = announced(Path(sys.argv[1]).resolve())
    ran = subprocess.run([python, __file__], input=json.dumps([topic, text]), text=True,
                         env={**os.environ, "OLTR_HOME_INSIDE": "1"})
    if ran.returncode:
        sys.exit(f"{topic}: Home Assistant refuses it")
    print(f"{topic}: {len(json.loads(text)['cmps'])} entities, all as {PACKAGES[0]} takes them")


if __name__ == "__main__":
    main()
