//! Classifies one photo with the built-in bundle: `cargo run --release --example classify_photo -- PHOTO`.

use oltr::decide::{Decider, Decision};
use oltr::model::{Model, Options};
use oltr::{Limits, scores, source};

fn main() -> oltr::Result<()> {
    let path = std::env::args().nth(1).unwrap_or("examples/photos/cup.jpg".into());
    let photo = source::photo::read(&path, &Limits::default())?;

    let model = Model::builtin(&Options::default())?;
    let mut session = model.session()?;
    let outputs = session.run(&photo)?;

    let bundle = model.bundle().expect("the built-in model is a bundle");
    let scores = scores::score(&outputs.logits, &outputs.distances)?;
    let verdict = Decider::new(bundle).decide(&scores);
    let nearest = &bundle.classes[scores.nearest].name;
    match verdict.decision {
        Decision::Known(class) => println!("{path}: {}", bundle.classes[class].name),
        Decision::Enrolled(_) | Decision::Open => println!("{path}: open, resembles {nearest}"),
    }
    println!("reachability {:.3}, threshold {:.3}", scores.reachability, verdict.threshold);
    Ok(())
}
