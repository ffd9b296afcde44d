//! Files that are damaged, inconsistent, or ask for too much. They cause an error with the reason, in bounded time
//! and memory, and never a panic, not even one that the library catches.

mod bombs;
#[path = "../common/mod.rs"]
mod common;
mod damage;
mod metadata;
mod nothing;
mod quantisation;
mod structure;

use std::cell::Cell;
use std::panic;
use std::sync::Once;
use std::time::Duration;

use common::onnx;
use oltr::model::{Engine, Options};
use oltr::{Error, Frame, Model, PixelFormat, Result, Session};

/// Most processor time of the thread for a small file: a hundred times the usual. Only work that grows with
/// something other than the file exceeds it. Other work on the machine does not count.
const SOON: Duration = Duration::from_secs(120);

/// Processor time that this thread took.
fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

thread_local! {
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// Runs `work`, and fails if it panics, caught or not, or takes long.
fn calmly<T>(what: &str, work: impl FnOnce() -> T) -> std::result::Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            before(info);
        }));
    });
    let (panics, start) = (PANICS.get(), cpu_time());
    let result = panic::catch_unwind(panic::AssertUnwindSafe(work));
    let took = cpu_time() - start;
    match result {
        Ok(_) if PANICS.get() > panics => Err(format!("{what}: a panic was caught")),
        Ok(_) if took > SOON => Err(format!("{what}: took {} ms", took.as_millis())),
        Ok(result) => Ok(result),
        Err(_) => Err(format!("{what}: panicked")),
    }
}

fn from_bytes(bytes: &[u8]) -> Result<Model> {
    Model::from_bytes("hostile.onnx", bytes, &Options::default())
}

/// Loads the file with each engine and runs it on zeros. Returns the first error.
fn load_and_run(bytes: &[u8]) -> Result<()> {
    load_and_run_with(Engine::Int8, bytes)?;
    load_and_run_with(Engine::Tract, bytes)
}

fn load_and_run_with(engine: Engine, bytes: &[u8]) -> Result<()> {
    let model = Model::from_bytes("hostile.onnx", bytes, &Options { engine, ..Options::default() })?;
    let inputs: Vec<Vec<f32>> = model.inputs().iter().map(|i| vec![0.0; i.volume()]).collect();
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    model.session()?.run_raw(&inputs)?;
    Ok(())
}

/// A file that must be refused, and parts of the message.
struct Case {
    what: &'static str,
    model: onnx::Model,
    says: &'static [&'static str],
}

fn case(
    base: fn() -> onnx::Model,
    what: &'static str,
    change: impl FnOnce(&mut onnx::Model),
    says: &'static [&'static str],
) -> Case {
    let mut model = base();
    change(&mut model);
    Case { what, model, says }
}

/// Fails with a list of all cases that are not refused properly: without a panic, and with the file's name.
fn all_are_refused(cases: &[Case]) {
    let mut wrong = Vec::new();
    for Case { what, model, says } in cases {
        match calmly(what, || load_and_run(&model.encode())) {
            Err(message) => wrong.push(message),
            Ok(Ok(())) => wrong.push(format!("{what}: is accepted")),
            Ok(Err(error)) => {
                let message = error.to_string();
                if matches!(error, Error::Internal(_)) || !message.starts_with("hostile.onnx") {
                    wrong.push(format!("{what}: {message}"));
                }
                for part in says.iter().filter(|part| !message.contains(*part)) {
                    wrong.push(format!("{what}: '{part}' is not in: {message}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Fails with a list of all cases that do not load and run.
fn all_are_accepted(cases: &[Case]) {
    let mut wrong = Vec::new();
    for Case { what, model, .. } in cases {
        match calmly(what, || load_and_run(&model.encode())) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => wrong.push(format!("{what}: {error}")),
            Err(message) => wrong.push(message),
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// A picture of 5×4 pixels.
fn picture() -> Frame {
    let pixels: Vec<u8> = (0..60).map(|i| i * 4).collect();
    Frame::new(PixelFormat::Rgb24, 5, 4, 15, pixels, &oltr::Limits::default()).unwrap()
}

fn session(bytes: &[u8]) -> Session {
    from_bytes(bytes).unwrap().session().unwrap()
}

#[test]
fn the_graph_that_the_cases_change_is_sound() {
    let bytes = common::tiny::bundle().encode();
    let model = from_bytes(&bytes).unwrap();
    assert_eq!(model.bundle().unwrap().classes.len(), common::tiny::CLASSES);
    let convolutions = model.summary().steps.iter().filter(|s| s.op.starts_with("conv") && s.program == Some(0));
    assert_eq!(convolutions.count(), 1, "{:?}", model.summary().steps);
    let outputs = session(&bytes).run(&picture()).unwrap().clone();
    let lengths = [outputs.logits.len(), outputs.distances.len(), outputs.features.len()];
    assert_eq!(lengths, [common::tiny::CLASSES, common::tiny::CLASSES, common::tiny::WIDTH]);
    assert!(outputs.features.iter().any(|f| *f > 0.0) && outputs.distances.iter().all(|d| *d > 0.0), "{outputs:?}");
    all_are_accepted(&[case(common::tiny::bundle, "as it is", |_| {}, &[])]);
}
