//! A camera that misbehaves, at the level of the driver.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use oltr::source::camera::{Camera, Device, Encoding, Mode, Switch, Wish};
use oltr::source::{FrameSource, LateDecoder, Next, photo};
use oltr::{Color, Error, Frame, Limits, PixelFormat, Range, RegionOfInterest, Result, Rotation};

use super::{jpeg, noise};

/// The camera's next action.
enum Act {
    Picture(Vec<u8>),
    Faulty,
    Silence,
    Unplug,
}

/// The actions, and the mode of the camera each time that it is switched on.
#[derive(Default)]
struct Script {
    acts: Vec<Act>,
    modes: Vec<Mode>,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Script>>);

impl Switch for Fake {
    fn name(&self) -> &str {
        "v4l2:/dev/fake"
    }

    fn on(&mut self) -> Result<(Mode, Box<dyn Device>)> {
        let modes = &mut self.0.lock().unwrap().modes;
        if modes.is_empty() {
            return Err(Error::Unavailable { subject: "/dev/fake".into(), reason: "is not there".into() });
        }
        Ok((modes.remove(0), Box::new(self.clone())))
    }
}

impl Device for Fake {
    fn wait(&mut self, deadline: Instant) -> io::Result<bool> {
        let acts = &mut self.0.lock().unwrap().acts;
        match acts.first() {
            None | Some(Act::Silence) => {
                acts.drain(..1.min(acts.len()));
                std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
                Ok(false)
            }
            Some(_) => Ok(true),
        }
    }

    fn picture(&mut self, take: &mut dyn FnMut(&[u8], bool)) -> io::Result<()> {
        match self.0.lock().unwrap().acts.remove(0) {
            Act::Picture(bytes) => take(&bytes, true),
            Act::Faulty => take(&[], false),
            _ => return Err(io::Error::from_raw_os_error(19)), // ENODEV
        }
        Ok(())
    }
}

fn mode(encoding: Encoding, width: u32, height: u32, stride: usize) -> Mode {
    Mode { encoding, width, height, stride, mapped_bytes: 1000 }
}

fn camera(acts: Vec<Act>, modes: Vec<Mode>) -> (Camera, Fake) {
    let fake = Fake(Arc::new(Mutex::new(Script { acts, modes })));
    (Camera::new(Box::new(fake.clone()), &Wish::default(), &Limits::default()).unwrap(), fake)
}

const PATIENCE: Duration = Duration::from_millis(20);

#[test]
fn pictures_are_read_as_the_driver_pads_them() {
    let yuyv = PixelFormat::Yuyv422;
    // Whole, without the padding of the last row, faulty, too short.
    let picture = noise(64 * 3, 1);
    let acts = vec![
        Act::Picture(picture.clone()),
        Act::Picture(picture[..64 * 2 + 20].to_vec()),
        Act::Faulty,
        Act::Picture(vec![0; 64 * 2 + 19]),
        Act::Silence,
        Act::Picture(picture.clone()),
    ];
    let (mut camera, _) = camera(acts, vec![mode(Encoding::Raw(yuyv), 10, 3, 64)]);
    assert!(camera.is_live());
    let mut frame = Frame::with_capacity(camera.bounds().frame_bytes);
    for n in 0..2 {
        assert_eq!(camera.next(&mut frame, PATIENCE).unwrap(), Next::Frame);
        assert_eq!((frame.format(), frame.stride(), frame.stamp().seq), (yuyv, 64, n));
        assert_eq!(frame.geometry().color, Color::VIDEO);
        assert!((0..3).all(|y| frame.row(y) == &picture[y as usize * 64..][..20]));
    }
    for reason in ["lost data", "has 147 bytes"] {
        let Next::Damaged(damage) = camera.next(&mut frame, PATIENCE).unwrap() else { panic!("{reason}") };
        assert!(damage.reason.contains(reason), "{damage:?}");
    }
    assert_eq!(camera.next(&mut frame, PATIENCE).unwrap(), Next::Waiting);
    assert_eq!(camera.next(&mut frame, PATIENCE).unwrap(), Next::Frame);
    assert_eq!(frame.stamp().seq, 4);
}

#[test]
fn a_camera_that_vanishes_and_returns_goes_on() {
    let gray = |width| mode(Encoding::Raw(PixelFormat::Gray), width, 2, width as usize);
    let acts = vec![Act::Picture(vec![1; 8]), Act::Unplug];
    let (mut camera, fake) = camera(acts, vec![gray(4)]);
    let mut frame = Frame::with_capacity(camera.bounds().frame_bytes);
    assert_eq!(camera.next(&mut frame, PATIENCE).unwrap(), Next::Frame);
    assert_eq!(frame.geometry().color.range, Range::Full);
    for _ in 0..2 {
        assert!(matches!(camera.next(&mut frame, PATIENCE), Err(Error::Unavailable { .. })));
        assert!(matches!(camera.reconnect(), Err(Error::Unavailable { .. })), "it is still unplugged");
    }
    // It returns with more than memory was planned for, then as it was.
    fake.0.lock().unwrap().modes = vec![gray(5), gray(4)];
    assert!(matches!(camera.reconnect(), Err(Error::Unavailable { .. })));
    camera.reconnect().unwrap();
    fake.0.lock().unwrap().acts = vec![Act::Picture(vec![2; 8])];
    assert_eq!(camera.next(&mut frame, PATIENCE).unwrap(), Next::Frame);
    assert_eq!((frame.data()[0], frame.stamp().seq), (2, 1));
}

#[test]
fn motion_jpeg_is_decoded() {
    let good = jpeg(32, 16, 1);
    let acts = vec![
        Act::Picture(good.clone()),
        Act::Picture(good[..good.len() / 2].to_vec()),
        // Drivers return the whole buffer: zeros after the picture.
        Act::Picture([good, vec![0; 99]].concat()),
        Act::Picture(jpeg(64, 16, 1)),
    ];
    let (mut camera, _) = camera(acts, vec![mode(Encoding::Mjpeg, 32, 16, 0)]);
    let mut frame = Frame::with_capacity(camera.bounds().frame_bytes);
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(camera.next(&mut frame, PATIENCE).unwrap() == Next::Frame);
    }
    assert_eq!(seen, [true, false, true, false]);
    assert_eq!(camera.bounds().frame_bytes, 32 * 16 * 3);
}

/// If frames may be dropped, the consumer decodes them.
#[test]
fn what_may_be_dropped_is_left_encoded() {
    let good = jpeg(160, 120, 1);
    let acts = vec![
        Act::Picture(good.clone()),
        Act::Picture(good[..good.len() / 2].to_vec()),
        Act::Picture([&good[..], &[0; 999]].concat()),
        // Errors in the headers are reported at once.
        Act::Picture(good[..20].to_vec()),
        Act::Picture(jpeg(320, 240, 1)),
    ];
    let (mut camera, _) = camera(acts, vec![mode(Encoding::Mjpeg, 160, 120, 0)]);
    assert!(camera.leave_coded());
    let bytes = camera.bounds().frame_bytes;
    let mut late = LateDecoder::new(bytes, &Limits::default());
    let right = photo::decode("camera", &good, &Limits::default()).unwrap();
    let view = RegionOfInterest { rotation: Rotation::Half, ..RegionOfInterest::default() };
    for whole in [true, false, true] {
        let mut frame = Frame::with_capacity(bytes);
        assert_eq!(camera.next(&mut frame, PATIENCE).unwrap(), Next::Frame);
        assert!(frame.is_coded() && frame.data().len() <= good.len() + 16);
        frame.set_roi(view);
        let stamp = frame.stamp();
        match late.decode("camera", &mut frame) {
            Ok(()) => assert!(whole && !frame.is_coded() && frame.data() == right.data()),
            Err(Error::BadImage { reason, .. }) => assert!(!whole && reason.contains("cut off"), "{reason}"),
            Err(e) => panic!("{e}"),
        }
        assert_eq!((frame.geometry().roi, frame.stamp()), (view, stamp));
    }
    let mut frame = Frame::with_capacity(bytes);
    for _ in 0..2 {
        assert!(matches!(camera.next(&mut frame, PATIENCE).unwrap(), Next::Damaged(_)));
    }
}

#[test]
fn a_camera_that_gives_raw_frames_leaves_nothing_encoded() {
    let (mut camera, _) = camera(Vec::new(), vec![mode(Encoding::Raw(PixelFormat::Gray), 8, 8, 8)]);
    assert!(!camera.leave_coded());
}

#[test]
fn a_camera_beyond_the_limits_is_refused() {
    let fake = Fake::default();
    fake.0.lock().unwrap().modes = vec![mode(Encoding::Mjpeg, 4000, 4000, 0)];
    let refused = Camera::new(Box::new(fake), &Wish::default(), &Limits::default()).map(|_| ());
    assert!(matches!(refused, Err(Error::Limit { what: "frame_bytes", .. })), "{refused:?}");
}
