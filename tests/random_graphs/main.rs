//! Random small quantised graphs, computed by the engine and by a plain reference of ONNX's semantics: the integers
//! are the same.

#[path = "../common/mod.rs"]
mod common;
mod generate;
mod qoperator;
mod reference;

use oltr::Model;
use oltr::model::Options;
use proptest::prelude::*;

use generate::Tape;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn integers_are_those_of_onnx(choices in prop::collection::vec(any::<u16>(), 0..300), threads in 1usize..3) {
        let case = generate::graph(Tape::new(&choices));
        let options = Options { threads, ..Options::default() };
        let model = Model::from_bytes("random.onnx", &case.file, &options)
            .map_err(|e| TestCaseError::fail(format!("{}: {e}", case.story)))?;
        let left = model.summary().steps.iter().filter(|s| s.program.is_none() && s.op != "tract Source").count();
        prop_assert_eq!(left, 0, "{}: steps are left to tract", case.story);
        let outputs = model.session().and_then(|mut s| s.run_raw(&[&case.input])).unwrap();
        prop_assert_eq!(outputs[0].len(), case.expected.len(), "{}", &case.story);
        for (i, (got, expected)) in outputs[0].iter().zip(&case.expected).enumerate() {
            prop_assert_eq!(got.to_bits(), expected.to_bits(), "{} at {}: {} for {}", case.story, i, got, expected);
        }
    }
}
