//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Publish the events that 'oltr stream --store' keeps over MQTT: in order, each at least once.
///
/// The program stores on disk which records the broker acknowledged. After a restart of the broker, the program or the
/// machine it continues with the next record. It waits for a network without a limit, with growing pauses.
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
    /// The store: the folder of 'oltr stream --store'
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    /// The broker: mqtt://HOST:PORT (default port 1883), or mqtts://HOST:PORT for TLS (8883)
    #[arg(long, value_name = "URL", env = "OLTR_LINK_MQTT")]
    pub mqtt: String,
    /// Name of this device in topics: letters, digits, - and _ [default: the machine's name]
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// Announce this device to Home Assistant
    #[arg(long)]
    pub home_assistant: bool,
    /// With --home-assistant: topic prefix under which it discovers devices
    #[arg(long, value_name = "PREFIX", default_value = "homeassistant")]
    pub discovery_prefix: String,
    /// Remove this device from Home Assistant, and end
    #[arg(long)]
    pub withdraw: bool,
    /// User at the broker
    #[arg(long, value_name = "NAME", env = "OLTR_LINK_USER")]
    pub user: Option<String>,
    /// File whose first line is the password at the broker; or set the variable OLTR_LINK_PASSWORD
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
    /// With mqtts: file of trusted CA certificates (PEM) [default: those of the system]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// File that stores which records were acknowledged [default: link-DEVICE.json in the store's folder]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Pause before the first attempt to reconnect; it doubles with each attempt, up to 5 minutes
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    pub retry: Duration,
    /// End when all records were sent
    #[arg(long)]
    pub once: bool,
    /// Log more
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Log errors only
    #[arg(short, long)]
    pub quiet: bool,
}
