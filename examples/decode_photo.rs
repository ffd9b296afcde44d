//! Decodes photos and writes their pixels: a PPM for each, or a line that says why there is none.
//!
//! ```sh
//! cargo run --example decode_photo photo.jpg > photo.ppm
//! ```

use std::io::{self, BufWriter, Write};

use oltr::source::photo::Decoder;
use oltr::{Frame, Limits};

fn main() -> io::Result<()> {
    let mut decoder = Decoder::new(&Limits::default());
    let mut frame = Frame::default();
    let mut out = BufWriter::new(io::stdout().lock());
    for path in std::env::args_os().skip(1) {
        match decoder.read(&path, &mut frame) {
            Ok(()) => {
                write!(out, "P6\n{} {}\n255\n", frame.width(), frame.height())?;
                out.write_all(frame.data())?;
            }
            Err(e) => writeln!(out, "error: {}", e.to_string().replace('\n', " "))?,
        }
    }
    out.flush()
}
