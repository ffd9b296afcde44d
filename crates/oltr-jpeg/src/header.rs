//! What the headers of a JPEG say: its size, its components, how it is coded and what its colours mean.

use heapless::Vec as Fixed;

use super::fault::{Failure, Fault};
use super::huffman::Tables;
use super::markers::{Segment, Segments, Walk, name};
use super::raw::{Raw, ReadAt};
use super::tables::{self, ZIGZAG};

/// Components of one picture: CMYK has four.
pub const MAX_COMPONENTS: usize = 4;

/// Scans of one picture: encoders write about 10, a picture made to waste time has thousands.
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
    /// Coefficients that it codes, in zigzag order: first and last.
    pub first: u8,
    pub last: u8,
    /// Bits below the ones that earlier scans gave, or 0 where it is the first scan of these coefficients.
    pub high: u8,
    /// Bits that later scans will give.
    pub low: u8,
}

/// What the samples stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    Gray,
    YCbCr,
    Rgb,
    Cmyk,
    Ycck,
}

/// The header of the frame with what decides on the meaning of its samples.
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

    /// What the samples stand for, by libjpeg's rules: JFIF goes before Adobe, Adobe before the names of components.
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

    /// Takes note of an application segment.
    fn application(&mut self, segment: &Segment) {
        match (segment.marker, segment.body) {
            (name::APP0, [b'J', b'F', b'I', b'F', 0, rest @ ..]) if rest.len() >= 9 => self.jfif = true,
            // A shorter one says nothing: it has no transform.
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
        // Of a sequential picture these fields say nothing.
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

/// What a frame's marker stands for that is not read.
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

/// Width and height by the frame's header, the first thing that is asked of a picture; [`Fault::CutOff`] where more bytes are
/// needed to tell.
///
/// # Errors
/// [`Fault`] for a kind that is not read, and where there is no header.
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

/// Bits of each coefficient of a component that scans so far have left open; `None` for none of its bits given.
pub type Progress = [Option<u8>; 64];

/// One scan with all that it is decoded with.
#[derive(Clone, Debug)]
pub struct Planned {
    pub scan: Scan,
    /// Where its coded data begins.
    pub coded: usize,
    pub tables: Tables,
    /// Units between two restart markers, or 0.
    pub restart: u32,
}

/// All that the markers of a picture say, before anything is decoded.
#[derive(Clone, Debug)]
pub struct Survey {
    pub header: Header,
    /// The scans that are needed, in their order.
    pub scans: Vec<Planned>,
    /// The quantisation tables of the components as they were at the first scan of each.
    pub steps: [[u16; 64]; MAX_COMPONENTS],
}

/// What the beginning of a file gives.
#[derive(Clone, Debug)]
pub enum Beginning {
    /// The headers are not whole: more bytes are needed, if there are any.
    Short,
    /// One scan holds the whole picture, so that nothing behind its header is needed before it is decoded.
    OneScan(Box<Survey>),
    /// There are several scans, of which each is a part of every row: the whole file is needed.
    Scans,
}

/// Looks at `bytes`, which a file begins with.
///
/// # Errors
/// [`Fault`] for a kind that is not read, and for damaged headers.
pub fn begin(bytes: &[u8]) -> Result<Beginning, Fault> {
    match Survey::in_memory(bytes, true) {
        Ok(survey) if survey.is_one_scan() => Ok(Beginning::OneScan(Box::new(survey))),
        Ok(_) => Ok(Beginning::Scans),
        Err(Fault::CutOff) => Ok(Beginning::Short),
        Err(fault) => Err(fault),
    }
}

impl Survey {
    /// Walks the markers of the picture that `bytes`, a whole file, begins with.
    ///
    /// # Errors
    /// [`Fault`] for a kind that is not read, and where the headers or the scans that they announce are missing.
    pub fn new(bytes: &[u8]) -> Result<Survey, Fault> {
        Survey::in_memory(bytes, false)
    }

    /// Walks the markers of the picture that a file begins with, which need not lie in memory: 64 KiB of it do, or twice that
    /// where a segment is as long.
    ///
    /// # Errors
    /// As [`Survey::new`], and [`Failure::Io`] as the file's.
    pub fn of_file(file: ReadAt) -> Result<Survey, Failure> {
        const PIECE: usize = 64 << 10;
        Survey::walk(Raw::at(file, 0, PIECE), false)
    }

    fn in_memory(bytes: &[u8], first: bool) -> Result<Survey, Fault> {
        Survey::walk(Raw::Whole(bytes), first).map_err(|failure| match failure {
            Failure::Fault(fault) => fault,
            // Memory does not fail.
            Failure::Io(_) => Fault::CutOff,
        })
    }

    /// Whether one scan holds all of a sequential picture.
    pub fn is_one_scan(&self) -> bool {
        let components = self.header.components.len();
        !self.header.progressive && self.scans.len() == 1 && self.scans[0].scan.components.len() == components
    }

    /// `first` asks for the first scan only, whether that is all or not.
    fn walk(raw: Raw, first: bool) -> Result<Survey, Failure> {
        let mut survey = Survey { header: Header::default(), scans: Vec::new(), steps: [[0; 64]; MAX_COMPONENTS] };
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
                // Behind a picture that is whole anything may follow.
                Err(Failure::Fault(e)) => {
                    fault = e;
                    break;
                }
                Err(e) => return Err(e),
            };
            let header = &mut survey.header;
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
                    if survey.scans.len() == MAX_SCANS {
                        return Err(Fault::Damaged("too many scans").into());
                    }
                    for (place, ..) in &scan.components {
                        if progress[*place] == [None; 64] {
                            let table = steps[usize::from(header.components[*place].table)];
                            survey.steps[*place] =
                                table.ok_or(Fault::Damaged("a quantisation table that is missing"))?;
                        }
                    }
                    follow(&scan, header.progressive, &mut progress)?;
                    survey.scans.push(Planned { scan, coded: segment.end, tables: tables.clone(), restart });
                    if first || survey.is_one_scan() {
                        return Ok(survey);
                    }
                    ends = segments.pass_coded()?;
                }
                _ => {}
            }
        }
        if survey.scans.is_empty() {
            return Err(broken.unwrap_or(if ended { Fault::Damaged("no scan") } else { fault }).into());
        }
        let progress = &progress[..survey.header.components.len()];
        // Where bits of the lowest frequencies are missing, libjpeg guesses them from the neighbours.
        let needed = if ended { 10 } else { 64 };
        if progress.iter().any(|p| p[..needed].iter().any(|bits| *bits != Some(0))) {
            let lacks = if ended || ends { Fault::LacksScans } else { Fault::CutOff };
            return Err(broken.unwrap_or(lacks).into());
        }
        Ok(survey)
    }
}

/// Units between two restart markers.
fn interval(body: &[u8]) -> Result<u32, Fault> {
    match body {
        [high, low] => Ok(u16::from_be_bytes([*high, *low]).into()),
        _ => Err(Fault::Damaged("a restart interval of the wrong length")),
    }
}

/// Takes the quantisation tables of one segment.
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

/// Takes note of what `scan` gives, which must follow from what was given before.
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
