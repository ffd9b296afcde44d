//! Preprocesses a photo repeatedly, to count the instructions; see docs/why/decoder.md.
//!
//! ```sh
//! cargo run --release -p oltr-frames --example photo_to_input -- exact 1 photo.jpg
//! ```

use std::env;
use std::process::ExitCode;

use oltr_frames::Limits;
use oltr_frames::preprocess::{Preprocess, Resize};
use oltr_frames::source::photo::{Decode, InputReader};

fn main() -> ExitCode {
    let [decode, times, photo] = &env::args().skip(1).collect::<Vec<_>>()[..] else {
        eprintln!("usage: photo_to_input exact|fast TIMES PHOTO");
        return ExitCode::from(64);
    };
    let decode = if decode == "fast" { Decode::Fast } else { Decode::Exact };
    let (size, resize, pad_color) = (224, Resize::Stretch, None);
    let settings = Preprocess { size, resize, resize_to: None, mean: [127.0; 3], std: [128.0; 3], pad_color };
    let mut reader = InputReader::new(&settings, decode, &Limits::default());
    let mut pixels = vec![0; reader.output_len()];
    for _ in 0..times.parse().unwrap_or(1) {
        if let Err(e) = reader.read(photo, &mut pixels) {
            eprintln!("{e}");
            return ExitCode::FAILURE;
        }
    }
    println!("{}", pixels.iter().map(|value| u64::from(*value)).sum::<u64>());
    ExitCode::SUCCESS
}
