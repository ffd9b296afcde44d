//! The headers of a JPEG: size, components, coding and colour space.

use heapless::Vec as Fixed;

use super::fault::{Failure, Fault};
use super::huffman::Tables;
use super::markers::{Segment, Segments, Walk, name};
use super::raw::{Raw, ReadAt};
use super::tables::{self, ZIGZAG};

/// Most components of a picture: CMYK has four.
pub const MAX_COMPONENTS: usize = 4;

/// Most scans of a picture: encoders write about 10; a hostile picture has thousands.
pub const MAX_SCANS: usize = 64;

/// Blocks of one coded unit of a scan, by T.81, B.2.3.
const MAX_BLOCKS: u32 = 10;

/// One component as the frame's header declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    pub id: u8,
    /// Samples of it for each `max_h` samples of a row.
    pub h: u8,
    pub v: u8,
    /// Which quantisation table is meant.
    pub table: u8,
}

/// The header of one scan.
#[derive(Clone, Debug)]
pub struct Scan {
    /// Places in the frame's components, with the Huffman tables of each for DC and AC.
    pub components: Fixed<(usize, u8, u8), MAX_COMPONENTS>,
    /// The coefficients that it codes, in zigzag order: first and last.
    pub first: u8,
    pub last: u8,
    /// Number of bits below those of earlier scans; 0 for the first scan of these coefficients.
    pub high: u8,
    /// Bits that later scans will give.
    pub low: u8,
}

/// The colour space of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    Gray,
    YCbCr,
    Rgb,
    Cmyk,
    Ycck,
}

/// The header of the frame, with the fields that decide the colour space.
#[derive(Clone, Debug, Default)]
pub struct Header {
    pub progressive: bool,
    pub width: u16,
    pub height: u16,
    pub components: Fixed<Component, MAX_COMPONENTS>,
    pub jfif: bool,
    /// Adobe's colour transform.
    pub adobe: Option<u8>,
}

impl Header {
    /// The largest sampling factors.
    pub fn max_factors(&self) -> (u8, u8) {
        let h = self.components.iter().map(|c| c.h).max().unwrap_or(1);
        let v = self.components.iter().map(|c| c.v).max().unwrap_or(1);
        (h, v)
    }

    /// The colour space by libjpeg's rules: JFIF has priority over Adobe, Adobe over the names of components.
    pub fn color(&self) -> Color {
        match (self.components.len(), self.adobe) {
            (1, _) => Color::Gray,
            (3, _) if self.jfif => Color::YCbCr,
            (3, Some(0)) => Color::Rgb,
            (3, Some(_)) => Color::YCbCr,
            (3, None) if self.components.iter().map(|c| c.id).eq(*b"RGB") => Color::Rgb,
            (3, None) => Color::YCbCr,
            (_, None | Some(0)) => Color::Cmyk,
            (_, Some(_)) => Color::Ycck,
        }
    }

    /// Reads an application segment.
    fn application(&mut self, segment: &Segment) {
        match (segment.marker, segment.body) {
            (name::APP0, [b'J', b'F', b'I', b'F', 0, rest @ ..]) if rest.len() >= 9 => self.jfif = true,
            // A shorter segment has no transform field.
            (name::APP14, [b'A', b'd', b'o', b'b', b'e', rest @ ..]) if rest.len() >= 7 => self.adobe = Some(rest[6]),
            _ => {}
        }
    }

    /// Reads the header of a frame.
    fn frame(&mut self, segment: &Segment) -> Result<(), Fault> {
        if let Some(kind) = unread_kind(segment.marker) {
            return Err(Fault::Unsupported(kind));
        }
        let [precision, h1, h0, w1, w0, count, rest @ ..] = segment.body else {
            return Err(Fault::Damaged("a frame header that is too short"));
        };
        if *precision != 8 {
            return Err(Fault::Unsupported(match precision {
                12 => "a JPEG of 12 bits a sample",
                _ => "a JPEG of other than 8 bits a sample",
            }));
        }
        (self.width, self.height) = (u16::from_be_bytes([*w1, *w0]), u16::from_be_bytes([*h1, *h0]));
        if self.height == 0 {
            return Err(Fault::Unsupported("a JPEG whose height follows its first scan (DNL)"));
        }
        if self.width == 0 {
            return Err(Fault::Damaged("a width of 0"));
        }
        if rest.len() != usize::from(*count) * 3 {
            return Err(Fault::Damaged("a frame header of the wrong length"));
        }
        if !matches!(count, 1 | 3 | 4) {
            return Err(Fault::Unsupported("a JPEG of other than 1, 3 or 4 components"));
        }
        self.progressive = segment.marker == name::SOF2;
        self.components.clear();
        for fields in rest.as_chunks::<3>().0 {
            let [id, factors, table] = *fields;
            let component = Component { id, h: factors >> 4, v: factors & 15, table };
            if !(1..=4).contains(&component.h) || !(1..=4).contains(&component.v) || table > 3 {
                return Err(Fault::Damaged("a component whose sampling or table does not exist"));
            }
            if self.components.iter().any(|c| c.id == id) {
                return Err(Fault::Damaged("two components of one name"));
            }
            let _ = self.components.push(component); // at most MAX_COMPONENTS, as counted above
        }
        let (max_h, max_v) = self.max_factors();
        if self.components.iter().any(|c| max_h % c.h != 0 || max_v % c.v != 0) {
            return Err(Fault::Unsupported("a JPEG whose components are sampled at rates of no whole proportion"));
        }
        Ok(())
    }

    /// Reads the header of a scan of this frame.
    pub fn scan(&self, segment: &Segment) -> Result<Scan, Fault> {
        let damaged = Err(Fault::Damaged("a scan header that does not fit the frame"));
        let Some((count, rest)) = segment.body.split_first() else { return damaged };
        let count = usize::from(*count);
        if count == 0 || count > self.components.len() || rest.len() != count * 2 + 3 {
            return damaged;
        }
        let (selectors, rest) = rest.split_at(count * 2);
        let mut scan = Scan { components: Fixed::new(), first: 0, last: 63, high: 0, low: 0 };
        let mut blocks = 0;
        for [id, tables] in selectors.as_chunks::<2>().0 {
            let Some(place) = self.components.iter().position(|c| c.id == *id) else { return damaged };
            if scan.components.iter().any(|(p, ..)| *p == place) || tables >> 4 > 3 || tables & 15 > 3 {
                return damaged;
            }
            blocks += u32::from(self.components[place].h) * u32::from(self.components[place].v);
            let _ = scan.components.push((place, tables >> 4, tables & 15)); // no more than components
        }
        if count > 1 && blocks > MAX_BLOCKS {
            return damaged;
        }
        // These fields are unused in a sequential picture.
        if self.progressive {
            (scan.first, scan.last, scan.high, scan.low) = (rest[0], rest[1], rest[2] >> 4, rest[2] & 15);
            let band = match scan.first {
                0 => scan.last == 0,
                first => first <= scan.last && scan.last < 64 && count == 1,
            };
            if !band || scan.low > 13 || (scan.high != 0 && scan.high != scan.low + 1) {
                return damaged;
            }
        }
        Ok(scan)
    }
}

/// Name of an unsupported kind of frame.
fn unread_kind(marker: u8) -> Option<&'static str> {
    Some(match marker {
        0xF7 => "a JPEG-LS picture",
        0xC3 | 0xC7 => "a lossless JPEG",
        0xC5 | 0xC6 => "a hierarchical JPEG",
        0xC9 | 0xCA => "an arithmetic-coded JPEG",
        0xCB | 0xCF => "a lossless, arithmetic-coded JPEG",
        0xCD | 0xCE => "a hierarchical, arithmetic-coded JPEG",
        _ => return None,
    })
}

/// Width and height by the frame's header. [`Fault::CutOff`] if more bytes are needed.
///
/// # Errors
/// [`Fault`] for an unsupported kind, or if there is no header.
pub fn size(bytes: &[u8]) -> Result<(u16, u16), Fault> {
    let mut header = Header::default();
    for segment in Segments::new(bytes) {
        let segment = segment?;
        if is_frame(segment.marker) {
            header.frame(&segment)?;
            return Ok((header.width, header.height));
        }
        if matches!(segment.marker, name::SOS | name::EOI) {
            return Err(Fault::Damaged("no frame header before its scans"));
        }
    }
    Err(Fault::CutOff)
}

/// Whether this marker begins the header of a frame.
fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF | 0xF7)
}

/// For each coefficient of a component: the number of its low bits that no scan has coded yet; `None` if no bit is
/// coded.
pub type Progress = [Option<u8>; 64];

/// One scan with all that it is decoded with.
#[derive(Clone, Debug)]
pub struct Planned {
    pub scan: Scan,
    /// Offset of its coded data.
    pub coded: usize,
    pub tables: Tables,
    /// Units between two restart markers, or 0.
    pub restart: u32,
}

/// Index of a picture's scans: all information of its markers, gathered before decoding.
#[derive(Clone, Debug)]
pub struct ScanIndex {
    pub header: Header,
    /// The scans that are needed, in their order.
    pub scans: Vec<Planned>,
    /// The quantisation tables of the components as they were at the first scan of each.
    pub steps: [[u16; 64]; MAX_COMPONENTS],
}

/// What the start of a file contains.
#[derive(Clone, Debug)]
pub enum Beginning {
    /// The headers are incomplete: more bytes are needed, if there are any.
    Short,
    /// A single scan contains the whole picture, so it can be decoded while it is read.
    OneScan(Box<ScanIndex>),
    /// There are several scans, and each row needs all of them: the whole file is needed.
    Scans,
}

/// Reads the headers at the start of a file.
///
/// # Errors
/// [`Fault`] for a kind that is not read, and for damaged headers.
pub fn begin(bytes: &[u8]) -> Result<Beginning, Fault> {
    match ScanIndex::in_memory(bytes, true) {
        Ok(index) if index.is_one_scan() => Ok(Beginning::OneScan(Box::new(index))),
        Ok(_) => Ok(Beginning::Scans),
        Err(Fault::CutOff) => Ok(Beginning::Short),
        Err(fault) => Err(fault),
    }
}

impl ScanIndex {
    /// Walks the markers of the picture that `bytes`, a whole file, begins with.
    ///
    /// # Errors
    /// [`Fault`] for an unsupported kind, or if headers or scans are missing.
    pub fn new(bytes: &[u8]) -> Result<ScanIndex, Fault> {
        ScanIndex::in_memory(bytes, false)
    }

    /// Reads the markers of the picture at the start of a file, with 64 KiB of it in memory, or twice that for a
    /// segment of that length.
    ///
    /// # Errors
    /// As [`ScanIndex::new`], and [`Failure::Io`] as the file's.
    pub fn of_file(file: ReadAt) -> Result<ScanIndex, Failure> {
        const PIECE: usize = 64 << 10;
        ScanIndex::walk(Raw::at(file, 0, PIECE), false)
    }

    fn in_memory(bytes: &[u8], first: bool) -> Result<ScanIndex, Fault> {
        ScanIndex::walk(Raw::Whole(bytes), first).map_err(|failure| match failure {
            Failure::Fault(fault) => fault,
            // Reading memory cannot fail.
            Failure::Io(_) => Fault::CutOff,
        })
    }

    /// Whether a single scan contains the whole sequential picture.
    pub fn is_one_scan(&self) -> bool {
        let components = self.header.components.len();
        !self.header.progressive && self.scans.len() == 1 && self.scans[0].scan.components.len() == components
    }

    /// `first`: stops after the first scan.
    fn walk(raw: Raw, first: bool) -> Result<ScanIndex, Failure> {
        let mut index = ScanIndex { header: Header::default(), scans: Vec::new(), steps: [[0; 64]; MAX_COMPONENTS] };
        let (mut ends, mut ended) = (false, false);
        let mut tables = Tables::default();
        tables.define(&tables::STANDARD[4..])?;
        let mut steps = [None; 4];
        let mut restart = 0;
        let mut progress: [Progress; MAX_COMPONENTS] = [[None; 64]; MAX_COMPONENTS];
        let mut segments = Walk::new(raw);
        let (mut fault, mut broken) = (Fault::CutOff, None);
        while let Some(segment) = segments.next() {
            let segment = match segment {
                Ok(segment) => segment,
                // Anything may follow a complete picture.
                Err(Failure::Fault(e)) => {
                    fault = e;
                    break;
                }
                Err(e) => return Err(e),
            };
            let header = &mut index.header;
            match segment.marker {
                name::APP0 | name::APP14 => header.application(&segment),
                marker if is_frame(marker) => {
                    if !header.components.is_empty() {
                        return Err(Fault::Damaged("a second frame header").into());
                    }
                    header.frame(&segment)?;
                }
                name::DHT | name::DQT | name::DRI => {
                    let taken = match segment.marker {
                        name::DHT => tables.define(segment.body),
                        name::DQT => quantisation(segment.body, &mut steps),
                        _ => interval(segment.body).map(|units| restart = units),
                    };
                    if let Err(e) = taken {
                        broken = Some(e);
                        break;
                    }
                }
                name::EOI => ended = true,
                name::SOS => {
                    if header.components.is_empty() {
                        return Err(Fault::Damaged("a scan before the frame header").into());
                    }
                    let scan = header.scan(&segment)?;
                    if index.scans.len() == MAX_SCANS {
                        return Err(Fault::Damaged("too many scans").into());
                    }
                    for (place, ..) in &scan.components {
                        if progress[*place] == [None; 64] {
                            let table = steps[usize::from(header.components[*place].table)];
                            index.steps[*place] =
                                table.ok_or(Fault::Damaged("a quantisation table that is missing"))?;
                        }
                    }
                    follow(&scan, header.progressive, &mut progress)?;
                    index.scans.push(Planned { scan, coded: segment.end, tables: tables.clone(), restart });
                    if first || index.is_one_scan() {
                        return Ok(index);
                    }
                    ends = segments.pass_coded()?;
                }
                _ => {}
            }
        }
        if index.scans.is_empty() {
            return Err(broken.unwrap_or(if ended { Fault::Damaged("no scan") } else { fault }).into());
        }
        let progress = &progress[..index.header.components.len()];
        // If bits of the lowest frequencies are missing, libjpeg guesses them from the neighbours.
        let needed = if ended { 10 } else { 64 };
        if progress.iter().any(|p| p[..needed].iter().any(|bits| *bits != Some(0))) {
            let lacks = if ended || ends { Fault::LacksScans } else { Fault::CutOff };
            return Err(broken.unwrap_or(lacks).into());
        }
        Ok(index)
    }
}

/// Units between two restart markers.
fn interval(body: &[u8]) -> Result<u32, Fault> {
    match body {
        [high, low] => Ok(u16::from_be_bytes([*high, *low]).into()),
        _ => Err(Fault::Damaged("a restart interval of the wrong length")),
    }
}

/// Reads the quantisation tables of one segment.
fn quantisation(mut body: &[u8], steps: &mut [Option<[u16; 64]>; 4]) -> Result<(), Fault> {
    while let Some((head, rest)) = body.split_first() {
        let wide = head >> 4 != 0;
        let length = if wide { 128 } else { 64 };
        let (Some(table), Some((values, rest))) =
            (steps.get_mut(usize::from(head & 15)), rest.split_at_checked(length))
        else {
            return Err(Fault::Damaged("a quantisation table of the wrong length or place"));
        };
        body = rest;
        let table = table.insert([0; 64]);
        for (index, place) in ZIGZAG.into_iter().enumerate() {
            table[usize::from(place)] = match wide {
                true => u16::from_be_bytes([values[2 * index], values[2 * index + 1]]),
                false => values[index].into(),
            };
        }
    }
    Ok(())
}

/// Records the bits that `scan` codes. They must follow those of earlier scans.
fn follow(scan: &Scan, progressive: bool, progress: &mut [Progress; MAX_COMPONENTS]) -> Result<(), Fault> {
    let misplaced = Fault::Damaged("a scan that does not follow from those before it");
    for (place, ..) in &scan.components {
        let progress = &mut progress[*place];
        if scan.first > 0 && progress[0].is_none() {
            return Err(misplaced);
        }
        for bits in &mut progress[usize::from(scan.first)..=usize::from(scan.last)] {
            let expected = (scan.high != 0).then_some(scan.high);
            if *bits != expected {
                return Err(misplaced);
            }
            *bits = Some(scan.low);
        }
        if !progressive {
            *progress = [Some(0); 64];
        }
    }
    Ok(())
}
