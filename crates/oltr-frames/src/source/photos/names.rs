//! Which files in a folder are photos, and which folders hold no photos of anybody's.

use std::ffi::OsStr;
use std::path::Path;

/// Extensions, in lower case, of the files that a folder is searched for.
pub const EXTENSIONS: [&str; 14] =
    ["bmp", "gif", "jfif", "jpe", "jpeg", "jpg", "pbm", "pgm", "png", "pnm", "ppm", "tif", "tiff", "webp"];

/// Folders (in lower case) in which systems, file managers and network disks keep copies: thumbnails, deleted files,
/// old versions. Hidden ones such as `.Trash-1000` and `.stversions` need not be listed.
const SYSTEM_FOLDERS: [&str; 18] = [
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "@eadir",
    "@recently-snapshot",
    "@recycle",
    "@sharebin",
    "@sharesnap",
    "@tmp",
    "__macosx",
    "lost+found",
    "lost.dir",
    "recycled",
    "recycler",
    "system volume information",
    "thumbs",
    "_gsdata_",
    "~snapshot",
];

/// Start of chkdsk's folder names: `FOUND.000`.
const FOUND: &str = "found.";

/// Names of unsupported pictures and recordings, by extension in lower case.
const UNREAD: [(&str, &[&str]); 7] = [
    ("HEIC", &["heic", "heif", "hif"]),
    ("AVIF", &["avif"]),
    ("JPEG XL", &["jxl"]),
    ("JPEG 2000", &["jp2", "j2k", "jpf", "jpx"]),
    (
        "raw",
        &[
            "3fr", "arw", "cr2", "cr3", "crw", "dcr", "dng", "erf", "gpr", "kdc", "mef", "mos", "mrw", "nef", "nrw",
            "orf", "pef", "raf", "raw", "rw2", "rwl", "sr2", "srf", "srw", "x3f",
        ],
    ),
    (
        "video",
        &[
            "3gp", "asf", "avi", "flv", "h264", "h265", "hevc", "m2ts", "m4v", "mjpeg", "mjpg", "mkv", "mov", "mp4",
            "mpeg", "mpg", "mts", "ogv", "ts", "webm", "wmv", "y4m",
        ],
    ),
    ("other picture", &["exr", "hdr", "ico", "psd", "svg", "tga", "xcf"]),
];

/// Whether a subfolder is skipped: hidden, or a system's own.
pub fn is_system_folder(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_lowercase();
    let found =
        |name: &str| name.strip_prefix(FOUND).is_some_and(|n| n.len() == 3 && n.bytes().all(|b| b.is_ascii_digit()));
    name.starts_with('.') || SYSTEM_FOLDERS.contains(&name.as_str()) || found(&name)
}

/// Whether a file in a folder counts as a photo: it has one of the [`EXTENSIONS`], and its name is neither hidden nor a
/// temporary one. Hidden names include a Mac's `._x.jpg` and rsync's unfinished `.x.jpg.AbC123`.
pub fn is_photo(name: &OsStr) -> bool {
    let hidden = name.as_encoded_bytes().starts_with(b".") || name.as_encoded_bytes().starts_with(b"~$");
    !hidden && has_photo_extension(Path::new(name))
}

/// Whether a folder search finds the photo at `path`, relative to that folder.
pub fn is_found(path: &Path) -> bool {
    path.file_name().is_some_and(is_photo) && !path.parent().is_some_and(is_in_system_folder)
}

/// Whether a folder search skips the folder `path`, relative to that folder.
pub fn is_in_system_folder(path: &Path) -> bool {
    path.iter().any(is_system_folder)
}

/// Whether `path` has a photo's extension.
pub fn has_photo_extension(path: &Path) -> bool {
    extension(path).is_some_and(|e| EXTENSIONS.contains(&e.as_str()))
}

/// Kind of an unsupported picture or recording, from its name; `None` for other files.
pub fn unread_kind(path: &Path) -> Option<&'static str> {
    let extension = extension(path)?;
    UNREAD.iter().find(|(_, extensions)| extensions.contains(&extension.as_str())).map(|(kind, _)| *kind)
}

fn extension(path: &Path) -> Option<String> {
    path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_systems_are_passed_over() {
        for name in [
            ".Trash-1000",
            ".stversions",
            ".thumbnails",
            ".oltr",
            "@eaDir",
            "$RECYCLE.BIN",
            "$Recycle.Bin",
            "RECYCLER",
            "System Volume Information",
            "lost+found",
            "LOST.DIR",
            "#recycle",
            "@Recycle",
            "__MACOSX",
            "Thumbs",
            "FOUND.000",
        ] {
            assert!(is_system_folder(OsStr::new(name)), "{name}");
        }
        for name in ["DCIM", "100MEDIA", "recycle", "eaDir", "thumbs-up", "FOUND", "FOUND.00x", "a.b"] {
            assert!(!is_system_folder(OsStr::new(name)), "{name}");
        }
        assert!(is_found(Path::new("DCIM/100/IMG_1.JPG")));
        assert!(!is_found(Path::new("DCIM/.Trash-1000/files/IMG_1.JPG")));
        assert!(!is_found(Path::new("@eaDir/IMG_1.JPG/SYNOPHOTO_THUMB_XL.jpg")));
    }

    #[test]
    fn files_of_other_programs_are_no_photos() {
        for name in ["a.jpg", "A.JPEG", "a b.png", "~a.jpg", "a.jpg.jpg"] {
            assert!(is_photo(OsStr::new(name)), "{name}");
        }
        for name in [
            "._a.jpg",
            ".a.jpg",
            ".a.jpg.AbC123",
            "a.jpg.part",
            "a.jpg.crdownload",
            "a.jpg~",
            "~$a.jpg",
            "a.jpg.tmp",
            "a.jpg.filepart",
            "a.heic",
            "a",
            "jpg",
            ".jpg",
        ] {
            assert!(!is_photo(OsStr::new(name)), "{name}");
        }
        assert_eq!(unread_kind(Path::new("a.HEIC")), Some("HEIC"));
        assert_eq!(unread_kind(Path::new("a.mp4")), Some("video"));
        assert_eq!(unread_kind(Path::new("a.NEF")), Some("raw"));
        assert_eq!((unread_kind(Path::new("a.jpg")), unread_kind(Path::new("a.txt"))), (None, None));
    }
}
