//! One MQTT 3.1.1 connection to a broker. `mqtt-protocol-core` implements the protocol; this file adds sockets and
//! timeouts.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt::connection::{ConnectionOptions, Event};
use mqtt::packet::{Packet, Qos, v3_1_1};
use mqtt::prelude::*;
use mqtt_protocol_core::mqtt;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::address::Address;

/// Read timeout: how long the socket may be silent before control returns to the caller.
pub const TICK: Duration = Duration::from_millis(100);

/// Timeout for making a connection, including the broker's acceptance.
const CONNECT: Duration = Duration::from_secs(15);

/// Timeout of a write.
const WRITE: Duration = Duration::from_secs(30);

/// A connection that was silent for this long counts as lost. Pings are sent before that.
const SILENCE: Duration = Duration::from_secs(60);

/// Silence after which a ping is sent.
const PING: Duration = Duration::from_secs(20);

/// Seconds of silence after which the broker counts this device as lost and publishes its last will.
const KEEP_ALIVE: u16 = 60;

/// Largest packet accepted from a broker, in bytes. A broker sends acknowledgements and Home Assistant's birth
/// messages.
const MAX_PACKET: u32 = 64 << 10;

/// Messages that one read yields.
type Heards = Vec<Heard>;

/// A message from the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The broker acknowledged the publication with this packet id.
    Acknowledged(u16),
    /// A message of a subscribed topic: topic and payload.
    Message(String, Vec<u8>),
}

/// Why the connection ended.
#[derive(Debug)]
pub enum Lost {
    /// The connection broke or could not be made.
    Connection(String),
    /// The broker refused this client.
    Refused(String),
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Lost::Connection(text) | Lost::Refused(text) => f.write_str(text),
        }
    }
}

/// Identity of this client, and its last will.
#[derive(Clone, Debug)]
pub struct Client {
    /// Client id.
    pub id: String,
    /// User.
    pub user: Option<String>,
    /// Password.
    pub password: Option<String>,
    /// Topic and payload of its last will, which is retained.
    pub will: (String, &'static str),
}

/// Settings of TLS.
pub type Tls = Arc<rustls::ClientConfig>;

/// Loads the trusted certificates: from `file`, or those of the system.
///
/// # Errors
/// A text that says what is wrong with them.
pub fn tls(file: Option<&Path>) -> Result<Tls, String> {
    let mut roots = rustls::RootCertStore::empty();
    match file {
        Some(file) => {
            let bad = |e: &dyn std::fmt::Display| format!("{}: {e}; --ca takes certificates in PEM", file.display());
            for certificate in CertificateDer::pem_file_iter(file).map_err(|e| bad(&e))? {
                roots.add(certificate.map_err(|e| bad(&e))?).map_err(|e| bad(&e))?;
            }
            if roots.is_empty() {
                return Err(bad(&"has no certificate"));
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let why = found.errors.first().map(|e| format!(" ({e})")).unwrap_or_default();
                return Err(format!(
                    "this system has no certificates to trust{why}; install ca-certificates, or give --ca"
                ));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|e| format!("TLS: {e}"))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

trait Duplex: Read + Write {}
impl<T: Read + Write> Duplex for T {}

/// A connection that the broker has accepted.
pub struct Session {
    socket: Box<dyn Duplex>,
    mqtt: mqtt::Connection<mqtt::role::Client>,
    heard: Instant,
    sent: Instant,
    pinged: bool,
    buffer: Box<[u8]>,
}

fn lost(e: impl std::fmt::Display) -> Lost {
    Lost::Connection(e.to_string())
}

/// Performs the TLS handshake. It takes two round trips: longer than [`TICK`] on a slow network.
fn shake_hands(
    tls: &mut rustls::ClientConnection,
    mut stream: &TcpStream,
    stop: &dyn Fn() -> bool,
) -> Result<(), Lost> {
    let end = Instant::now() + CONNECT;
    while tls.is_handshaking() {
        if Instant::now() > end {
            return Err(lost("the broker does not answer in TLS; is it a port for mqtts://?"));
        }
        if stop() {
            return Err(lost("the program ends"));
        }
        match tls.complete_io(&mut stream) {
            Err(e) if is_no_answer_yet(&e) => {}
            Err(e) => return Err(lost(e)),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Whether the error is a timeout of [`TICK`].
fn is_no_answer_yet(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

impl Session {
    /// Connects and waits until the broker accepts. Gives up when `stop` returns true.
    ///
    /// # Errors
    /// [`Lost`].
    pub fn open(
        address: &Address,
        tls: Option<&Tls>,
        client: &Client,
        stop: &dyn Fn() -> bool,
    ) -> Result<Session, Lost> {
        let addresses = (address.host.as_str(), address.port).to_socket_addrs().map_err(lost)?;
        let mut failed = lost("the name leads to no address");
        let mut found = None;
        for place in addresses {
            match TcpStream::connect_timeout(&place, CONNECT) {
                Ok(stream) => {
                    found = Some(stream);
                    break;
                }
                Err(e) => failed = lost(format!("{place}: {e}")),
            }
            if stop() {
                break;
            }
        }
        let Some(stream) = found else { return Err(failed) };
        let set = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(TICK)));
        set.and_then(|()| stream.set_write_timeout(Some(WRITE))).map_err(lost)?;
        let socket: Box<dyn Duplex> = match tls {
            None => Box::new(stream),
            Some(config) => {
                let name = ServerName::try_from(address.host.clone()).map_err(lost)?;
                let mut tls = rustls::ClientConnection::new(config.clone(), name).map_err(lost)?;
                shake_hands(&mut tls, &stream, stop)?;
                Box::new(rustls::StreamOwned::new(tls, stream))
            }
        };
        let mut options = ConnectionOptions::default();
        options.maximum_packet_size_recv = MAX_PACKET;
        let mut mqtt = mqtt::Connection::with_options(mqtt::Version::V3_1_1, options);
        mqtt.set_auto_pub_response(true);
        let now = Instant::now();
        let mut session =
            Session { socket, mqtt, heard: now, sent: now, pinged: false, buffer: vec![0; 8 << 10].into() };
        session.greet(client, stop)?;
        Ok(session)
    }

    fn greet(&mut self, client: &Client, stop: &dyn Fn() -> bool) -> Result<(), Lost> {
        let bad = |e: mqtt::result_code::MqttError| lost(format!("a greeting cannot be made: {e:?}"));
        let (topic, payload) = &client.will;
        let mut connect = v3_1_1::Connect::builder()
            .client_id(client.id.as_str())
            .and_then(|c| c.will_message(topic.as_str(), *payload, Qos::AtLeastOnce, true))
            .map_err(bad)?
            .clean_session(true)
            .keep_alive(KEEP_ALIVE);
        if let Some(user) = &client.user {
            connect = connect.user_name(user.as_str()).map_err(bad)?;
        }
        if let Some(password) = &client.password {
            connect = connect.password(password.as_str()).map_err(bad)?;
        }
        let events = self.mqtt.checked_send(connect.build().map_err(bad)?);
        self.obey(events, &mut Vec::new())?;
        let end = Instant::now() + CONNECT;
        loop {
            if Instant::now() > end {
                return Err(lost("the broker does not answer"));
            }
            if stop() {
                return Err(lost("the program ends"));
            }
            let Some(n) = self.read()? else { continue };
            let mut cursor = mqtt::common::Cursor::new(&self.buffer[..n]);
            let events = self.mqtt.recv(&mut cursor);
            for event in events {
                match event {
                    Event::NotifyPacketReceived(Packet::V3_1_1Connack(answer)) => {
                        return match answer.return_code() {
                            mqtt::result_code::ConnectReturnCode::Accepted => Ok(()),
                            code => Err(Lost::Refused(format!("the broker refuses this client: {code:?}"))),
                        };
                    }
                    Event::NotifyError(e) => return Err(lost(format!("that is no broker of MQTT: {e:?}"))),
                    Event::RequestClose => return Err(lost("that is no broker of MQTT")),
                    _ => {}
                }
            }
        }
    }

    /// Publishes with QoS 1. Returns the packet id that the acknowledgement will carry.
    ///
    /// # Errors
    /// [`Lost`].
    pub fn publish(&mut self, topic: &str, payload: &[u8], retain: bool) -> Result<u16, Lost> {
        let id = self.mqtt.acquire_packet_id().map_err(|e| lost(format!("no number is free: {e:?}")))?;
        let bad = |e: mqtt::result_code::MqttError| lost(format!("{topic}: cannot be published: {e:?}"));
        let message = v3_1_1::Publish::builder()
            .topic_name(topic)
            .map_err(bad)?
            .qos(Qos::AtLeastOnce)
            .retain(retain)
            .packet_id(id)
            .payload(payload)
            .build()
            .map_err(bad)?;
        let events = self.mqtt.checked_send(message);
        self.obey(events, &mut Vec::new())?;
        Ok(id)
    }

    /// Subscribes to `topic`.
    ///
    /// # Errors
    /// [`Lost`].
    pub fn subscribe(&mut self, topic: &str) -> Result<(), Lost> {
        let id = self.mqtt.acquire_packet_id().map_err(|e| lost(format!("no number is free: {e:?}")))?;
        let bad = |e: mqtt::result_code::MqttError| lost(format!("{topic}: cannot be subscribed to: {e:?}"));
        let options = mqtt::packet::SubOpts::new().set_qos(Qos::AtLeastOnce);
        let entry = mqtt::packet::SubEntry::new(topic, options).map_err(bad)?;
        let subscribe = v3_1_1::Subscribe::builder().packet_id(id).entries(vec![entry]).build().map_err(bad)?;
        let events = self.mqtt.checked_send(subscribe);
        self.obey(events, &mut Vec::new())
    }

    /// Waits up to [`TICK`] for messages from the broker.
    ///
    /// # Errors
    /// [`Lost`].
    pub fn listen(&mut self) -> Result<Heards, Lost> {
        let mut heards = Vec::new();
        match self.read()? {
            Some(n) => {
                self.heard = Instant::now();
                self.pinged = false;
                let buffer = std::mem::take(&mut self.buffer);
                let mut cursor = mqtt::common::Cursor::new(&buffer[..n]);
                let mut result = Ok(());
                while (cursor.position() as usize) < n && result.is_ok() {
                    let events = self.mqtt.recv(&mut cursor);
                    result = self.obey(events, &mut heards);
                }
                self.buffer = buffer;
                // Handle the bytes that arrived before the connection broke.
                if let Err(e) = result
                    && heards.is_empty()
                {
                    return Err(e);
                }
            }
            None => {
                let silent = self.heard.elapsed();
                if silent > SILENCE {
                    return Err(lost("the broker is silent"));
                }
                if (silent > PING || self.sent.elapsed() > PING) && !std::mem::replace(&mut self.pinged, true) {
                    let ping = v3_1_1::Pingreq::builder().build().map_err(|e| lost(format!("{e:?}")))?;
                    let events = self.mqtt.checked_send(ping);
                    self.obey(events, &mut heards)?;
                }
            }
        }
        Ok(heards)
    }

    /// Disconnects properly, so that the broker does not publish the last will.
    pub fn close(mut self) {
        if let Ok(goodbye) = v3_1_1::Disconnect::builder().build() {
            let events = self.mqtt.checked_send(goodbye);
            let _ = self.obey(events, &mut Vec::new());
        }
    }

    /// Carries out the protocol's events.
    fn obey(&mut self, events: Vec<Event>, heards: &mut Heards) -> Result<(), Lost> {
        for event in events {
            match event {
                Event::RequestSendPacket { packet, .. } => {
                    let written = self.socket.write_all(&packet.to_continuous_buffer());
                    written.and_then(|()| self.socket.flush()).map_err(lost)?;
                    self.sent = Instant::now();
                }
                Event::NotifyPacketReceived(packet) => match packet {
                    Packet::V3_1_1Puback(answer) => heards.push(Heard::Acknowledged(answer.packet_id())),
                    Packet::V3_1_1Publish(message) => {
                        let (topic, payload) =
                            (message.topic_name().to_string(), message.payload().as_slice().to_vec());
                        heards.push(Heard::Message(topic, payload));
                    }
                    _ => {}
                },
                Event::NotifyError(e) => return Err(lost(format!("the broker breaks the protocol: {e:?}"))),
                Event::RequestClose => return Err(lost("the broker ended the connection")),
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads into the buffer. Returns the number of bytes, or `None` on a timeout.
    fn read(&mut self) -> Result<Option<usize>, Lost> {
        match self.socket.read(&mut self.buffer) {
            Ok(0) => Err(lost("the broker ended the connection")),
            Ok(n) => Ok(Some(n)),
            Err(e) if is_no_answer_yet(&e) => Ok(None),
            Err(e) => Err(lost(e)),
        }
    }
}
