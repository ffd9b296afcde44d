//! A feeder: the same bird on the same perch, all day.

mod world;

use std::time::Duration;

use oltr_frames::{Frame, Geometry, Limits, PixelFormat};
use oltr_scenes::{Scene, Settings};
use world::Random;

const WIDTH: usize = 160;
const HEIGHT: usize = 120;
/// Frames a second.
const RATE: u64 = 10;

/// Boxes of gray: what stands before the camera.
struct Picture {
    pixels: Vec<u8>,
}

impl Picture {
    fn ground(seed: u64) -> Picture {
        let mut random = Random::new(seed);
        let mut picture = Picture { pixels: vec![110; WIDTH * HEIGHT] };
        for _ in 0..150 {
            let (x, y) = (random.below(WIDTH as u32) as i32 - 5, random.below(HEIGHT as u32) as i32 - 5);
            let (width, height) = (4 + random.below(20) as i32, 4 + random.below(15) as i32);
            picture.fill(x, y, width, height, 70 + random.below(80) as u8);
        }
        picture
    }

    fn fill(&mut self, x: i32, y: i32, width: i32, height: i32, luma: u8) {
        for row in y.max(0)..(y + height).min(HEIGHT as i32) {
            for column in x.max(0)..(x + width).min(WIDTH as i32) {
                self.pixels[row as usize * WIDTH + column as usize] = luma;
            }
        }
    }

    /// A bird with a wing, always the same.
    fn bird(&mut self, x: i32, y: i32) {
        self.fill(x, y, 22, 14, 215);
        self.fill(x + 6, y + 3, 10, 6, 150);
    }
}

/// A visit: where the bird is so many frames after it came, `None` once it is gone.
type Visit = fn(frame: u64, stays: u64) -> Option<(i32, i32)>;

/// In from the left in a second, on the perch, and out to the right.
fn perches(frame: u64, stays: u64) -> Option<(i32, i32)> {
    let frame = frame as i32;
    let stays = stays as i32;
    match frame {
        0..=10 => Some((-22 + frame * 9, 30 + frame * 2)),
        _ if frame <= 10 + stays => Some((68, 50)),
        _ if frame <= 20 + stays => Some((68 + (frame - 10 - stays) * 10, 50 - (frame - 10 - stays) * 2)),
        _ => None,
    }
}

/// It hops on the perch, a little to and fro.
fn hops(frame: u64, stays: u64) -> Option<(i32, i32)> {
    let (x, y) = perches(frame, stays)?;
    let sits = (11..=10 + stays).contains(&frame);
    Some(if sits && frame / 5 % 2 == 1 { (x + 4, y - 1) } else { (x, y) })
}

/// Frames of a camera: pictures with noise, which repeats after some frames, as that of a code would not.
struct Camera {
    scene: Scene,
    frame: Frame,
    number: u64,
    noise: Vec<u8>,
}

impl Camera {
    fn new() -> Camera {
        let mut settings = Settings::default();
        settings.columns = 80;
        let mut random = Random::new(5);
        let noise = (0..WIDTH * HEIGHT * 7).map(|_| random.below(7) as u8).collect();
        Camera { scene: Scene::new(&settings, &Limits::default()).unwrap(), frame: Frame::default(), number: 0, noise }
    }

    fn look(&mut self, picture: &Picture) {
        let geometry = Geometry::new(PixelFormat::Gray, WIDTH as u32, HEIGHT as u32);
        let pixels = self.frame.reshape(geometry, &Limits::default()).unwrap();
        let noise = &self.noise[(self.number % 7) as usize * WIDTH * HEIGHT..];
        for ((pixel, &luma), &noise) in pixels.iter_mut().zip(&picture.pixels).zip(noise) {
            *pixel = luma + noise - 3;
        }
        self.scene.look(&self.frame, Duration::from_millis(self.number * 1000 / RATE)).unwrap();
        self.number += 1;
    }
}

/// Visits that were found, and things that were told. `stays` and `gaps` are frames, the least and the most.
fn day(visit: Visit, visits: u64, stays: (u32, u32), gaps: (u32, u32)) -> (u64, u64) {
    let mut camera = Camera::new();
    let mut random = Random::new(5);
    let between = |random: &mut Random, (least, most): (u32, u32)| least + random.below(most - least + 1);
    let back = Picture::ground(3);
    for _ in 0..150 {
        camera.look(&back);
    }
    let mut found = 0;
    for _ in 0..visits {
        let stays = between(&mut random, stays).into();
        let before = camera.scene.counts().seen;
        for frame in 0.. {
            let Some((x, y)) = visit(frame, stays) else { break };
            let mut picture = Picture { pixels: back.pixels.clone() };
            picture.bird(x, y);
            camera.look(&picture);
        }
        found += u64::from(camera.scene.counts().seen > before);
        for _ in 0..between(&mut random, gaps) {
            camera.look(&back);
        }
    }
    (found, camera.scene.counts().seen)
}

/// What comes back alike after seconds or minutes is one thing each time.
fn each_is_one_thing(visit: Visit, visits: u64, stays: (u32, u32), gaps: (u32, u32)) {
    let (found, told) = day(visit, visits, stays, gaps);
    assert!(found * 100 >= visits * 98, "{found} of {visits} visits were found");
    assert!(told * 100 <= visits * 102, "{told} things were told of {visits} visits");
}

#[test]
fn who_perches_again_is_found_again() {
    each_is_one_thing(perches, 200, (20, 50), (100, 600));
}

/// Taking off after a hop the other way is not another thing.
#[test]
fn who_hops_and_takes_off_is_one_thing() {
    each_is_one_thing(hops, 60, (20, 50), (100, 200));
    each_is_one_thing(hops, 60, (60, 90), (40, 60));
}
