//! Time, place and camera of photos: EXIF data made here byte by byte in every container, and files written by exiftool
//! if it is installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use oltr_frames::frame::origin::Origin;
use oltr_frames::source::photo;
use oltr_frames::{Frame, Limits};
use serde_json::{Value, json};

/// A field: its number, type, and values as bytes.
type Field = (u16, u16, Vec<u8>);

fn ascii(tag: u16, text: &str) -> Field {
    (tag, 2, [text.as_bytes(), b"\0"].concat())
}

fn rationals(tag: u16, values: &[(u32, u32)], big: bool) -> Field {
    let bytes = |n: u32| if big { n.to_be_bytes() } else { n.to_le_bytes() };
    (tag, 5, values.iter().flat_map(|(over, under)| [bytes(*over), bytes(*under)].concat()).collect())
}

/// A TIFF of three IFDs with these fields.
fn tiff(first: &[Field], exif: &[Field], gps: &[Field], big: bool) -> Vec<u8> {
    let short = |n: u16| if big { n.to_be_bytes() } else { n.to_le_bytes() };
    let long = |n: u32| if big { n.to_be_bytes() } else { n.to_le_bytes() };
    let pointers = [(0x8769, exif), (0x8825, gps)];
    let pointers: Vec<_> = pointers.into_iter().filter(|(_, fields)| !fields.is_empty()).collect();
    let size = |count: usize| 2 + 12 * count + 4;
    let mut offsets = vec![8 + size(first.len() + pointers.len())];
    for (_, fields) in &pointers {
        offsets.push(offsets[offsets.len() - 1] + size(fields.len()));
    }
    let mut first: Vec<Field> = first.to_vec();
    first.extend(pointers.iter().zip(&offsets).map(|((tag, _), at)| (*tag, 4, long(*at as u32).to_vec())));
    let mut bytes = [if big { &b"MM\0*"[..] } else { b"II*\0" }, &long(8)].concat();
    let mut data = Vec::new();
    let data_at = offsets[offsets.len() - 1];
    for fields in std::iter::once(&first[..]).chain(pointers.iter().map(|(_, fields)| *fields)) {
        bytes.extend(short(fields.len() as u16));
        for (tag, kind, value) in fields {
            let unit = match kind {
                1 | 2 | 7 | 129 => 1,
                3 => 2,
                4 => 4,
                _ => 8,
            };
            bytes.extend([short(*tag), short(*kind)].concat());
            bytes.extend(long((value.len() / unit) as u32));
            if value.len() <= 4 {
                bytes.extend_from_slice(value);
                bytes.extend(std::iter::repeat_n(0, 4 - value.len()));
            } else {
                bytes.extend(long((data_at + data.len()) as u32));
                data.extend_from_slice(value);
            }
        }
        bytes.extend(long(0));
    }
    assert_eq!(bytes.len(), data_at);
    bytes.extend(data);
    bytes
}

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/photos").join(name)
}

/// The JPEG of a sample with `exif` in it.
fn jpeg(exif: &[u8]) -> Vec<u8> {
    let plain = std::fs::read(sample("baseline.jpg")).unwrap();
    let body = [b"Exif\0\0", exif].concat();
    let length = (body.len() as u16 + 2).to_be_bytes();
    [&plain[..2], b"\xFF\xE1", &length, &body, &plain[2..]].concat()
}

/// The PNG of a sample with `exif` in it.
fn png(exif: &[u8]) -> Vec<u8> {
    let plain = std::fs::read(sample("rgb.png")).unwrap();
    let body = [b"eXIf", exif].concat();
    let chunk = [&(exif.len() as u32).to_be_bytes()[..], &body, &crc32fast::hash(&body).to_be_bytes()].concat();
    // After the header.
    [&plain[..33], &chunk, &plain[33..]].concat()
}

fn origin(bytes: &[u8]) -> Origin {
    photo::decode("photo", bytes, &Limits::default()).unwrap().origin().clone()
}

fn json_of(origin: &Origin) -> Value {
    serde_json::to_value(origin).unwrap()
}

/// The time of a photo with these EXIF fields.
fn time(exif: &[Field]) -> Value {
    json_of(&origin(&jpeg(&tiff(&[], exif, &[], false))))["taken"].clone()
}

fn place(gps: &[Field]) -> Value {
    json_of(&origin(&jpeg(&tiff(&[], &[], gps, false))))["place"].clone()
}

const NORTH: [(u32, u32); 3] = [(52, 1), (30, 1), (36, 1)];
const EAST: [(u32, u32); 3] = [(13, 1), (15, 1), (0, 1)];

#[test]
fn every_container_and_both_orders_of_bytes_say_the_same() {
    for big in [false, true] {
        let camera = [ascii(0x010F, "Acme "), ascii(0x0110, "T\u{fc}1"), ascii(0x0132, "2025:01:01 00:00:00")];
        let exif =
            [ascii(0x9003, "2024:05:01 06:12:33"), ascii(0x9291, "050"), ascii(0x9011, "+02:00"), ascii(0xA431, "S-7")];
        let gps = [
            ascii(1, "N"),
            rationals(2, &NORTH, big),
            ascii(3, "W"),
            rationals(4, &EAST, big),
            (5, 1, vec![1]),
            rationals(6, &[(25, 2)], big),
        ];
        let data = tiff(&camera, &exif, &gps, big);
        let expected = json!({
            "taken": {"time": "2024-05-01T06:12:33", "offset": "+02:00", "subsecond": "050"},
            "place": {"latitude": 52.51, "longitude": -13.25, "altitude": -12.5},
            "camera": {"make": "Acme", "model": "Tü1", "serial": "S-7"},
        });
        assert_eq!(json_of(&origin(&jpeg(&data))), expected, "JPEG {big}");
        assert_eq!(json_of(&origin(&png(&data))), expected, "PNG {big}");
    }
}

#[test]
fn a_photo_without_exif_says_nothing() {
    let nothing = json!({"taken": null, "place": null, "camera": null});
    for name in ["baseline.jpg", "rgb.png", "plain.tif", "rgb.bmp", "rgb.ppm", "two-frames.gif", "two-frames.webp"] {
        let mut frame = photo::read(sample(name), &Limits::default()).unwrap();
        assert_eq!(json_of(frame.origin()), nothing, "{name}");
        // A reused frame does not keep the previous photo's origin.
        let mut decoder = photo::Decoder::new(&Limits::default());
        decoder.decode("a", &jpeg(&tiff(&[ascii(0x0110, "T1")], &[], &[], false)), &mut frame).unwrap();
        assert_eq!(frame.origin().camera.as_ref().unwrap().model.as_deref(), Some("T1"));
        decoder.read(sample(name), &mut frame).unwrap();
        assert_eq!(frame.origin(), &Origin::default());
    }
    assert_eq!(Frame::default().origin(), &Origin::default());
}

#[test]
fn the_first_date_that_is_one_counts() {
    let original = |text: &str| ascii(0x9003, text);
    let digitised = ascii(0x9004, "2023:01:02 03:04:05");
    let said = |exif: &[Field]| time(exif)["time"].clone();
    assert_eq!(said(&[digitised.clone(), original("2024:05:01 06:12:33")]), "2024-05-01T06:12:33");
    for wrong in ["0000:00:00 00:00:00", "2024:13:01 06:12:33", "    :  :     :  :  ", "", "2024:02:30 00:00:00", "x"] {
        assert_eq!(said(&[original(wrong), digitised.clone()]), "2023-01-02T03:04:05", "{wrong}");
        assert_eq!(time(&[original(wrong)]), Value::Null, "{wrong}");
    }
    // Each date has a fraction and an offset of its own.
    let others = [original("2024:05:01 06:12:33"), ascii(0x9292, "99"), ascii(0x9012, "+05:00"), ascii(0x9010, "Z")];
    assert_eq!(time(&others), json!({"time": "2024-05-01T06:12:33", "offset": null, "subsecond": null}));
    let changed =
        tiff(&[ascii(0x0132, "2022:01:01 00:00:00")], &[ascii(0x9010, "-03:30"), ascii(0x9290, "7 ")], &[], true);
    let expected = json!({"time": "2022-01-01T00:00:00", "offset": "-03:30", "subsecond": "7"});
    assert_eq!(json_of(&origin(&jpeg(&changed)))["taken"], expected);
    // Appended to the date, as some programs do.
    let expected = json!({"time": "2024-05-01T06:12:33", "offset": "+02:00", "subsecond": "12"});
    assert_eq!(time(&[original("2024:05:01 06:12:33.12+02:00")]), expected);
    for wrong in ["+25:00", "02:00", "   :  ", "Q"] {
        assert_eq!(time(&[original("2024:05:01 06:12:33"), ascii(0x9011, wrong)])["offset"], Value::Null, "{wrong}");
    }
    assert_eq!(time(&[original("2024:05:01 06:12:33"), ascii(0x9291, "1x")])["subsecond"], Value::Null);
}

#[test]
fn a_place_is_whole_or_none() {
    let of = |north: &str, latitude: &[(u32, u32)], east: &str, longitude: &[(u32, u32)]| {
        place(&[ascii(1, north), rationals(2, latitude, false), ascii(3, east), rationals(4, longitude, false)])
    };
    assert_eq!(of("S", &NORTH, "E", &EAST), json!({"latitude": -52.51, "longitude": 13.25, "altitude": null}));
    // Degrees alone, and with a fraction.
    assert_eq!(of("N", &[(525_100, 10_000)], "e", &[(13, 1), (15, 1)])["latitude"], 52.51);
    for (latitude, longitude) in [
        (&[(200, 1), (0, 1), (0, 1)][..], &EAST[..]),
        (&NORTH, &[(181, 1), (0, 1), (0, 1)]),
        (&[(52, 0), (0, 1), (0, 1)], &EAST),
        (&[(0, 0), (0, 0), (0, 0)], &EAST),
        (&NORTH, &[(13, 1), (61, 1), (0, 1)]),
        (&[(u32::MAX, 1), (0, 1), (0, 1)], &EAST),
        (&[], &EAST),
    ] {
        assert_eq!(of("N", latitude, "E", longitude), Value::Null, "{latitude:?} {longitude:?}");
    }
    // A coordinate without a direction is none.
    for (north, east) in [("", "E"), ("N", "X"), ("E", "N")] {
        assert_eq!(of(north, &NORTH, east, &EAST), Value::Null, "{north} {east}");
    }
    assert_eq!(place(&[ascii(1, "N"), rationals(2, &NORTH, false)]), Value::Null);
    assert_eq!(place(&[(5, 1, vec![0]), rationals(6, &[(5, 1)], false)]), Value::Null);
    let high = |reference: Option<u8>, over: u32, under: u32| {
        let mut gps = vec![ascii(1, "N"), rationals(2, &NORTH, false), ascii(3, "E"), rationals(4, &EAST, false)];
        gps.extend(reference.map(|reference| (5, 1, vec![reference])));
        gps.push(rationals(6, &[(over, under)], false));
        place(&gps)["altitude"].clone()
    };
    assert_eq!([high(None, 5, 2), high(Some(0), 5, 2), high(Some(1), 5, 2)], [2.5, 2.5, -2.5].map(Value::from));
    for wrong in [high(Some(0), 5, 0), high(Some(0), u32::MAX, 1), high(Some(9), 5, 1)] {
        assert_eq!(wrong, Value::Null);
    }
}

#[test]
fn texts_are_clean_and_bounded() {
    let long = "x".repeat(500);
    let camera = tiff(&[(0x010F, 2, b"Ac\x1b[31mme\xe9 \0junk".to_vec()), ascii(0x0110, &long)], &[], &[], false);
    let camera = json_of(&origin(&jpeg(&camera)))["camera"].clone();
    assert_eq!(camera["make"], "Ac[31mmeé");
    assert_eq!((camera["model"].as_str().unwrap().len(), &camera["serial"]), (64, &Value::Null));
    for empty in ["", "   ", "\0\0"] {
        assert_eq!(json_of(&origin(&jpeg(&tiff(&[ascii(0x010F, empty)], &[], &[], false))))["camera"], Value::Null);
    }
}

/// Truncated data, or data with wrong offsets, gives fewer fields or none, but never a wrong one, and no panic.
#[test]
fn damaged_data_gives_no_wrong_field() {
    let exif = [ascii(0x9003, "2024:05:01 06:12:33"), ascii(0x9011, "+02:00"), ascii(0xA431, "S-7")];
    let gps = [ascii(1, "N"), rationals(2, &NORTH, false), ascii(3, "W"), rationals(4, &EAST, false)];
    let whole = tiff(&[ascii(0x010F, "Acme Traps"), ascii(0x0110, "T1 of 2020")], &exif, &gps, false);
    let full = json_of(&origin(&jpeg(&whole)));
    for length in 0..whole.len() {
        let cut = json_of(&origin(&jpeg(&whole[..length])));
        for part in ["taken", "place"] {
            // A time whose offset is truncated is still a time.
            let same = cut[part] == full[part] || cut[part]["time"] == full[part]["time"];
            assert!(cut[part].is_null() || same, "{length}: {cut}");
        }
    }
    let mut state = 1_u64;
    for _ in 0..3000 {
        let mut changed = whole.clone();
        for _ in 0..3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (at, value) = ((state >> 33) as usize % changed.len(), (state >> 20) as u8);
            changed[at] = value;
        }
        let Ok(frame) = photo::decode("photo", &jpeg(&changed), &Limits::default()) else { continue };
        if let Some(place) = frame.origin().place {
            assert!(place.latitude.abs() <= 90.0 && place.longitude.abs() <= 180.0, "{place:?}");
        }
    }
    // A folder that leads to itself.
    let mut round = tiff(&[ascii(0x0110, "T1")], &[ascii(0x9003, "2024:05:01 06:12:33")], &[], false);
    let at = round.windows(2).position(|two| two == 0x8769_u16.to_le_bytes()).unwrap();
    round[at + 8..at + 12].copy_from_slice(&8_u32.to_le_bytes());
    assert_eq!(json_of(&origin(&jpeg(&round)))["taken"], Value::Null);
}

/// A copy of `name` with `tags` by exiftool; `None` if it is not installed.
fn written(folder: &Path, name: &str, tags: &[&str]) -> Option<PathBuf> {
    let path = folder.join(name);
    std::fs::copy(sample(name), &path).unwrap();
    let done =
        Command::new("exiftool").args(["-q", "-overwrite_original", "-n"]).args(tags).arg(&path).status().ok()?;
    assert!(done.success(), "exiftool {tags:?} {name}");
    Some(path)
}

#[test]
fn what_exiftool_writes_is_read() {
    if Command::new("exiftool").arg("-ver").output().is_err() {
        println!("exiftool is not installed; not tested");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let full = [
        "-EXIF:DateTimeOriginal=2024:05:01 06:12:33",
        "-EXIF:SubSecTimeOriginal=042",
        "-EXIF:OffsetTimeOriginal=-03:30",
        "-EXIF:CreateDate=2020:01:01 00:00:00",
        "-EXIF:GPSLatitude=33.8567844",
        "-EXIF:GPSLatitudeRef=S",
        "-EXIF:GPSLongitude=151.2152967",
        "-EXIF:GPSLongitudeRef=E",
        "-EXIF:GPSAltitude=12.5",
        "-EXIF:GPSAltitudeRef=1",
        "-EXIF:Make=Acme",
        "-EXIF:Model=T1",
        "-EXIF:SerialNumber=0042",
    ];
    for name in ["baseline.jpg", "rgb.png", "plain.tif", "two-frames.webp"] {
        let path = written(folder.path(), name, &full).unwrap();
        let found = json_of(photo::read(&path, &Limits::default()).unwrap().origin());
        let taken = json!({"time": "2024-05-01T06:12:33", "offset": "-03:30", "subsecond": "042"});
        assert_eq!(found["taken"], taken, "{name}");
        assert_eq!(found["camera"], json!({"make": "Acme", "model": "T1", "serial": "0042"}), "{name}");
        let near = |key: &str, value: f64| (found["place"][key].as_f64().unwrap() - value).abs() < 1e-6;
        assert!(
            near("latitude", -33.8567844) && near("longitude", 151.2152967) && near("altitude", -12.5),
            "{name}: {found}"
        );
    }
    let one = |tags: &[&str]| {
        let path = written(folder.path(), "baseline.jpg", tags).unwrap();
        json_of(photo::read(&path, &Limits::default()).unwrap().origin())
    };
    assert_eq!(
        one(&["-EXIF:CreateDate=2020:02:29 23:59:59", "-EXIF:OffsetTimeDigitized=+05:45"])["taken"]["offset"],
        "+05:45"
    );
    assert_eq!(one(&["-EXIF:ModifyDate=2020:02:29 23:59:59"])["taken"]["time"], "2020-02-29T23:59:59");
    assert_eq!(
        one(&["-EXIF:DateTimeOriginal=2024:05:01 06:12:33", "-EXIF:OffsetTimeOriginal=Z"])["taken"]["time"],
        "2024-05-01T06:12:33"
    );
    assert_eq!(one(&["-EXIF:DateTimeOriginal=0000:00:00 00:00:00"])["taken"], Value::Null);
    assert_eq!(one(&["-EXIF:GPSLatitude=52.5"])["place"], Value::Null);
    assert_eq!(one(&["-EXIF:Artist=x"]), json!({"taken": null, "place": null, "camera": null}));
    let long = "-EXIF:Model=a very long name of a camera that no camera has and that still should do no harm at all";
    assert_eq!(one(&[long])["camera"]["model"].as_str().unwrap().len(), 64);
}
