//! Information about the board from `/proc`, `/sys` and `/dev`.
//!
//! All paths are relative to a root that tests replace. Missing information is left out or reported as unknown: none of
//! it is needed to run.

use oltr::text::counted;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Finding;
use crate::cli::output::bytes;

/// Boards throttle from 80 to 85 °C.
const HOT: f64 = 75.0;

/// Memory below which the system itself gets into trouble.
const SCARCE_MEMORY: u64 = 32 << 20;

/// Disk below which logs and updates fail first.
const SCARCE_DISK: u64 = 100 << 20;

/// The first day of 2026: an earlier time means that the clock was never set.
const FIRST_PLAUSIBLE_SECOND: u64 = 1_767_225_600;

/// Vector instructions that matter for quantised networks, as Linux names them.
const FLAGS: [&str; 12] =
    ["ssse3", "sse4_1", "avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "neon", "asimd", "asimddp", "i8mm", "sve"];

/// Bits of the Raspberry Pi firmware's `get_throttled`.
const THROTTLED: [(u32, &str); 8] = [
    (0, "under-voltage now"),
    (1, "frequency capped now"),
    (2, "throttled now"),
    (3, "soft temperature limit now"),
    (16, "under-voltage since boot"),
    (17, "frequency capped since boot"),
    (18, "throttled since boot"),
    (19, "soft temperature limit since boot"),
];

/// A system, by the root of its file system.
pub struct Board {
    root: PathBuf,
}

impl Board {
    /// The system whose root is `root`.
    pub fn at(root: &Path) -> Board {
        Board { root: root.into() }
    }

    /// The text of a file, trimmed; `None` if it cannot be read.
    fn text(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.root.join(path)).ok()?;
        Some(text.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned())
    }

    /// Entries of a folder whose names begin with `prefix`, sorted by name.
    fn entries(&self, folder: &str, prefix: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root.join(folder)).into_iter().flatten().flatten();
        let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
        let mut paths: Vec<_> = named.map(|entry| entry.path()).collect();
        paths.sort();
        paths
    }

    /// The value of the first line `key: value` in `/proc/cpuinfo` whose key is among `keys`, which are tried in order.
    fn cpuinfo(&self, keys: &[&str]) -> Option<String> {
        let text = self.text("proc/cpuinfo")?;
        let value = |wanted: &&str| {
            let mut fields = text.lines().filter_map(|line| line.split_once(':'));
            fields.find(|(key, _)| key.trim() == *wanted).map(|(_, value)| value.trim().to_owned())
        };
        keys.iter().find_map(value)
    }

    /// The processor's name, its cores, and whether this build fits it.
    pub fn processor(&self) -> Finding {
        let board = self.text("proc/device-tree/model").or_else(|| self.cpuinfo(&["model name", "Model", "Hardware"]));
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let detail = format!("{}, {cores} core(s)", board.unwrap_or_else(|| "unknown processor".into()));
        match self.text("proc/sys/kernel/arch") {
            Some(kernel) if cfg!(target_pointer_width = "32") && kernel.ends_with("64") => Finding::warn(
                "processor",
                format!("{detail}; a 32-bit program on a {kernel} system"),
                "the 64-bit build of oltr is faster",
            ),
            _ => Finding::ok("processor", detail),
        }
    }

    /// Whether `threads` can run at a time.
    pub fn threads(&self, threads: usize) -> Finding {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        if threads > cores {
            return Finding::warn(
                "threads",
                format!("{threads} threads on {}", counted(cores, "core")),
                format!("--threads {cores} is faster"),
            );
        }
        Finding::ok("threads", format!("{threads} of {cores} (--threads)"))
    }

    /// The vector instructions of the processor.
    pub fn instruction_sets(&self) -> Vec<String> {
        let flags = self.cpuinfo(&["flags", "Features"]).unwrap_or_default();
        let flags: BTreeSet<&str> = flags.split_whitespace().collect();
        FLAGS.into_iter().filter(|flag| flags.contains(flag)).map(String::from).collect()
    }

    /// Whether there is enough memory for a model that needs `needed` bytes.
    pub fn memory(&self, needed: Option<u64>) -> Finding {
        let Some(meminfo) = self.text("proc/meminfo") else {
            return Finding::ok("memory", "unknown: the system does not tell");
        };
        let field = |name: &str| -> Option<u64> {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
        };
        let (total, available) = (field("MemTotal").unwrap_or(0), field("MemAvailable").unwrap_or(0));
        let limit = self.memory_limit().filter(|limit| *limit < total);
        let of_limit = limit.map(|limit| format!(", this process may use {} (control group)", bytes(limit)));
        let free = available.min(limit.unwrap_or(u64::MAX));
        let allow = match free.saturating_sub(SCARCE_MEMORY) {
            0 => String::new(),
            most => format!("; --max-memory can be up to {}", bytes(most)),
        };
        let of_limit = of_limit.unwrap_or_default();
        let detail = format!("{} of {} free{of_limit}{allow}", bytes(available), bytes(total));
        match needed {
            Some(needed) if needed > free => Finding::fail(
                "memory",
                format!("{detail}; the model needs {}", bytes(needed)),
                "use a smaller model, end other programs, or raise the limit of the service or container",
            ),
            _ if free < needed.unwrap_or(0) + SCARCE_MEMORY => {
                Finding::warn("memory", detail, "scarce: photos take memory too; bound them by their size")
            }
            _ => Finding::ok("memory", detail),
        }
    }

    /// The smallest memory limit of the control groups that this process is in.
    fn memory_limit(&self) -> Option<u64> {
        let groups = self.text("proc/self/cgroup")?;
        let limits = groups.lines().flat_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, group) = (parts.next(), parts.next().unwrap_or(""), parts.next().unwrap_or("/"));
            let (mount, file) = match controllers {
                "" => ("sys/fs/cgroup", "memory.max"),
                list if list.split(',').any(|c| c == "memory") => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
                _ => return Vec::new(),
            };
            // A group is bound by those around it. In a container its path may be that outside, with only the root seen.
            let group = Path::new(group.trim_start_matches('/'));
            let around = group.ancestors().filter_map(|g| self.text(Path::new(mount).join(g).join(file).to_str()?));
            around.filter_map(|limit| limit.parse::<u64>().ok()).collect()
        });
        limits.min()
    }

    /// Heat, voltage and clock rate.
    pub fn health(&self) -> Vec<Finding> {
        [self.temperature(), self.throttling(), self.voltage(), self.frequency(), self.governor()]
            .into_iter()
            .flatten()
            .collect()
    }

    fn temperature(&self) -> Option<Finding> {
        let zones = self.entries("sys/class/thermal", "thermal_zone");
        let read = |zone: &PathBuf| fs::read_to_string(zone.join("temp")).ok()?.trim().parse::<f64>().ok();
        let hottest = zones.iter().filter_map(read).map(|millidegrees| millidegrees / 1e3).reduce(f64::max)?;
        let detail = format!("{hottest:.0} °C");
        Some(if hottest >= HOT {
            Finding::warn("temperature", detail, "near throttling: cool the board, or process fewer frames")
        } else {
            Finding::ok("temperature", detail)
        })
    }

    fn throttling(&self) -> Option<Finding> {
        let text = self.text("sys/devices/platform/soc/soc:firmware/get_throttled")?;
        let bits = u32::from_str_radix(text.trim_start_matches("0x"), 16).ok()?;
        let said: Vec<_> = THROTTLED.iter().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, text)| *text).collect();
        Some(if said.is_empty() {
            Finding::ok("power", "no throttling since boot")
        } else {
            Finding::warn("power", said.join(", "), "use a stronger power supply and cable, and cool the board")
        })
    }

    /// The Raspberry Pi's under-voltage sensor, if the firmware's flags are missing.
    fn voltage(&self) -> Option<Finding> {
        let sensors = self.entries("sys/class/hwmon", "hwmon");
        let named = |name: &PathBuf| fs::read_to_string(name.join("name")).is_ok_and(|name| name.trim() == "rpi_volt");
        let alarm = fs::read_to_string(sensors.into_iter().find(named)?.join("in0_lcrit_alarm")).ok()?;
        Some(match alarm.trim() {
            "0" => Finding::ok("voltage", "enough"),
            _ => Finding::warn("voltage", "too low", "use a stronger power supply and a short, thick cable"),
        })
    }

    /// Whether the clock rate is limited below the processor's maximum.
    fn frequency(&self) -> Option<Finding> {
        let policies = self.entries("sys/devices/system/cpu/cpufreq", "policy");
        let megahertz = |policy: &PathBuf, file: &str| {
            let text = fs::read_to_string(policy.join(file)).ok()?;
            Some(text.trim().parse::<u64>().ok()? / 1000)
        };
        let rates = |policy| Some((megahertz(policy, "scaling_max_freq")?, megahertz(policy, "cpuinfo_max_freq")?));
        let (allowed, most) = policies.iter().filter_map(rates).max_by_key(|(_, most)| *most)?;
        Some(if allowed < most {
            Finding::warn(
                "frequency",
                format!("held at {allowed} of {most} MHz"),
                "cool the board, or raise scaling_max_freq ('cpupower frequency-set -u') or the power mode (nvpmodel)",
            )
        } else {
            Finding::ok("frequency", format!("up to {most} MHz"))
        })
    }

    fn governor(&self) -> Option<Finding> {
        let policies = self.entries("sys/devices/system/cpu/cpufreq", "policy");
        let read = |policy: &PathBuf| fs::read_to_string(policy.join("scaling_governor")).ok();
        let governors: BTreeSet<String> = policies.iter().filter_map(read).map(|text| text.trim().into()).collect();
        let detail = governors.iter().cloned().collect::<Vec<_>>().join(", ");
        let slow = governors.contains("powersave") && !self.root.join("sys/devices/system/cpu/intel_pstate").exists();
        match (governors.is_empty(), slow) {
            (true, _) => None,
            (_, true) => Some(Finding::warn(
                "governor",
                detail,
                "keeps the processor slow: 'cpupower frequency-set -g schedutil' (or performance) as root",
            )),
            _ => Some(Finding::ok("governor", detail)),
        }
    }

    /// Whether times in results can be trusted.
    pub fn clock(&self) -> Finding {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        self.clock_at(seconds)
    }

    fn clock_at(&self, seconds: u64) -> Finding {
        let exists = |path: &str| self.root.join(path).exists();
        if seconds < FIRST_PLAUSIBLE_SECOND {
            return Finding::warn(
                "clock",
                "not set: its date is before 2026",
                "connect to a network with timesyncd or chrony, or add a clock chip",
            );
        }
        if exists("run/systemd/timesync/synchronized") {
            return Finding::ok("clock", "synchronised");
        }
        if exists("run/chrony/chronyd.pid") || exists("run/ntpd.pid") {
            return Finding::ok("clock", "plausible, and a time daemon runs (see 'chronyc tracking')");
        }
        if !self.entries("sys/class/rtc", "rtc").is_empty() {
            return Finding::ok("clock", "plausible, kept by a clock chip");
        }
        Finding::warn(
            "clock",
            "plausible, but no sign of a clock chip or of synchronisation by systemd-timesyncd",
            "see 'timedatectl' or 'chronyc tracking': without either, time restarts with the board",
        )
    }

    /// Room on the disk that `folder` is on.
    pub fn disk(&self, folder: &Path) -> Finding {
        match rustix::fs::statvfs(folder) {
            Ok(stat) => disk_finding(stat.f_bavail.saturating_mul(stat.f_frsize)),
            Err(cause) => Finding::ok("disk", format!("unknown: {cause}")),
        }
    }

    /// The cameras, and whether this user may use them. `modes` has the encodings of each camera that oltr reads, by
    /// its path.
    pub fn cameras(&self, modes: &BTreeMap<PathBuf, Vec<String>>) -> Vec<Finding> {
        let devices = self.entries("dev", "video");
        if devices.is_empty() {
            return vec![Finding::ok("cameras", "none; files and pipes work without")];
        }
        let look = |device: &PathBuf| {
            let file = device.file_name().unwrap_or_default().to_string_lossy();
            let name = self.text(&format!("sys/class/video4linux/{file}/name")).unwrap_or_else(|| "unknown".into());
            let detail = format!("/dev/{file}: {name}");
            match OpenOptions::new().read(true).write(true).open(device).map_err(|e| e.kind()) {
                Err(ErrorKind::PermissionDenied) => Finding::fail(
                    "camera",
                    format!("{detail}; this user may not use it"),
                    "add the user to the group video: 'sudo usermod -aG video USER', then log in again",
                ),
                Err(ErrorKind::ResourceBusy) => {
                    Finding::warn("camera", format!("{detail}; in use"), "end the program that uses it")
                }
                Err(kind) => Finding::warn("camera", format!("{detail}; {kind}"), "plug it in again, see 'dmesg'"),
                Ok(_) => match modes.get(&Path::new("/dev").join(&*file)) {
                    Some(modes) if modes.is_empty() => Finding::warn(
                        "camera",
                        format!("{detail}; no encoding that oltr reads"),
                        "convert: 'ffmpeg -nostdin -f v4l2 -i DEVICE -f yuv4mpegpipe -pix_fmt yuv420p - | oltr stream -'",
                    ),
                    Some(modes) => Finding::ok("camera", format!("{detail}; {}", modes.join(", "))),
                    // Not a camera: some boards have video decoders there.
                    None => Finding::ok("camera", detail),
                },
            }
        };
        devices.iter().map(look).collect()
    }
}

fn disk_finding(free: u64) -> Finding {
    let detail = format!("{} free here", bytes(free));
    if free < SCARCE_DISK {
        return Finding::warn("disk", detail, "make room: results and system logs are the first to fail");
    }
    Finding::ok("disk", detail)
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    /// A system made of the given files.
    fn system(files: &[(&str, &str)]) -> (tempfile::TempDir, Board) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let board = Board::at(root.path());
        (root, board)
    }

    fn seen(finding: &Finding) -> (Status, &str) {
        assert_eq!(finding.status == Status::Ok, finding.remedy.is_none(), "a remedy for each trouble: {finding:?}");
        (finding.status, &finding.detail)
    }

    const MEMINFO: &str = "MemTotal:  1048576 kB\nMemFree: 1 kB\nMemAvailable:   524288 kB\n";

    #[test]
    fn a_system_that_tells_nothing_is_no_failure() {
        let (_root, board) = system(&[]);
        let mut findings = vec![board.processor(), board.memory(Some(1)), board.clock(), board.disk(Path::new("."))];
        findings.extend(board.health());
        findings.extend(board.cameras(&BTreeMap::new()));
        assert!(findings.iter().all(|f| f.status != Status::Fail), "{findings:?}");
        assert!(board.instruction_sets().is_empty());
    }

    #[test]
    fn the_processor_is_named_on_x86_and_arm() {
        let (_root, board) =
            system(&[("proc/cpuinfo", "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 fma\n")]);
        assert!(board.processor().detail.starts_with("Some CPU, "));
        assert_eq!(board.instruction_sets(), ["avx2", "fma"]);
        let arm = "processor : 0\nFeatures : fp asimd crc32 asimddp\nHardware : BCM2835\n";
        let (_root, board) = system(&[("proc/cpuinfo", arm), ("proc/device-tree/model", "Raspberry Pi 5\0")]);
        assert!(board.processor().detail.starts_with("Raspberry Pi 5, "));
        assert_eq!(board.instruction_sets(), ["asimd", "asimddp"]);
    }

    #[test]
    fn more_threads_than_cores_are_too_many() {
        let (_root, board) = system(&[]);
        assert_eq!(board.threads(1).status, Status::Ok);
        assert_eq!(board.threads(100_000).status, Status::Warn);
    }

    #[test]
    fn memory_must_hold_the_model() {
        let (_root, board) = system(&[("proc/meminfo", MEMINFO)]);
        assert_eq!(
            seen(&board.memory(Some(1 << 20))),
            (Status::Ok, "512.0 MiB of 1.0 GiB free; --max-memory can be up to 480.0 MiB")
        );
        assert_eq!(board.memory(Some(500 << 20)).status, Status::Warn);
        assert_eq!(board.memory(Some(513 << 20)).status, Status::Fail);
        assert_eq!(board.memory(None).status, Status::Ok);
    }

    #[test]
    fn the_smallest_limit_of_the_control_groups_counts() {
        let two = [
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "0::/system.slice/oltr.service\n"),
            ("sys/fs/cgroup/system.slice/oltr.service/memory.max", "max\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "67108864\n"),
        ];
        let (_root, board) = system(&two);
        assert_eq!(board.memory_limit(), Some(64 << 20));
        assert_eq!(board.memory(Some(65 << 20)).status, Status::Fail);
        assert!(board.memory(Some(1 << 20)).detail.contains("may use 64.0 MiB"));
        let one = [
            ("proc/self/cgroup", "5:cpu:/a\n4:memory:/docker/1234\n0::/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1000\n"),
            ("sys/fs/cgroup/cpu/memory.limit_in_bytes", "1\n"),
        ];
        let (_root, board) = system(&one);
        assert_eq!(board.memory_limit(), Some(1000));
    }

    #[test]
    fn heat_voltage_and_governor() {
        let zones = |temp| {
            [("sys/class/thermal/thermal_zone0/temp", "41000\n"), ("sys/class/thermal/thermal_zone1/temp", temp)]
        };
        assert_eq!(seen(&system_health(&zones("45500\n"))[0]), (Status::Ok, "46 °C"));
        assert_eq!(system_health(&zones("80000\n"))[0].status, Status::Warn);
        let power = |bits| [("sys/devices/platform/soc/soc:firmware/get_throttled", bits)];
        assert_eq!(system_health(&power("0\n"))[0].status, Status::Ok);
        let said = (Status::Warn, "under-voltage now, under-voltage since boot");
        assert_eq!(seen(&system_health(&power("10001\n"))[0]), said);
        let volts =
            |alarm| [("sys/class/hwmon/hwmon0/name", "rpi_volt\n"), ("sys/class/hwmon/hwmon0/in0_lcrit_alarm", alarm)];
        assert_eq!(seen(&system_health(&volts("0\n"))[0]), (Status::Ok, "enough"));
        assert_eq!(seen(&system_health(&volts("1\n"))[0]), (Status::Warn, "too low"));
        let rate = |allowed| {
            let most = ("sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq", "1500000\n");
            [most, ("sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq", allowed)]
        };
        assert_eq!(seen(&system_health(&rate("1500000\n"))[0]), (Status::Ok, "up to 1500 MHz"));
        assert_eq!(seen(&system_health(&rate("600000\n"))[0]), (Status::Warn, "held at 600 of 1500 MHz"));
        let governor = |name| [("sys/devices/system/cpu/cpufreq/policy0/scaling_governor", name)];
        assert_eq!(seen(&system_health(&governor("ondemand\n"))[0]), (Status::Ok, "ondemand"));
        assert_eq!(system_health(&governor("powersave\n"))[0].status, Status::Warn);
    }

    fn system_health(files: &[(&str, &str)]) -> Vec<Finding> {
        let (_root, board) = system(files);
        board.health()
    }

    #[test]
    fn the_clock_is_trusted_for_a_reason() {
        let (_root, board) = system(&[]);
        assert_eq!(board.clock_at(0).status, Status::Warn);
        assert_eq!(board.clock_at(FIRST_PLAUSIBLE_SECOND).status, Status::Warn);
        let (_root, board) = system(&[("run/systemd/timesync/synchronized", "")]);
        assert_eq!(seen(&board.clock_at(FIRST_PLAUSIBLE_SECOND)), (Status::Ok, "synchronised"));
        assert_eq!(board.clock_at(FIRST_PLAUSIBLE_SECOND - 1).status, Status::Warn);
        let (_root, board) = system(&[("run/chrony/chronyd.pid", "7\n")]);
        assert_eq!(board.clock_at(FIRST_PLAUSIBLE_SECOND).status, Status::Ok);
        let (_root, board) = system(&[("sys/class/rtc/rtc0/name", "rtc")]);
        assert_eq!(board.clock_at(FIRST_PLAUSIBLE_SECOND).status, Status::Ok);
    }

    #[test]
    fn a_full_disk_is_reported() {
        assert_eq!(disk_finding(SCARCE_DISK - 1).status, Status::Warn);
        assert_eq!(disk_finding(SCARCE_DISK).status, Status::Ok);
    }

    #[test]
    fn cameras_are_named() {
        let (_root, board) =
            system(&[("dev/video0", ""), ("dev/null", ""), ("sys/class/video4linux/video0/name", "Cam\n")]);
        let camera = |modes: &[(&str, &[&str])]| {
            let modes = modes.iter().map(|(path, modes)| (path.into(), modes.iter().map(|m| (*m).into()).collect()));
            let [camera] = &board.cameras(&modes.collect())[..] else { panic!("not one camera") };
            (seen(camera).0, camera.detail.clone())
        };
        assert_eq!(camera(&[]), (Status::Ok, "/dev/video0: Cam".into()));
        let yuyv = [("/dev/video0", &["yuyv422 up to 640x480"][..]), ("/dev/video1", &[])];
        assert_eq!(camera(&yuyv), (Status::Ok, "/dev/video0: Cam; yuyv422 up to 640x480".into()));
        assert_eq!(camera(&[("/dev/video0", &[])]).0, Status::Warn);
    }
}
