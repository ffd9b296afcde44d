//! Why a JPEG is not read, and what to do about it.

/// Why a picture is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Data is missing at the end.
    CutOff,
    /// Scans are missing.
    LacksScans,
    /// What is wrong.
    Damaged(&'static str),
    /// A kind of JPEG that is sound, but not read.
    Unsupported(&'static str),
}

impl Fault {
    /// The message, with the remedy.
    pub fn reason(self, bytes: &[u8]) -> String {
        match self {
            Fault::CutOff => format!("the JPEG is cut off after {} bytes; copy or download it again", bytes.len()),
            Fault::LacksScans => "the JPEG lacks some of its scans; copy or download it again".into(),
            Fault::Damaged(what) => format!("the JPEG is damaged ({what}); copy it again or save it anew"),
            Fault::Unsupported(kind) => format!("{kind}, which oltr does not read; save it as a baseline JPEG"),
        }
    }
}
