//! Float32 arrays from NumPy's .npz files of this repository. Panics on anything unexpected.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use zip::ZipArchive;

/// The numbers of each array, by name.
pub type Arrays = BTreeMap<String, Vec<f32>>;

/// Reads every array of a file.
pub fn read(path: &Path) -> Arrays {
    let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut archive = ZipArchive::new(file).unwrap();
    let mut arrays = Arrays::new();
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).unwrap();
        let name = member.name().unwrap().strip_suffix(".npy").expect("a member of an .npz").to_string();
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).unwrap();
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00", "{name}");
        let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let header = String::from_utf8_lossy(&bytes[10..start]);
        assert!(header.contains("'<f4'") && header.contains("'fortran_order': False"), "{name}: {header}");
        let (words, rest) = bytes[start..].as_chunks::<4>();
        assert!(rest.is_empty(), "{name}");
        arrays.insert(name, words.iter().map(|word| f32::from_le_bytes(*word)).collect());
    }
    arrays
}
