//! Float32 arrays in NumPy's .npz files. Reads no more than the caller allows, whatever the file states.
//!
//! Parses the header of an .npy member itself instead of using a general reader of Python literals: only three fields
//! matter, and a hostile header must cost nothing.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Write};
use std::path::{Path, PathBuf};

use oltr::{Error, Result, atomic};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// Longest header that is read. NumPy writes 118 bytes for an array of up to four dimensions.
const MAX_HEADER: usize = 4096;

/// Most dimensions of an array; NumPy's own bound was 32 for decades.
const MAX_DIMENSIONS: usize = 32;

/// Numbers in row-major order and how they are arranged.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Elements along each axis.
    pub shape: Vec<usize>,
    /// As many numbers as the product of `shape`.
    pub data: Vec<f32>,
}

/// An open .npz file.
pub struct Npz {
    path: PathBuf,
    archive: ZipArchive<BufReader<File>>,
}

impl Npz {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`]; [`Error::BadInput`] if it is no .npz.
    pub fn open(path: &Path) -> Result<Npz> {
        let file = File::open(path).map_err(|cause| Error::io(path, cause))?;
        let archive = ZipArchive::new(BufReader::new(file)).map_err(|cause| Error::BadInput {
            subject: path.display().to_string(),
            reason: format!("is no .npz file as numpy.savez writes it ({cause})"),
        })?;
        Ok(Npz { path: path.into(), archive })
    }

    /// Names of the arrays.
    pub fn names(&self) -> Vec<String> {
        let files = self.archive.file_names().filter_map(|name| name.ok());
        files.filter_map(|name| Some(name.strip_suffix(".npy")?.to_owned())).collect()
    }

    /// Reads the array `name`, if it has at most `max_elements`.
    ///
    /// # Errors
    /// [`Error::BadInput`] with the array's name: missing, not float32, too large, or damaged.
    pub fn read(&mut self, name: &str, max_elements: usize) -> Result<Array> {
        let subject = format!("{}: array '{name}'", self.path.display());
        let member = self.archive.by_name(&format!("{name}.npy"));
        let array = member.map_err(|cause| cause.to_string()).and_then(|file| read_npy(file, max_elements));
        array.map_err(|reason| Error::BadInput { subject, reason })
    }
}

/// Writes `arrays` to `path`, uncompressed, as `numpy.savez` does. The file is replaced atomically.
///
/// # Errors
/// As [`atomic::write`]; [`Error::NotFound`] if the folder is missing.
pub fn write(path: &Path, arrays: &[(String, Array)]) -> Result<()> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let internal = |cause: &dyn std::fmt::Display| Error::Internal(format!("cannot make an .npz file: {cause}"));
    for (name, array) in arrays {
        archive.start_file(format!("{name}.npy"), stored).map_err(|e| internal(&e))?;
        archive.write_all(&npy(array)).map_err(|e| internal(&e))?;
    }
    let bytes = archive.finish().map_err(|e| internal(&e))?.into_inner();
    atomic::write(path, &bytes).map_err(|error| match error {
        Error::Io { path, cause } => Error::io(path, cause),
        other => other,
    })
}

/// The .npy file of `array`, version 1.0.
fn npy(array: &Array) -> Vec<u8> {
    let axes: Vec<String> = array.shape.iter().map(usize::to_string).collect();
    // A tuple of one element needs a comma.
    let shape = if axes.len() == 1 { format!("{},", axes[0]) } else { axes.join(", ") };
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
    // The data begin at a multiple of 64, after magic, version, length and header.
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header.extend(std::iter::repeat_n(' ', length - header.len() - 1));
    header.push('\n');
    let mut bytes = [&MAGIC[..], &[1, 0], &(length as u16).to_le_bytes(), header.as_bytes()].concat();
    bytes.extend(array.data.iter().flat_map(|x| x.to_le_bytes()));
    bytes
}

fn read_npy(mut file: impl Read, max_elements: usize) -> std::result::Result<Array, String> {
    let shape = read_header(&mut file)?;
    let elements = shape.iter().try_fold(1usize, |product, n| product.checked_mul(*n));
    let elements = elements.filter(|n| *n <= max_elements).ok_or_else(|| {
        format!("has the shape {shape:?}, more than the {max_elements} elements that are of use here")
    })?;
    let bytes = elements as u64 * 4;
    // One byte more shows that the shape is wrong. Memory grows with the data, not with the stated size.
    let mut raw = Vec::new();
    file.take(bytes + 1).read_to_end(&mut raw).map_err(|cause| format!("is damaged: {cause}"))?;
    if raw.len() as u64 != bytes {
        let found = if raw.len() as u64 > bytes { "more".into() } else { raw.len().to_string() };
        return Err(format!("has the shape {shape:?}, which takes {bytes} bytes, but {found} are there"));
    }
    let (words, _) = raw.as_chunks::<4>();
    Ok(Array { shape, data: words.iter().map(|word| f32::from_le_bytes(*word)).collect() })
}

/// Reads up to the data, and returns the shape of a row-major array of float32.
fn read_header(file: &mut impl Read) -> std::result::Result<Vec<usize>, String> {
    let mut read = |length: usize| {
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes).map_err(|cause| format!("is damaged: {cause}"))?;
        Ok::<_, String>(bytes)
    };
    let start = read(8)?;
    if start[..6] != *MAGIC {
        return Err("is no .npy file".into());
    }
    let length = match start[6] {
        1 => read(2)?.try_into().map(u16::from_le_bytes).map(usize::from),
        2 | 3 => read(4)?.try_into().map(|b| u32::from_le_bytes(b) as usize),
        version => return Err(format!("has the .npy version {version}, versions 1 to 3 are known")),
    };
    let length = length.expect("as many bytes as were read");
    if length > MAX_HEADER {
        return Err(format!("has a header of {length} bytes, {MAX_HEADER} are accepted"));
    }
    let header = String::from_utf8(read(length)?).map_err(|_| "has a header that is no text")?;
    parse_header(&header)
}

/// Shape of the array whose header is `{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }`.
fn parse_header(header: &str) -> std::result::Result<Vec<usize>, String> {
    let field = |key: &str| value(header, key).ok_or_else(|| format!("has a header without '{key}'"));
    let descr = field("descr")?;
    if !["'<f4'", "\"<f4\""].iter().any(|float32| descr.starts_with(float32)) {
        let shown: String = descr.chars().take_while(|c| *c != ',').take(20).collect();
        return Err(format!("has elements of type {shown}, float32 is needed; save array.astype('<f4')"));
    }
    if !field("fortran_order")?.starts_with("False") {
        return Err("is stored column by column; save numpy.ascontiguousarray(array)".into());
    }
    let shape = field("shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')')).map(|(inside, _)| inside);
    let axes = shape.ok_or("has a header whose shape is no tuple")?.split(',').map(str::trim);
    let axes = axes.filter(|axis| !axis.is_empty()).map(str::parse::<usize>).collect::<Result<Vec<_>, _>>();
    let axes = axes.map_err(|_| "has a header whose shape is not made of numbers")?;
    if axes.len() > MAX_DIMENSIONS {
        return Err(format!("has {} dimensions, {MAX_DIMENSIONS} are accepted", axes.len()));
    }
    Ok(axes)
}

/// The text after `'key':` in `header`.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let start = ['\'', '"'].iter().find_map(|quote| {
        let quoted = format!("{quote}{key}{quote}");
        header.find(&quoted).map(|at| at + quoted.len())
    })?;
    Some(header[start..].trim_start().strip_prefix(':')?.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }";

    fn array(shape: &[usize]) -> Array {
        Array { shape: shape.into(), data: (0..shape.iter().product()).map(|i| i as f32 - 1.5).collect() }
    }

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&MAGIC[..], &[1, 0], &(header.len() as u16).to_le_bytes(), header.as_bytes(), data].concat()
    }

    #[test]
    fn what_is_written_is_read() {
        for shape in [&[][..], &[0], &[3], &[1, 4], &[2, 3, 5, 7]] {
            let array = array(shape);
            let bytes = npy(&array);
            assert_eq!((bytes.len() - array.data.len() * 4) % 64, 0, "data are aligned");
            assert_eq!(read_npy(&bytes[..], 1000), Ok(array));
        }
    }

    #[test]
    fn what_is_written_is_what_numpy_writes() {
        let text = String::from_utf8_lossy(&npy(&array(&[3]))[10..]).into_owned();
        assert!(text.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }"), "{text}");
        let text = String::from_utf8_lossy(&npy(&array(&[1, 3]))[10..]).into_owned();
        assert!(text.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }"), "{text}");
    }

    #[test]
    fn headers() {
        let cases = [
            (HEADER, Ok(vec![1, 3])),
            (r#"{"shape":(2,),"fortran_order":False,"descr":"<f4"}"#, Ok(vec![2])),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", Ok(vec![])),
            ("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", Err("astype")),
            ("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", Err("'>f4'")),
            ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", Err("float32 is needed")),
            ("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 3), }", Err("ascontiguousarray")),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", Err("numbers")),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,), }", Err("numbers")),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': 3, }", Err("tuple")),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2", Err("tuple")),
            ("{'fortran_order': False, 'shape': (1,)}", Err("'descr'")),
            ("", Err("'descr'")),
        ];
        for (header, expected) in cases {
            match (parse_header(header), expected) {
                (Ok(shape), Ok(expected)) => assert_eq!(shape, expected, "{header}"),
                (Err(reason), Err(part)) => assert!(reason.contains(part), "{header}: {reason}"),
                (got, _) => panic!("{header}: {got:?}"),
            }
        }
        let deep = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", "1, ".repeat(33));
        assert!(parse_header(&deep).unwrap_err().contains("dimensions"));
    }

    #[test]
    fn data_must_be_what_the_shape_promises() {
        let fails = |bytes: &[u8], max, part: &str| {
            let reason = read_npy(bytes, max).unwrap_err();
            assert!(reason.contains(part), "{reason}");
        };
        assert_eq!(read_npy(&file(HEADER, &[0; 12])[..], 3).unwrap().data, [0.0; 3]);
        fails(&file(HEADER, &[0; 12]), 2, "2 elements");
        fails(&file(HEADER, &[0; 11]), 3, "11 are there");
        fails(&file(HEADER, &[0; 13]), 3, "more are there");
        let huge = HEADER.replace("(1, 3)", "(4294967296, 4294967296, 2)");
        fails(&file(&huge, &[0; 12]), usize::MAX, "more than");
        fails(b"\x93NUMPY\x02\x00\xff\xff\xff\xff", 3, "header of 4294967295");
        fails(b"\x93NUMPY\x09\x00\x01\x00", 3, "version 9");
        fails(b"PK\x03\x04....", 3, "no .npy");
        let good = file(HEADER, &[0; 12]);
        for cut in 0..good.len() {
            assert!(read_npy(&good[..cut], 3).is_err(), "cut at {cut}");
        }
    }
}
