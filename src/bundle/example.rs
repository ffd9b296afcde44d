//! A bundle for tests that need one and no model: the tests of the library, of the program and of the pipeline.

use oltr::bundle::{Bundle, Class, Open, Preprocess, Resize, Rule};

/// A bundle of classes, each with its name and its number of training photos: 8×8 pixels as they are, open below a
/// reachability of 0.5 (and a probability of 0.1, for those that change the rule).
pub fn bundle(classes: &[(&str, u64)]) -> Bundle {
    let class = |&(id, train_count): &(&str, u64)| Class { id: id.into(), name: id.into(), train_count };
    Bundle {
        name: "test".into(),
        classes: classes.iter().map(class).collect(),
        preprocess: Preprocess {
            size: 8,
            resize: Resize::Stretch,
            resize_to: None,
            mean: [0.0; 3],
            std: [1.0; 3],
            pad_color: None,
        },
        open: Open {
            rule: Rule::Reachability,
            reachability: 0.5,
            probability: 0.1,
            per_class: None,
            limit: None,
            temperature: None,
            names: None,
            calibration: serde_json::Value::Null,
        },
        card: serde_json::Value::Null,
        subject: None,
        taxonomy: None,
    }
}
