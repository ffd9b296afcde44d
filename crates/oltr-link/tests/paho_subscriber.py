"""Subscribes to records with paho in a session that is kept, and prints a line for each thing that happens:
`subscribed`, or the `id` of a record. Started by the test `killed`: `paho_subscriber.py PORT TOPIC`."""
import json
import sys

import paho.mqtt.client as mqtt

PORT, TOPIC = int(sys.argv[1]), sys.argv[2]


def connected(client, _userdata, _flags, reason, _properties):
    # A broker without a memory does not know the session any more.
    if not reason.is_failure:
        client.subscribe(TOPIC, qos=1)


def subscribed(*_):
    print("subscribed", flush=True)


def received(_client, _userdata, message):
    print(json.loads(message.payload)["id"], flush=True)


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="paho", clean_session=False)
client.on_connect, client.on_subscribe, client.on_message = connected, subscribed, received
client.reconnect_delay_set(min_delay=0.05, max_delay=0.2)
client.connect("127.0.0.1", PORT, keepalive=30)
client.loop_forever(retry_first_connection=True)
