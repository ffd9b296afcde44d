//! The bundle that is built into the library.
//!
//! What a program looks at of its own bytes counts as its memory for as long as it runs, and all of a bundle is looked
//! at once, when its weights are packed. So its bytes are read from the program's file like any other model's, where the
//! system says in which part of that they are.

use std::fs::{self, File};
use std::path::Path;

#[cfg(not(feature = "demo-model"))]
use crate::error::Error;
use crate::error::Result;

use super::origin::Origin;

/// The file that runs, also where another has its name by now.
const OWN_FILE: &str = "/proc/self/exe";

/// What is compared at both ends of that part with the bytes in memory.
const COMPARED: usize = 4096;

/// As a static, of which there is one: what a function names may be copied with it into the crates that call it.
#[cfg(feature = "demo-model")]
static BUNDLE: &[u8] = include_bytes!("../../models/everyday.onnx");

/// The ONNX file of the bundle that is built into the library.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) without the feature `demo-model`.
pub fn builtin_bytes() -> Result<&'static [u8]> {
    #[cfg(feature = "demo-model")]
    return Ok(BUNDLE);
    #[cfg(not(feature = "demo-model"))]
    Err(Error::Config("this oltr was built without a bundle; name one with --model".into()))
}

/// Where [`builtin_bytes`] are best read.
///
/// # Errors
/// As [`builtin_bytes`].
pub(super) fn origin() -> Result<Origin<'static>> {
    let bytes = builtin_bytes()?;
    Ok(in_own_file(bytes).unwrap_or_else(|| Origin::memory(bytes)))
}

/// `bytes` of the program as a part of its file; `None` where the system does not say where they are, or says it of
/// another file: of a library that the program loaded, of a program unpacked in memory.
fn in_own_file(bytes: &'static [u8]) -> Option<Origin<'static>> {
    let maps = fs::read("/proc/self/maps").ok()?;
    let maps = String::from_utf8_lossy(&maps);
    let (path, first) = place(&maps, bytes.as_ptr().addr(), bytes.len())?;
    if fs::read_link(OWN_FILE).ok()?.to_str()? != path {
        return None;
    }
    let length = bytes.len() as u64;
    let origin = Origin::part(File::open(OWN_FILE).ok()?, Path::new(OWN_FILE), first, length);
    let ends = [0..length.min(COMPARED as u64), length.saturating_sub(COMPARED as u64)..length];
    let same = ends.iter().all(|end| *origin.bytes(end) == bytes[end.start as usize..end.end as usize]);
    (same && origin.check().is_ok()).then_some(origin)
}

/// In which file `length` bytes of memory from `address` on lie, and where in it, by the lines of `/proc/PID/maps`
/// (proc(5)): `start-end permissions offset device inode path`. `None` where they are not of one file.
fn place(maps: &str, address: usize, length: usize) -> Option<(&str, u64)> {
    let hexadecimal = |text: &str| u64::from_str_radix(text, 16).ok();
    let (first, after) = (address as u64, (address as u64).checked_add(length as u64)?);
    maps.lines().find_map(|line| {
        let mut fields = line.splitn(6, ' ');
        let (start, end) = fields.next()?.split_once('-')?;
        let (start, end) = (hexadecimal(start)?, hexadecimal(end)?);
        let offset = hexadecimal(fields.nth(1)?)?;
        let path = fields.nth(2)?.trim_start();
        (start <= first && after <= end && path.starts_with('/')).then(|| (path, offset + (first - start)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
5593d8a00000-5593d8a40000 r--p 00000000 fe:00 5311376                    /opt/field box/oltr
5593d8a40000-5593d8b00000 r-xp 00041000 fe:00 5311376                    /opt/field box/oltr (deleted)
5593d9000000-5593d9021000 rw-p 00000000 00:00 0                          [heap]
7f6d205d8000-7f6d2085e000 rw-p 00000000 00:00 0 
";

    #[test]
    fn bytes_are_found_in_the_file_that_they_were_mapped_from() {
        let at = |address, length| place(MAPS, address, length);
        assert_eq!(at(0x5593_d8a0_0000, 0x4_0000), Some(("/opt/field box/oltr", 0)));
        assert_eq!(at(0x5593_d8a3_ffff, 1), Some(("/opt/field box/oltr", 0x3_ffff)));
        assert_eq!(at(0x5593_d8a4_0010, 8), Some(("/opt/field box/oltr (deleted)", 0x4_1010)));
        for (address, length, why) in [
            (0x5593_d8a3_ffff, 2, "in two mappings"),
            (0x5593_d8af_ffff, 2, "beyond the end"),
            (0x5593_d89f_ffff, 2, "before the beginning"),
            (0x5593_d900_0000, 8, "of no file"),
            (0x7f6d_205d_8000, 8, "without a name"),
            (0x1000, 8, "nowhere"),
            (usize::MAX, 8, "beyond memory"),
        ] {
            assert_eq!(at(address, length), None, "{why}");
        }
        assert_eq!(place("nonsense\n\n1-2\n3-x r--p 0 0:0 0 /a\n", 1, 1), None);
    }

    #[test]
    #[cfg(all(feature = "demo-model", target_os = "linux"))]
    fn the_programs_own_file_has_the_bundle() {
        let bytes = builtin_bytes().unwrap();
        let origin = in_own_file(bytes).unwrap();
        assert_eq!(origin.bytes(&(0..bytes.len() as u64)), bytes);
        // What is not of the file: memory that the program was given.
        assert!(in_own_file(vec![1; 100].leak()).is_none());
    }
}
