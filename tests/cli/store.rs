//! Stored events: `stream --store`, `store`, `review`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{Ran, oltr};

/// A recording of two photos with eight frames each, as a sequence of JPEG pictures.
pub fn clip(folder: &Path) -> PathBuf {
    let path = folder.join("clip.mjpeg");
    let mut clip = std::fs::File::create(&path).unwrap();
    for photo in ["cup.jpg", "moon.jpg"] {
        let bytes = std::fs::read(Path::new("examples/photos").join(photo)).unwrap();
        (0..8).for_each(|_| clip.write_all(&bytes).unwrap());
    }
    path
}

fn stream(folder: &Path, store: &Path) -> Ran {
    let clip = clip(folder);
    let args = ["stream", "--json", "--fps", "2", "--max-frame", "1600x1600", "--store-size", "16MiB", "--store"];
    oltr(&[&args.map(std::ffi::OsStr::new)[..], &[store.as_os_str(), clip.as_os_str()]].concat())
}

fn lines(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn store(args: &[&str], dir: &Path) -> Ran {
    let dir = dir.to_str().unwrap();
    let args: Vec<&str> = args.iter().map(|arg| if *arg == "DIR" { dir } else { arg }).collect();
    oltr(&args)
}

#[test]
fn events_are_kept_with_the_cameras_own_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("trap/store");
    let ran = stream(folder.path(), &dir).code(0);
    let events = lines(&ran);
    let ends: Vec<&Value> = events.iter().filter(|line| line["type"] == "end").collect();
    assert!(ran.stderr.contains("a day"), "what a day can write at most is said: {}", ran.stderr);
    let first = events.iter().find(|line| line["type"] == "new").unwrap();
    assert_eq!(
        (&first["first_ever"], &first["first_today"], &first["days_since"]),
        (&true.into(), &true.into(), &Value::Null)
    );
    let stats = events.last().unwrap();
    assert_eq!((&stats["store"]["state"], &stats["store"]["not_kept"]), (&"closed".into(), &0.into()));
    assert_eq!(stats["store"]["kept"], ends.len());
    let records = lines(&store(&["store", "list", "--json", "DIR"], &dir).code(0));
    assert_eq!(records.len(), ends.len());
    for (record, end) in records.iter().zip(&ends) {
        assert_eq!(
            (&record["schema"], &record["event"], &record["review"]),
            (&"oltr.record/1".into(), &end["id"], &Value::Null)
        );
        for same in ["type", "decision", "label", "first", "last", "best", "mean", "first_ever", "source"] {
            assert_eq!(record[same], end[same], "{same}");
        }
        let kept = std::fs::read(dir.join(record["picture"].as_str().unwrap())).unwrap();
        let photos =
            ["cup.jpg", "moon.jpg"].map(|photo| std::fs::read(Path::new("examples/photos").join(photo)).unwrap());
        assert!(photos.contains(&kept), "the picture is not what the source had");
    }
    // A second run continues: higher ids, and no event is the first ever.
    let again = stream(folder.path(), &dir).code(0);
    let new = lines(&again).into_iter().find(|line| line["type"] == "new").unwrap();
    assert_eq!((&new["first_ever"], &new["days_since"]), (&false.into(), &0.into()));
    let all = lines(&store(&["store", "list", "--json", "--features", "DIR"], &dir).code(0));
    let ids: Vec<u64> = all.iter().map(|record| record["id"].as_u64().unwrap()).collect();
    assert!(ids.len() == 2 * ends.len() && ids.is_sorted(), "{ids:?}");
    assert!(all.iter().all(|record| record["features"].as_array().unwrap().len() > 1));
    store(&["store", "list", "DIR"], &dir).code(0);
    let stats = lines(&store(&["store", "stats", "--json", "DIR"], &dir).code(0));
    assert_eq!((&stats[0]["records"], &stats[0]["evicted"]), (&ids.len().into(), &serde_json::json!({})));
    // A torn tail is reported, and only a start repairs it.
    let segment = dir.join("segments/000000000001.jsonl");
    let whole = std::fs::read(&segment).unwrap();
    std::fs::write(&segment, &whole[..whole.len() - 10]).unwrap();
    let checked = store(&["store", "check", "DIR"], &dir).code(1);
    assert!(checked.stdout.contains("a start cuts them off"), "{}", checked.stdout);
    assert_eq!(std::fs::read(&segment).unwrap().len(), whole.len() - 10);
    stream(folder.path(), &dir).code(0).says(&["cut off"]);
    store(&["store", "check", "--json", "DIR"], &dir).code(0);
}

#[test]
fn a_stream_goes_on_where_nothing_can_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let ran = stream(folder.path(), &file).code(0).says(&["the stream goes on", "not kept in the store"]);
    let events = lines(&ran);
    let stats = &events.last().unwrap()["store"];
    assert!(stats["not_kept"].as_u64() > Some(0) && stats["kept"] == 0, "{stats}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    // Wrong usage shows at once.
    oltr(&["stream", "--store", "x", "clip.mjpeg"]).code(2);
    let clip = clip(folder.path());
    let dir = folder.path().join("s");
    oltr(&["stream", "--store-size", "1KiB", "--store", dir.to_str().unwrap(), clip.to_str().unwrap()]).code(78);
    for command in
        [["store", "list"], ["store", "check"], ["store", "stats"], ["review", "groups"], ["review", "labels"]]
    {
        store(&[command[0], command[1], "DIR"], &folder.path().join("nowhere")).code(66);
        store(&[command[0], command[1], "DIR"], folder.path()).code(65).says(&["is no store"]);
    }
}

/// A line of the store: length, checksum and object.
fn framed(object: &str) -> String {
    let mut crc = !0u32;
    for byte in object.bytes() {
        crc ^= u32::from(byte);
        (0..8).for_each(|_| crc = crc >> 1 ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 });
    }
    format!("{:08x} {:08x} {object}\n", object.len(), !crc)
}

#[test]
fn decisions_make_labels_and_classes() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("store");
    stream(folder.path(), &dir).code(0);
    stream(folder.path(), &dir).code(0);
    let records = lines(&store(&["store", "list", "--json", "DIR"], &dir).code(0));
    let of = |decision: &str| -> Vec<String> {
        let these = records.iter().filter(|record| record["decision"] == decision);
        these.map(|record| record["id"].to_string()).collect()
    };
    let (known, open) = (of("known"), of("open"));
    assert!(known.len() >= 2 && open.len() >= 2, "{records:#?}");
    let set = |id: &str, label: &str| store(&["review", "set", "--by", "ann", "DIR", id, label], &dir);
    set(&open.join(","), "new moon").code(0);
    set(&known[0], "cup").code(0);
    set(records[0]["event"].as_str().unwrap(), "cup").code(0);
    set(&known[1], "nothing").code(0);
    set("99999", "cup").code(65).says(&["is not in the store"]);
    // A group by one of its events, and others taken out of it.
    let sure = set(&open.join(","), "open").code(0);
    assert!(sure.stderr.contains(&format!("{} records: open", open.len())), "{}", sure.stderr);
    set(&format!("alike:{}", open[0]), "new moon").code(65).says(&["without a review"]);
    set(&open.join(","), "new moon").code(0);
    for (ids, says) in
        [("alike:x", "is no record"), ("17,-99", "taken out"), ("", "is no record"), ("no-such-id", "is no record")]
    {
        set(ids, "cup").code(65).says(&[says]);
    }
    set(&known[0], "a\nb").code(65);
    let listed = lines(&store(&["store", "list", "--json", "DIR"], &dir).code(0));
    let review = |id: &str| {
        let id: u64 = id.parse().unwrap();
        listed.iter().find(|record| record["id"] == id).unwrap()["review"].clone()
    };
    assert_eq!((&review(&open[0])["label"], &review(&open[0])["by"]), (&"new moon".into(), &"ann".into()));
    assert_eq!((&review(&known[1])["label"], &review(&known[1])["decision"]), (&Value::Null, &"nothing".into()));
    // The bundle that made the events defines which classes are known.
    let other = folder.path().join("other");
    std::fs::create_dir_all(other.join("segments")).unwrap();
    for file in ["segments/000000000001.jsonl", "reviews.jsonl"] {
        // As written by another network, with valid checksums.
        let text = std::fs::read_to_string(dir.join(file)).unwrap();
        let graph = listed[0]["graph_sha256"].as_str().unwrap();
        let lines: String = text.lines().map(|line| framed(&line[18..].replace(graph, &"0".repeat(64)))).collect();
        std::fs::write(other.join(file), lines).unwrap();
    }
    store(&["review", "labels", "DIR"], &other).code(65).says(&["everyday", "another network", "--model"]);
    store(&["review", "labels", "--model", super::BUNDLE, "DIR"], &other).code(0);
    let labels = store(&["review", "labels", "DIR"], &dir).code(0).stdout;
    let mut rows = labels.lines().map(|row| row.split('\t').collect::<Vec<_>>());
    assert_eq!(rows.next().unwrap(), ["path", "class", "role", "split", "cluster"]);
    let rows: Vec<Vec<&str>> = rows.collect();
    assert!(rows.iter().any(|row| row[1..4] == ["new moon", "unknown", "test"]), "{labels}");
    assert!(rows.iter().any(|row| row[1..4] == ["cup", "known", "test"]), "{labels}");
    let file = folder.path().join("labels.tsv");
    std::fs::write(&file, &labels).unwrap();
    let (file, images) = (file.to_str().unwrap(), dir.to_str().unwrap());
    oltr(&["evaluate", "--labels", file, "--images", images, "--cluster", "cluster"]).code(0);
    // A dry run changes nothing, an enrolment names the next stream's events, and one command undoes it.
    let enrolled = folder.path().join("mine.enrolled");
    let enrol = |more: &[&str]| {
        let args =
            [&["review", "enrol", "--json", "--enrolled", enrolled.to_str().unwrap()], more, &["DIR", "new moon"]];
        store(&args.concat(), &dir)
    };
    let dry = lines(&enrol(&["--dry-run"]).code(0).says(&["one occasion"])).remove(0);
    assert_eq!(
        (&dry["dry_run"], &dry["own"]["of"], &dry["known"]["taken"]),
        (&true.into(), &open.len().into(), &0.into())
    );
    assert!(!enrolled.exists());
    let done = lines(&enrol(&[]).code(0)).remove(0);
    assert!(enrolled.exists() && done["undo"].as_str().unwrap().contains("--undo"));
    let shown =
        oltr(&["classify", "--json", "--enrolled", enrolled.to_str().unwrap(), "examples/photos/moon.jpg"]).code(0);
    assert_eq!(lines(&shown)[0]["label"], "new moon");
    // Later enrolments stay.
    let file = enrolled.to_str().unwrap();
    oltr(&["enrol", "add", "--enrolled", file, "cups", "examples/photos/cup.jpg", "examples/photos/cup.jpg"]).code(0);
    let names = || -> Vec<String> {
        let all = lines(&oltr(&["enrol", "list", "--json", "--enrolled", file]).code(0));
        all.iter().map(|class| class["name"].as_str().unwrap().into()).collect()
    };
    assert_eq!(names(), ["new moon", "cups"]);
    enrol(&["--undo"]).code(0);
    assert_eq!(names(), ["cups"]);
    enrol(&["--undo"]).code(65).says(&["was undone"]);
    // A class that existed before is restored.
    oltr(&["enrol", "add", "--enrolled", file, "new moon", "examples/photos/cup.jpg", "examples/photos/cup.jpg"])
        .code(0);
    let before = std::fs::read(&enrolled).unwrap();
    enrol(&[]).code(0);
    assert!(std::fs::read(&enrolled).unwrap() != before);
    enrol(&["--undo"]).code(0);
    assert_eq!(std::fs::read(&enrolled).unwrap(), before);
    assert!(!folder.path().join("mine.enrolled.before").exists());
}

/// A page that is served, until it is dropped.
struct Page {
    child: Child,
    port: u16,
}

impl Page {
    fn new(dir: &Path) -> Page {
        let mut child = Command::new(env!("CARGO_BIN_EXE_oltr"))
            .args(["review", "serve", "--json", "--listen", "127.0.0.1:0"])
            .arg(dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = serde_json::from_str::<Value>(&line).unwrap()["url"].as_str().unwrap().to_string();
        let port = url.rsplit(':').next().unwrap().trim_end_matches('/').parse().unwrap();
        Page { child, port }
    }

    /// Status and body of a request.
    fn ask(&self, request: &str) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(request.replace("PORT", &self.port.to_string()).as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let head = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
        (status, answer.split_off(head))
    }

    fn get(&self, path: &str) -> (u16, Vec<u8>) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n"))
    }

    fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    fn post(&self, headers: &str, body: &str) -> u16 {
        let length = body.len();
        self.ask(&format!(
            "POST /api/review HTTP/1.1\r\nHost: localhost:PORT\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        ))
        .0
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_page_shows_and_decides() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("store");
    stream(folder.path(), &dir).code(0);
    let page = Page::new(&dir);
    let (status, body) = page.get("/");
    assert!(status == 200 && body.starts_with(b"<!doctype html>"));
    let records = page.json("/api/records?show=all&limit=1");
    assert_eq!((records["records"].as_array().unwrap().len(), &records["total"]), (1, &2.into()));
    let next = page.json(&format!("/api/records?show=all&limit=5&before={}", records["next"]));
    assert_eq!((next["records"][0]["id"].as_u64(), &next["next"]), (Some(1), &Value::Null));
    let groups = page.json("/api/groups");
    let id = groups["groups"][0]["ids"][0].as_u64().unwrap();
    let (status, picture) = page.get(&format!("/picture/{id}"));
    assert!(status == 200 && picture.starts_with(&[0xFF, 0xD8]));
    // A browser requests many pictures at once, and never retries.
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..40).map(|_| scope.spawn(|| page.get(&format!("/picture/{id}")).0)).collect();
        let answered: Vec<u16> = asked.into_iter().map(|asked| asked.join().unwrap()).collect();
        assert!(answered.iter().all(|status| *status == 200), "{answered:?}");
    });
    for nothing in ["/picture/999", "/picture/x", "/picture/../lock", "/etc/passwd", "/api/none"] {
        assert_eq!(page.get(nothing).0, 404, "{nothing}");
    }
    let body = format!("{{\"ids\":[{id}],\"label\":\"<script>alert(1)</script>\"}}");
    let json = "Content-Type: application/json\r\n";
    // Foreign requests cannot review: another name of this machine, another page, a form.
    assert_eq!(page.ask("GET / HTTP/1.1\r\nHost: elsewhere.example:PORT\r\n\r\n").0, 403);
    assert_eq!(page.post(&format!("{json}Origin: http://elsewhere.example\r\n"), &body), 403);
    assert_eq!(page.post("Content-Type: text/plain\r\n", &body), 403);
    assert_eq!(page.post(json, "{\"ids\":[],\"label\":\"x\"}"), 400);
    assert_eq!(page.post(json, "{\"ids\":[999],\"label\":\"x\"}"), 400);
    assert_eq!(page.post("Content-Type: application/json\r\nContent-Length: 9999999\r\n", ""), 400);
    assert_eq!(page.ask("\x16\x03\x01 nonsense\r\n\r\n").0, 400);
    assert_eq!(page.ask(&format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(3000))).0, 431);
    assert_eq!(page.post(json, &body), 200);
    assert_eq!(
        page.json("/api/names")["names"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|name| *name == "<script>alert(1)</script>")
            .count(),
        1
    );
    assert_eq!(page.json("/api/records?show=reviewed")["records"][0]["review"]["label"], "<script>alert(1)</script>");
    assert!(page.json("/api/groups")["groups"].as_array().unwrap().iter().all(|group| group["ids"][0] != id));
}
