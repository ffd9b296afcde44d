//! Classifies one photo with the built-in bundle: `cargo run --release --example classify_photo -- PHOTO`.

use oltr::source::photo;
use oltr::{Classifier, Limits, Model};

fn main() -> oltr::Result<()> {
    let path = std::env::args().nth(1).unwrap_or("examples/photos/cup.jpg".into());
    let picture = photo::read(&path, &Limits::default())?;

    let model = Model::builtin(&Default::default())?;
    let mut classifier = Classifier::new(&model)?;
    let answer = classifier.classify(&picture)?;

    println!("{path}: {answer}");
    println!("reachability {:.3}, threshold {:.3}", answer.reachability, answer.threshold);
    println!("resembles {}", answer.nearest.name);
    Ok(())
}
