//! Small pictures made in code: a textured ground, light, things that are drawn over it, and noise.
#![allow(dead_code)]

use std::time::Duration;

use oltr_frames::{Frame, Geometry, Limits, PixelFormat};
use oltr_scenes::{Camera, Ended, Scene, Settings, State};

pub const WIDTH: usize = 320;
pub const HEIGHT: usize = 240;

/// Numbers that look random and are the same everywhere.
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, most: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (((self.0 >> 32) * u64::from(most)) >> 32) as u32
    }
}

/// A picture in levels: luma, and chroma around 0.
#[derive(Clone)]
pub struct Canvas {
    pub pixels: Vec<[f32; 3]>,
}

impl Canvas {
    pub fn rectangle(&mut self, x: f32, y: f32, width: f32, height: f32, colour: [f32; 3]) {
        let (left, top) = (x.round() as i32, y.round() as i32);
        for row in top.max(0)..(top + height as i32).min(HEIGHT as i32) {
            for column in left.max(0)..(left + width as i32).min(WIDTH as i32) {
                self.pixels[row as usize * WIDTH + column as usize] = colour;
            }
        }
    }

    /// A thing with stripes, so that it has an inside.
    pub fn thing(&mut self, x: f32, y: f32, width: f32, height: f32, colour: [f32; 3]) {
        self.rectangle(x, y, width, height, colour);
        let dark = [colour[0] * 0.6, colour[1], colour[2]];
        self.rectangle(x + width * 0.3, y, width * 0.15, height, dark);
        self.rectangle(x + width * 0.6, y, width * 0.15, height, dark);
    }

    pub fn light(&mut self, gain: impl Fn(f32, f32) -> f32) {
        for (index, pixel) in self.pixels.iter_mut().enumerate() {
            let gain = gain((index % WIDTH) as f32, (index / WIDTH) as f32);
            *pixel = pixel.map(|value| value * gain);
        }
    }

    /// The picture as it is when the camera is moved by so much.
    pub fn moved(&self, dx: i32, dy: i32) -> Canvas {
        let at = |index: usize| {
            let x = (index % WIDTH) as i32 + dx;
            let y = (index / WIDTH) as i32 + dy;
            self.pixels[y.clamp(0, HEIGHT as i32 - 1) as usize * WIDTH + x.clamp(0, WIDTH as i32 - 1) as usize]
        };
        Canvas { pixels: (0..WIDTH * HEIGHT).map(at).collect() }
    }
}

/// A ground of patches, with colours of water or of stone.
pub fn ground(seed: u64) -> Canvas {
    let mut random = Random::new(seed);
    let mut canvas = Canvas { pixels: vec![[110.0, 12.0, -14.0]; WIDTH * HEIGHT] };
    for _ in 0..250 {
        let (x, y) = (random.below(WIDTH as u32) as f32 - 10.0, random.below(HEIGHT as u32) as f32 - 10.0);
        let (width, height) = (6.0 + random.below(40) as f32, 6.0 + random.below(30) as f32);
        let luma = 70.0 + random.below(80) as f32;
        canvas.rectangle(x, y, width, height, [luma, random.below(30) as f32, -(random.below(30) as f32)]);
    }
    canvas
}

pub const FISH: [f32; 3] = [200.0, -30.0, 40.0];
pub const OTHER: [f32; 3] = [30.0, 40.0, -20.0];

/// A scene that is looked at, and all that it told.
pub struct Watch {
    pub scene: Scene,
    pub frame: Frame,
    pub number: u32,
    pub rate: u32,
    pub noise: u32,
    pub random: Random,
    pub ended: Vec<Ended>,
    pub camera: Vec<(u32, Camera)>,
}

impl Watch {
    pub fn new(settings: &Settings) -> Watch {
        let scene = Scene::new(settings, &Limits::default()).unwrap();
        let (frame, random) = (Frame::default(), Random::new(7));
        Watch { scene, frame, number: 0, rate: 10, noise: 5, random, ended: Vec::new(), camera: Vec::new() }
    }

    pub fn time(&self) -> Duration {
        Duration::from_millis(u64::from(self.number) * 1000 / u64::from(self.rate))
    }

    /// Shows a picture, with noise.
    pub fn show(&mut self, canvas: &Canvas) {
        let geometry = Geometry::new(PixelFormat::Yuv444p, WIDTH as u32, HEIGHT as u32);
        let data = self.frame.reshape(geometry, &Limits::default()).unwrap();
        let (y, chroma) = data.split_at_mut(WIDTH * HEIGHT);
        let (u, v) = chroma.split_at_mut(WIDTH * HEIGHT);
        for (index, pixel) in canvas.pixels.iter().enumerate() {
            let noise = self.random.below(2 * self.noise + 1) as f32 - self.noise as f32;
            y[index] = (pixel[0] + noise).round().clamp(0.0, 255.0) as u8;
            u[index] = (pixel[1] + 128.0).round().clamp(0.0, 255.0) as u8;
            v[index] = (pixel[2] + 128.0).round().clamp(0.0, 255.0) as u8;
        }
        self.look();
    }

    /// Looks at the frame as it is.
    pub fn look(&mut self) {
        self.scene.look(&self.frame, self.time()).unwrap();
        self.number += 1;
        self.ended.extend(self.scene.ended().iter().cloned());
        if let Some(camera) = self.scene.camera() {
            self.camera.push((self.number - 1, camera));
        }
    }

    /// Shows the same picture for some frames.
    pub fn rest(&mut self, canvas: &Canvas, frames: u32) {
        for _ in 0..frames {
            self.show(canvas);
        }
    }

    pub fn finish(&mut self) {
        self.scene.finish();
        self.ended.extend(self.scene.ended().iter().cloned());
    }

    /// Things that ended or are there.
    pub fn things(&self) -> usize {
        self.ended.len() + self.scene.things().len()
    }

    pub fn told(&self) -> Vec<Camera> {
        self.camera.iter().map(|&(_, camera)| camera).collect()
    }

    pub fn is_watching(&self) -> bool {
        matches!(self.scene.state(), State::Watching | State::Warming)
    }
}
