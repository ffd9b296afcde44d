//! Kills a program at random moments. Events that it reported as stored a second earlier must be
//! there.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use oltr_store::disk::RealDisk;
use oltr_store::{NewRecord, Reader, Settings, Store, event_of};

const FOLDER: &str = "OLTR_STORE_TEST_FOLDER";

/// The program under test: stores events and prints each one.
#[test]
fn keeps_until_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let settings = Settings { quota: 512 << 10, free: 0 };
    let (mut store, _) = Store::open(Path::new(&folder), settings, Arc::new(RealDisk)).unwrap();
    loop {
        let id = store.next_id();
        let event = format!("{{\"is\":{id}}}");
        let new =
            NewRecord { event: &event, event_id: "e", decision: "known", label: Some("cup"), ..NewRecord::default() };
        let kept = store.append(&new, Some(&id.to_le_bytes().repeat(100))).unwrap();
        println!("kept {kept} {}", store.counts().evicted);
        if id % 5 == 0 {
            store.sync().unwrap();
        }
    }
}

#[test]
fn nothing_is_lost_when_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let kills = 40;
    let mut before = 0;
    for round in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["keeps_until_killed", "--exact", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut lines = out.lines().map_while(Result::ok).filter(|line| line.contains("kept "));
        // Some lines, then some time.
        let last = lines.by_ref().nth(round * 7 % 50);
        std::thread::sleep(Duration::from_micros(round as u64 * 977 % 20_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let said = lines.chain(last).filter_map(|line| {
            let mut words = line.split_whitespace().skip_while(|word| *word != "kept").skip(1);
            words.next()?.parse::<u64>().ok()
        });
        let said = said.max().unwrap_or(0);
        let (mut last, mut n) = (0, 0);
        let reader = Reader::open(folder.path(), Arc::new(RealDisk)).unwrap();
        reader
            .each(&mut |listed| {
                let id = listed.record.id;
                assert!(id > last);
                last = id;
                n += 1;
                assert_eq!(event_of(listed.text), Some(format!("{{\"is\":{id}}}").as_str()));
                if let Some(path) = listed.picture() {
                    assert_eq!(reader.picture(path)?, id.to_le_bytes().repeat(100));
                }
                Ok(true)
            })
            .unwrap();
        assert!(last >= said && said > before, "{said} was kept, {last} is the last of {n}");
        before = last;
    }
}
