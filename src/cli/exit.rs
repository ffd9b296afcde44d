//! Exit codes, and the one place where an error becomes one.

use std::io::{self, Write};
use std::process::ExitCode;

use oltr::text::{printable, printable_lines};
use oltr::{Error, ErrorKind};

/// Exit code of the program: the code of sysexits.h where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything was done.
    Success = 0,
    /// A comparison failed.
    Differs = 1,
    /// Bad data or model.
    Data = 65,
    /// An input was not found.
    NoInput = 66,
    /// A source, or something that the board lacks, is unavailable.
    Unavailable = 69,
    /// A defect of oltr.
    Internal = 70,
    /// The operating system failed to read or write.
    Io = 74,
    /// A resource is in use: the same command may work later.
    Temporary = 75,
    /// Options or settings cannot work.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Exit {
        match error.kind() {
            ErrorKind::NotFound => Exit::NoInput,
            ErrorKind::Io => Exit::Io,
            // The model is fine, the memory that the user gave it is not enough.
            ErrorKind::Limit if is_memory(error) => Exit::Config,
            ErrorKind::BadImage | ErrorKind::BadModel | ErrorKind::Limit | ErrorKind::BadInput => Exit::Data,
            ErrorKind::Unavailable => Exit::Unavailable,
            ErrorKind::Busy => Exit::Temporary,
            ErrorKind::Config => Exit::Config,
            _ => Exit::Internal,
        }
    }
}

fn is_memory(error: &Error) -> bool {
    matches!(error, Error::Limit { what: "memory_bytes", .. })
}

/// The message of `error` for the command line, with options instead of fields of `Limits`.
pub fn message(error: &Error) -> String {
    match error {
        Error::Limit { subject, value, limit, .. } if is_memory(error) => {
            let subject = printable(subject);
            format!(
                "{subject}: needs {value} bytes of memory, --max-memory allows {limit}; allow more or use a smaller model"
            )
        }
        Error::Limit { subject, what: what @ ("photo_pixels" | "photo_side" | "photo_bytes"), value, limit } => {
            let what = what.replace('_', " ");
            format!(
                "{}: {what} is {value}, oltr accepts up to {limit}; --max-pixels 200M accepts more, or --max-frame WxH \
                 where it was given",
                printable(subject)
            )
        }
        Error::Limit { subject, what: "decoder_bytes", limit, .. } => format!(
            "{}: decoding it takes more than {limit} bytes of memory, 16 for each pixel that is accepted; --max-pixels 200M \
             accepts more, --max-frame WxH where it was given; or save the picture as JPEG",
            printable(subject)
        ),
        Error::Limit { subject, what: "float_nodes", value, limit } => format!(
            "{}: leaves {value} operators in floating point, oltr accepts up to {limit}; quantise the model or simplify \
             its graph",
            printable(subject)
        ),
        Error::Limit { subject, what: "tensor_readers", value, limit } => format!(
            "{}: {value} operators in floating point read the same tensor, oltr accepts up to {limit}, for loading them \
             takes the square of their number; quantise the model or simplify its graph",
            printable(subject)
        ),
        Error::Limit { subject, what, value, limit } => {
            format!("{}: {} is {value}, oltr accepts up to {limit}", printable(subject), what.replace('_', " "))
        }
        _ => error.to_string(),
    }
}

/// Prints the error that ended the program to stderr, and returns the exit code.
///
/// If the reader of stdout left (`oltr … | head`), the program ends quietly.
pub fn report(error: &anyhow::Error) -> Exit {
    let (exit, text) = judge(error);
    if let Some(text) = text {
        say(&text);
    }
    exit
}

/// As [`report`], for an error of the library.
pub fn report_error(error: &Error) -> Exit {
    say(&message(error));
    error.into()
}

/// Prints a message to stderr with control characters escaped. Line breaks of a list stay.
pub fn say(text: &str) {
    // Not eprintln: it panics where stderr is closed.
    let _ = writeln!(io::stderr(), "oltr: {}", printable_lines(text));
}

/// Makes a panic end the program with the code of internal errors. A panic of tract on a broken graph is not internal:
/// the library converts it to an error, or, in a program whose panics do not unwind, this hook ends the program.
pub fn on_panic() {
    let show = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if let Some(error) = oltr::model::error_of_panic() {
            log::debug!("{panic}");
            if cfg!(panic = "abort") {
                std::process::exit(report(&error.into()) as i32);
            }
            return;
        }
        show(panic);
        let _ = writeln!(io::stderr(), "oltr: internal error; please report this with the model and the input");
        std::process::exit(Exit::Internal as i32);
    }));
}

fn judge(error: &anyhow::Error) -> (Exit, Option<String>) {
    if let Some(error) = error.downcast_ref::<Error>() {
        // Only an output can lose its reader.
        if matches!(error, Error::Io { cause, .. } if cause.kind() == io::ErrorKind::BrokenPipe) {
            return (Exit::Success, None);
        }
        return (error.into(), Some(message(error)));
    }
    match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::BrokenPipe) => (Exit::Success, None),
        Some(_) => (Exit::Io, Some(printable(&format!("{error:#}")).into_owned())),
        None => (Exit::Internal, Some(printable(&format!("{error:#}")).into_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_error_has_its_code() {
        let cases = [
            (Error::NotFound { path: "a".into() }, 66),
            (Error::Io { path: "a".into(), cause: io::ErrorKind::PermissionDenied.into() }, 74),
            (Error::BadImage { subject: "a".into(), reason: "b".into() }, 65),
            (Error::BadModel { model: "a".into(), reason: "b".into() }, 65),
            (Error::Metadata { model: "a".into(), key: "oltr.open", reason: "b".into() }, 65),
            (Error::Limit { subject: "a".into(), what: "photo_side", value: 2, limit: 1 }, 65),
            (Error::Limit { subject: "a".into(), what: "memory_bytes", value: 2, limit: 1 }, 78),
            (Error::BadInput { subject: "a".into(), reason: "b".into() }, 65),
            (Error::Unavailable { subject: "a".into(), reason: "b".into() }, 69),
            (Error::Busy { path: "a".into(), reason: "b".into() }, 75),
            (Error::Config("a".into()), 78),
            (Error::Internal("a".into()), 70),
        ];
        for (error, code) in cases {
            let text = message(&error);
            assert_eq!(judge(&error.into()), (exit_of(code), Some(text)));
        }
    }

    fn exit_of(code: u8) -> Exit {
        let all =
            [Exit::Data, Exit::NoInput, Exit::Unavailable, Exit::Internal, Exit::Io, Exit::Temporary, Exit::Config];
        all.into_iter().find(|e| *e as u8 == code).unwrap()
    }

    #[test]
    fn a_reader_that_left_is_no_error() {
        let gone = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("writing the results");
        assert_eq!(judge(&gone), (Exit::Success, None));
        let full = anyhow::Error::from(io::Error::from(io::ErrorKind::StorageFull)).context("writing the results");
        let (exit, text) = judge(&full);
        assert_eq!(exit, Exit::Io);
        assert!(text.unwrap().starts_with("writing the results: "));
    }

    #[test]
    fn limits_are_reported_in_terms_of_options() {
        let error = Error::Limit { subject: "m.onnx".into(), what: "memory_bytes", value: 9, limit: 4 };
        assert!(message(&error).contains("--max-memory"));
        let error = Error::Limit { subject: "a.png".into(), what: "photo_side", value: 9, limit: 4 };
        assert!(message(&error).starts_with("a.png: photo side is 9, oltr accepts up to 4; --max-pixels"));
    }
}
