//! All scans of a picture side by side, a row of coded units after the other.
//!
//! Each scan codes its part of the picture from top to bottom. So the decoder keeps a position in every scan, advances
//! all of them by one row of units, and combines the results. Even a progressive picture needs only the memory of a few
//! rows.

use std::io::Read;
use std::sync::Arc;

use heapless::Vec as Fixed;
use multiversion::multiversion;

use super::bits::{Bits, Coded, State};
use super::blocks::{self, Block};
use super::fault::{Failure, Fault};
use super::header::{Color, Header, MAX_COMPONENTS, MAX_SCANS, Planned, ScanIndex};
use super::huffman::{Skips, Table};
use super::raw::{Raw, ReadAt};
use super::transform;
use super::upsample::{Lines, Plane};

/// Bytes of coded data in memory for a single scan, and for each of several. Reads are of this size.
const WINDOW: usize = 64 << 10;
const WINDOW_OF_MANY: usize = 8 << 10;

/// Most bytes of a picture with the maximum number of scans, in addition to its rows. For each scan: its coded data
/// twice and with room to grow, the Huffman tables that it may define, and the tables for skipping coefficients.
pub const MOST_FOR_SCANS: usize = MAX_SCANS * (4 * WINDOW_OF_MANY + 8 * size_of::<Table>() + 4 * Skips::BYTES);

/// Takes the rows of a picture from the top to the bottom.
pub trait Rows {
    /// Receives the next row: red, green and blue, each followed by unused bytes.
    fn row(&mut self, rows: [&[u8]; 3]);
}

/// Reduction of a picture during decoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scale {
    /// Full size.
    #[default]
    Full,
    /// Half of each side.
    Half,
    /// A quarter of each side.
    Quarter,
    /// An eighth of each side: the mean of each block.
    Eighth,
}

impl Scale {
    /// All scales, from the largest reduction on.
    pub const ALL: [Scale; 4] = [Scale::Eighth, Scale::Quarter, Scale::Half, Scale::Full];

    /// Pixels of the original per decoded pixel, along a side.
    pub fn factor(self) -> u32 {
        8 / self.size() as u32
    }

    /// Samples of a side of a block.
    fn size(self) -> usize {
        match self {
            Scale::Full => 8,
            Scale::Half => 4,
            Scale::Quarter => 2,
            Scale::Eighth => 1,
        }
    }

    /// Decoded length of a side of `pixels`.
    pub fn side(self, pixels: u32) -> u32 {
        pixels.div_ceil(self.factor())
    }
}

/// Source of a picture's bytes.
pub enum Data<'a> {
    /// All in memory.
    Whole(&'a [u8]),
    /// The headers and perhaps more in memory, and a reader for the rest: enough for a picture of one scan.
    Parts(&'a [u8], &'a mut dyn Read),
    /// A file, in which each scan is read at its own offset.
    At(ReadAt<'a>),
}

/// The decoder's buffers, reused from one picture to the next.
#[derive(Clone, Debug, Default)]
pub struct Room {
    samples: Vec<u8>,
    coefficients: Vec<Block>,
    lines: Lines,
}

impl Room {
    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.samples.capacity() + self.coefficients.capacity() * size_of::<Block>() + self.lines.bytes()
    }
}

/// One component while it is decoded.
struct Channel {
    /// Blocks of a coded unit.
    h: usize,
    v: usize,
    /// Samples of a side of a block.
    size: usize,
    /// Blocks per row including padding to whole units; then the rows and columns of blocks in the picture.
    blocks: usize,
    own: (usize, usize),
    plane: Plane,
    /// Offset of the coefficients of a row of units, if they are kept.
    coefficients: usize,
    steps: [u16; 64],
}

impl Channel {
    /// Index in the ring of row `y` of the units of row `unit_y`.
    #[inline(always)]
    fn kept_row(&self, unit_y: usize, y: usize) -> usize {
        // Two rows of units are.
        unit_y % 2 * self.v + y
    }
}

/// One scan while it is decoded.
struct Scan<'a> {
    coded: Coded<'a>,
    planned: &'a Planned,
    parts: Fixed<Part, MAX_COMPONENTS>,
}

/// A component of a scan, with its tables.
struct Part {
    channel: usize,
    dc: Option<Arc<Table>>,
    ac: Option<Arc<Table>>,
    /// Tables for skipping, if some coefficients of a block are not needed.
    skips: Option<Arc<Skips>>,
}

/// Decodes the picture that `index` describes, reduced by `scale`, and gives its rows to `rows`.
///
/// # Memory
/// `room` holds two rows of coded units as samples, seven rows of pixels and, for a progressive picture, a row of units
/// as coefficients. In addition: 64 KiB of coded data twice, or 8 KiB twice for each of several scans; 8 KiB for each
/// AC table if the picture is reduced. [`ScanIndex`] holds a Huffman table of 4.4 KiB for each one in the file, and the
/// four of the standard.
///
/// # Errors
/// [`Fault`] for missing or damaged data; rows may have been delivered before. [`Failure::Io`] of the reader.
pub fn decode<'a>(
    index: &'a ScanIndex,
    data: Data<'a>,
    scale: Scale,
    room: &mut Room,
    rows: &mut dyn Rows,
) -> Result<(), Failure> {
    let header = &index.header;
    let (max_h, max_v) = header.max_factors();
    let (max_h, max_v) = (usize::from(max_h), usize::from(max_v));
    let (width, height) = (u32::from(header.width), u32::from(header.height));
    let units = (width.div_ceil(8 * max_h as u32) as usize, height.div_ceil(8 * max_v as u32) as usize);
    let mut channels = channels(index, scale, units);
    let mut samples = 0;
    let mut coefficients = 0;
    for channel in &mut channels {
        channel.plane.offset = samples;
        samples += channel.plane.stride * channel.plane.kept;
        channel.coefficients = coefficients;
        coefficients += channel.blocks * channel.v;
    }
    let Room { samples: all_samples, coefficients: all_coefficients, lines } = room;
    all_samples.resize(samples, 0);
    all_coefficients.resize(if header.progressive { coefficients } else { 0 }, [0; 64]);
    lines.reserve(units.0 * max_h * scale.size());
    let mut scans = scans(index, data, &channels)?;
    let planes: Fixed<Plane, MAX_COMPONENTS> = channels.iter().map(|c| c.plane).collect();
    let (width, height) = (scale.side(width) as usize, scale.side(height) as usize);
    let mut y = 0;
    for unit_y in 0..units.1 {
        if header.progressive {
            all_coefficients.fill([0; 64]);
        }
        for scan in &mut scans {
            read_on(scan, header, &channels, units.0, unit_y, all_samples, all_coefficients)?;
        }
        if header.progressive {
            show(&channels, unit_y, all_samples, all_coefficients);
        }
        let last = unit_y + 1 == units.1;
        let there = |channel: &Channel| (unit_y + 1) * channel.v * channel.size;
        if last {
            for scan in &mut scans {
                scan.coded.finish()?;
            }
        }
        while y < height && (last || channels.iter().all(|c| c.plane.needs(y) <= there(c))) {
            make(lines, &planes, all_samples, header.color(), width, y);
            rows.row(lines.rows(header.color()));
            y += 1;
        }
    }
    Ok(())
}

/// The components, without their offsets in memory.
fn channels(index: &ScanIndex, scale: Scale, units: (usize, usize)) -> Fixed<Channel, MAX_COMPONENTS> {
    let header = &index.header;
    let (max_h, max_v) = header.max_factors();
    let (max_h, max_v) = (usize::from(max_h), usize::from(max_v));
    let (width, height) = (usize::from(header.width), usize::from(header.height));
    let channel = |(component, steps): (&super::header::Component, &[u16; 64])| {
        let (h, v) = (usize::from(component.h), usize::from(component.v));
        // A component with a lower sampling rate is reduced less, instead of being reduced and interpolated, as in
        // libjpeg.
        let mut size = scale.size();
        while size < 8
            && (max_h * scale.size()).is_multiple_of(h * size * 2)
            && (max_v * scale.size()).is_multiple_of(v * size * 2)
        {
            size *= 2;
        }
        let blocks = units.0 * h;
        Channel {
            h,
            v,
            size,
            blocks,
            own: ((width * h).div_ceil(max_h).div_ceil(8), (height * v).div_ceil(max_v).div_ceil(8)),
            plane: Plane {
                offset: 0,
                stride: blocks * size,
                kept: 2 * v * size,
                width: (width * h * size).div_ceil(max_h * 8),
                height: (height * v * size).div_ceil(max_v * 8),
                across: max_h * scale.size() / (h * size),
                down: max_v * scale.size() / (v * size),
                fancy: scale != Scale::Eighth,
            },
            coefficients: 0,
            steps: *steps,
        }
    };
    header.components.iter().zip(&index.steps).map(channel).collect()
}

/// The scans, each at its beginning.
fn scans<'a>(index: &'a ScanIndex, data: Data<'a>, channels: &[Channel]) -> Result<Vec<Scan<'a>>, Failure> {
    let scan = |planned: &'a Planned, raw: Raw<'a>, window: usize| {
        let mut all_skips: [Option<Arc<Skips>>; 4] = Default::default();
        let part = |(channel, dc, ac): &(usize, u8, u8)| {
            let (dc, ac) = (usize::from(*dc & 3), usize::from(*ac & 3));
            let (dc, place, ac) = (planned.tables.dc[dc].clone(), ac, planned.tables.ac[ac].clone());
            let mut skips = None;
            if let Some(ac) = ac.as_ref().filter(|_| channels[*channel].size < 8 && !index.header.progressive) {
                skips = Some(all_skips[place].get_or_insert_with(|| Arc::new(Skips::new(ac))).clone());
            }
            Part { channel: *channel, dc, ac, skips }
        };
        let parts = planned.scan.components.iter().map(part).collect();
        Scan { coded: Coded::new(raw, window, planned.restart), planned, parts }
    };
    let window = if index.scans.len() == 1 { WINDOW } else { WINDOW_OF_MANY };
    match (data, &index.scans[..]) {
        (Data::Parts(head, rest), [planned]) => {
            let part = head.get(planned.coded..).unwrap_or_default().to_vec();
            Ok(vec![scan(planned, Raw::parts(part, rest, WINDOW), WINDOW)])
        }
        (Data::Whole(bytes), planned) => {
            let raw = |planned: &Planned| Raw::Whole(bytes.get(planned.coded..).unwrap_or_default());
            Ok(planned.iter().map(|planned| scan(planned, raw(planned), window)).collect())
        }
        (Data::At(file), planned) => {
            let raw = |planned: &Planned| Raw::at(file, planned.coded as u64, window);
            Ok(planned.iter().map(|planned| scan(planned, raw(planned), window)).collect())
        }
        (Data::Parts(..), _) => Err(Fault::Unsupported("a JPEG of several scans, read in parts").into()),
    }
}

// Written for the compiler to vectorise, and for the shifts that take their count from any register.

/// Advances `scan` by one row of units: into samples or, for a progressive picture, into coefficients.
#[multiversion(targets("x86_64+avx2+bmi1+bmi2+lzcnt"))]
fn read_on(
    scan: &mut Scan,
    header: &Header,
    channels: &[Channel],
    units: usize,
    unit_y: usize,
    samples: &mut [u8],
    coefficients: &mut [Block],
) -> Result<(), Failure> {
    let Scan { coded, planned, parts } = scan;
    let progressive = header.progressive;
    // A scan of one component leaves out the padding to whole units.
    if let [part] = &parts[..] {
        let channel = &channels[part.channel];
        for y in 0..channel.v {
            if unit_y * channel.v + y >= channel.own.1 {
                break;
            }
            if progressive {
                coded.units(channel.own.0, |x, bits, state| {
                    let block = &mut coefficients[channel.coefficients + y * channel.blocks + x];
                    refine(planned, part, bits, state, block)
                })?;
            } else {
                coded.units(channel.own.0, |x, bits, state| {
                    sequential(channel, part, bits, state, (x, channel.kept_row(unit_y, y)), samples)
                })?;
            }
        }
        return Ok(());
    }
    if progressive {
        return coded.units(units, |unit, bits, state| {
            for part in parts.iter() {
                let channel = &channels[part.channel];
                for y in 0..channel.v {
                    for x in unit * channel.h..(unit + 1) * channel.h {
                        let block = &mut coefficients[channel.coefficients + y * channel.blocks + x];
                        refine(planned, part, bits, state, block)?;
                    }
                }
            }
            Ok(())
        });
    }
    coded.units(units, |unit, bits, state| {
        for part in parts.iter() {
            let channel = &channels[part.channel];
            for y in 0..channel.v {
                for x in unit * channel.h..(unit + 1) * channel.h {
                    sequential(channel, part, bits, state, (x, channel.kept_row(unit_y, y)), samples)?;
                }
            }
        }
        Ok(())
    })
}

const NO_TABLE: Fault = Fault::Damaged("a Huffman table that is missing");

/// Decodes the next block of a sequential scan into column `at.0` and kept row `at.1` of its component.
#[inline(always)]
fn sequential(
    channel: &Channel,
    part: &Part,
    bits: &mut Bits,
    state: &mut State,
    at: (usize, usize),
    samples: &mut [u8],
) -> Result<(), Fault> {
    let (Some(dc), Some(ac)) = (&part.dc, &part.ac) else { return Err(NO_TABLE) };
    let mut block = [0; 64];
    let (tables, last) = ((&**dc, &**ac, part.skips.as_deref()), transform::last(channel.size));
    let used = blocks::sequential(bits, tables, last, &mut state.last_dc[part.channel], &mut block)?;
    show_block(channel, &block, used, at, samples);
    Ok(())
}

/// The next block of a progressive scan.
#[inline(always)]
fn refine(planned: &Planned, part: &Part, bits: &mut Bits, state: &mut State, block: &mut Block) -> Result<(), Fault> {
    let scan = &planned.scan;
    let band = (scan.first, scan.last, scan.low);
    let dc = || part.dc.as_deref().ok_or(NO_TABLE);
    let ac = || part.ac.as_deref().ok_or(NO_TABLE);
    match (scan.first, scan.high) {
        (0, 0) => blocks::dc_first(bits, dc()?, scan.low, &mut state.last_dc[part.channel], block),
        (0, _) => {
            blocks::dc_refine(bits, scan.low, block);
            Ok(())
        }
        (_, 0) => blocks::ac_first(bits, ac()?, band, &mut state.run, block),
        _ => blocks::ac_refine(bits, ac()?, band, &mut state.run, block),
    }
}

/// Writes the samples of a row of units from complete coefficients.
#[multiversion(targets("x86_64+avx2+bmi1+bmi2+lzcnt"))]
fn show(channels: &[Channel], unit_y: usize, samples: &mut [u8], coefficients: &[Block]) {
    for channel in channels {
        for y in 0..channel.v {
            let row = &coefficients[channel.coefficients + y * channel.blocks..][..channel.blocks];
            for (x, block) in row.iter().enumerate() {
                let mut used = 0;
                for (row, coefficients) in block.as_chunks::<8>().0.iter().enumerate() {
                    let mut any = 0;
                    for (column, coefficient) in coefficients.iter().enumerate() {
                        any |= u64::from(*coefficient != 0) << column;
                    }
                    used |= any << (row * 8);
                }
                show_block(channel, block, used, (x, channel.kept_row(unit_y, y)), samples);
            }
        }
    }
}

/// Writes the samples of `block` at column `x` and kept row `y`.
#[inline(always)]
fn show_block(channel: &Channel, block: &Block, used: u64, (x, y): (usize, usize), samples: &mut [u8]) {
    let (plane, size) = (&channel.plane, channel.size);
    let to = &mut samples[plane.offset + y * size * plane.stride + x * size..];
    transform::samples(size, block, &channel.steps, used, to, plane.stride);
}

/// Makes row `y` of the picture.
#[multiversion(targets("x86_64+avx2"))]
fn make(lines: &mut Lines, planes: &[Plane], samples: &[u8], color: Color, width: usize, y: usize) {
    lines.make(planes, samples, color, width, y);
}
