//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Publish the events that 'oltr stream --store' keeps over MQTT: in order, each at least once.
///
/// What was acknowledged is remembered on the disk: after a restart of the broker, this program or the machine it goes on
/// with the next. It waits for a network for as long as it takes, with growing pauses.
///
/// Topics: oltr/DEVICE/status (online or offline, retained), oltr/DEVICE/event (oltr.record/1, as 'oltr store list --json'
/// prints it).
#[derive(Clone, Debug, Parser)]
#[command(
    name = "oltr-link",
    version,
    after_help = "\
Examples:
  oltr-link --store /var/lib/oltr/store --mqtt mqtt://broker.lan
  oltr-link --store store --mqtt mqtts://broker.example:8883 --user trap --password-file secret --home-assistant
  oltr-link --store store --mqtt mqtt://broker.lan --withdraw      Home Assistant forgets this device"
)]
pub struct Args {
    /// The store, as 'oltr stream --store' has it
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    /// The broker: mqtt://HOST:PORT (port 1883 if none is said), or mqtts://HOST:PORT with TLS (8883)
    #[arg(long, value_name = "URL", env = "OLTR_LINK_MQTT")]
    pub mqtt: String,
    /// Name of this device in topics: letters, digits, - and _ [default: the machine's name]
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// Announce this device to Home Assistant
    #[arg(long)]
    pub home_assistant: bool,
    /// With --home-assistant: where it looks for devices
    #[arg(long, value_name = "PREFIX", default_value = "homeassistant")]
    pub discovery_prefix: String,
    /// Withdraw what Home Assistant was told of this device, and end
    #[arg(long)]
    pub withdraw: bool,
    /// User at the broker
    #[arg(long, value_name = "NAME", env = "OLTR_LINK_USER")]
    pub user: Option<String>,
    /// File whose first line is the password at the broker; the variable OLTR_LINK_PASSWORD says it too
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
    /// With mqtts: file with the certificates (PEM) that a broker's must be signed by [default: those of the system]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Where what was acknowledged is remembered [default: link-DEVICE.json in the store's folder]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// First pause before a lost connection is tried again; each further one is twice as long, up to 5 minutes
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    pub retry: Duration,
    /// End when nothing waits any more
    #[arg(long)]
    pub once: bool,
    /// Say more
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say errors only
    #[arg(short, long)]
    pub quiet: bool,
}
