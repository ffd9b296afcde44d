//! `oltr stream --on-event`: runs a command that gets each event on its standard input.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use oltr::text::counted;
use oltr::{Error, Result};

/// Length of the command's queue. Further events are dropped and counted.
const WAITING: usize = 32;

/// Bytes of an event that a pipe's buffer takes even if the command does not read.
const PIPE: usize = 64 << 10;

/// How long the command may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the last events may take when the program is stopped.
const END: Duration = Duration::from_secs(2);

/// Interval between checks whether the command has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Counts of events.
#[derive(Debug, Default)]
struct Counts {
    failed: AtomicU64,
    done: AtomicU64,
    given: AtomicU64,
}

/// Runs a command for each event, one after another, on its own thread.
pub struct Runner {
    to: Option<SyncSender<String>>,
    counts: Arc<Counts>,
    dropped: u64,
    ended: Receiver<()>,
}

impl Runner {
    /// For `command`, which a shell runs.
    ///
    /// # Errors
    /// [`Error::Io`] if the thread cannot be started.
    pub fn start(command: &str) -> Result<Runner> {
        let (to, from) = sync_channel::<String>(WAITING);
        let (end, ended) = sync_channel(1);
        let counts = Arc::new(Counts::default());
        let (mine, command) = (counts.clone(), command.to_string());
        std::thread::Builder::new()
            .name("on-event".into())
            .stack_size(256 << 10)
            .spawn(move || {
                for line in from {
                    if let Err(why) = run(&command, &line) {
                        // Logged rarely: a command that always fails must not fill the log.
                        if mine.failed.fetch_add(1, Ordering::Relaxed).count_ones() <= 1 {
                            log::warn!("--on-event: {why}");
                        }
                    }
                    mine.done.fetch_add(1, Ordering::Relaxed);
                }
                let _ = end.send(());
            })
            .map_err(|cause| Error::Io { path: "the thread of --on-event".into(), cause })?;
        Ok(Runner { to: Some(to), counts, dropped: 0, ended })
    }

    /// Bytes of memory that it takes.
    pub fn bytes() -> u64 {
        (WAITING * PIPE + (256 << 10)) as u64
    }

    /// Queues `line` if there is room. Frames never wait for a command.
    pub fn event(&mut self, line: &str) {
        let Some(to) = &self.to else { return };
        if line.len() >= PIPE || to.try_send(line.into()).is_err() {
            if self.dropped.count_ones() <= 1 {
                log::warn!("--on-event: the command is too slow; an event was not handed over");
            }
            self.dropped += 1;
            return;
        }
        self.counts.given.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for the last commands, only briefly if the program was `stopped`, and logs failures.
    pub fn finish(&mut self, stopped: bool) {
        if self.to.take().is_none() {
            return;
        }
        let ended = self.ended.recv_timeout(if stopped { END } else { PATIENCE }).is_ok();
        let (given, done) = (self.counts.given.load(Ordering::Relaxed), self.counts.done.load(Ordering::Relaxed));
        let lost = self.dropped + if ended { 0 } else { given.saturating_sub(done) };
        let failed = self.counts.failed.load(Ordering::Relaxed);
        if lost + failed > 0 {
            log::warn!(
                "--on-event: {} failed; not handed over: {}",
                counted(failed, "command"),
                counted(lost, "event")
            );
        }
    }
}

fn run(command: &str, line: &str) -> std::result::Result<(), String> {
    // Standard output is reserved for results.
    let out = std::io::stderr().as_fd().try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from);
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(out)
        .process_group(0)
        .spawn()
        .map_err(|e| format!("the command cannot be started: {e}"))?;
    if let Some(mut input) = child.stdin.take() {
        // A command that does not read its input may have ended already.
        let _ = input.write_all(line.as_bytes()).and_then(|()| input.write_all(b"\n"));
    }
    let end = Instant::now() + PATIENCE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("the command failed: {status}")),
            Ok(None) if Instant::now() < end => std::thread::sleep(LOOK),
            Ok(None) => {
                // Kills the whole process group.
                let pid = rustix::process::Pid::from_child(&child);
                let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
                let _ = child.wait();
                return Err(format!("the command took longer than {} s and was ended", PATIENCE.as_secs()));
            }
            Err(e) => return Err(e.to_string()),
        }
    }
}
