//! A decoder of every kind of Huffman-coded JPEG of 8 bits: any number of scans, any sampling, sequential or progressive.
//!
//! It gives what libjpeg gives, to the bit, and knows where data is missing. It is for the kinds that the fast decoder does
//! not read; see [`route`](super::route).

use heapless::Vec as Fixed;

use super::blocks::{self, Block, ZIGZAG};
use super::fault::Fault;
use super::header::{Component, Header, MAX_COMPONENTS, Scan, Survey};
use super::huffman::{Bits, Tables};
use super::markers::{Segment, name};
use super::upsample::{self, Plane};
use super::{tables, transform};

/// Zeros at the end of coded data that may belong to it; more are what a file is filled up with.
const FINAL_ZEROS: usize = 2;

/// One component while it is decoded.
struct Channel<'a> {
    component: Component,
    plane: Plane<'a>,
    /// Blocks of a row and rows of blocks, whole units of all components included.
    blocks: (usize, usize),
    /// Blocks of those that belong to the picture.
    own_blocks: (usize, usize),
    /// Of a progressive picture: what its scans gave so far.
    coefficients: Vec<Block>,
    /// The quantisation table as it was at the component's first scan.
    steps: Option<[u16; 64]>,
}

struct Decoder<'a> {
    channels: Fixed<Channel<'a>, MAX_COMPONENTS>,
    progressive: bool,
    /// Units of a row and rows of units, of scans of several components.
    units: (usize, usize),
    tables: Tables,
    steps: [Option<[u16; 64]>; 4],
    /// Units between two restart markers, or 0.
    restart: u32,
}

fn max_factors(header: &Header) -> (usize, usize) {
    let (h, v) = header.max_factors();
    (h.into(), v.into())
}

/// Units of a row and rows of units, of scans of several components.
fn units(header: &Header) -> (usize, usize) {
    let (max_h, max_v) = max_factors(header);
    (usize::from(header.width).div_ceil(8 * max_h), usize::from(header.height).div_ceil(8 * max_v))
}

/// Blocks of a row and rows of blocks of a component, whole units of all components included.
fn blocks(header: &Header, component: &Component) -> (usize, usize) {
    let units = units(header);
    (units.0 * usize::from(component.h), units.1 * usize::from(component.v))
}

/// Samples of all components, and of one row of the picture in whole units.
fn needed(header: &Header) -> (usize, usize) {
    let count = |component| {
        let (columns, rows) = blocks(header, component);
        columns * rows * 64
    };
    (header.components.iter().map(count).sum(), units(header).0 * max_factors(header).0 * 8)
}

/// Decodes the picture that `survey` describes into `rgb`, three bytes a pixel; its samples lie in `scratch`.
///
/// # Memory
/// A byte for each sample in `scratch` and, of a progressive picture, two more for each that are taken anew: up to 12 bytes a
/// pixel for four components.
///
/// # Errors
/// [`Fault`] where data is missing or damaged.
pub fn decode(survey: &Survey, scratch: &mut Vec<u8>, rgb: &mut [u8]) -> Result<(), Fault> {
    let (samples, row) = needed(&survey.header);
    scratch.clear();
    scratch.resize(samples + MAX_COMPONENTS * row, 0);
    let (samples, rows) = scratch.split_at_mut(samples);
    let mut decoder = Decoder::new(&survey.header, samples);
    decoder.tables.define(&tables::STANDARD[4..])?;
    let mut scans = 0;
    for segment in survey.segments.clone() {
        let segment = segment?;
        decoder.segment(&survey.header, &segment)?;
        scans += usize::from(segment.marker == name::SOS);
        // What follows the last scan that is needed may be anything.
        if scans == survey.scans {
            break;
        }
    }
    let color = survey.header.color();
    let planes = decoder.finish();
    upsample::write(&planes, color, survey.header.width.into(), rows, rgb);
    Ok(())
}

impl<'a> Decoder<'a> {
    /// A decoder whose samples lie in `room`, all zero before.
    fn new(header: &Header, mut room: &'a mut [u8]) -> Decoder<'a> {
        let (max_h, max_v) = max_factors(header);
        let (width, height) = (usize::from(header.width), usize::from(header.height));
        let mut channels = Fixed::new();
        for component in &header.components {
            let (h, v) = (usize::from(component.h), usize::from(component.v));
            let blocks = blocks(header, component);
            let (samples, rest) = room.split_at_mut(blocks.0 * blocks.1 * 64);
            room = rest;
            let plane = Plane {
                samples,
                stride: blocks.0 * 8,
                width: (width * h).div_ceil(max_h),
                height: (height * v).div_ceil(max_v),
                across: max_h / h,
                down: max_v / v,
            };
            let channel = Channel {
                component: *component,
                own_blocks: (plane.width.div_ceil(8), plane.height.div_ceil(8)),
                coefficients: vec![[0; 64]; if header.progressive { blocks.0 * blocks.1 } else { 0 }],
                plane,
                blocks,
                steps: None,
            };
            let _ = channels.push(channel); // no more than components
        }
        Decoder {
            channels,
            progressive: header.progressive,
            units: units(header),
            tables: Tables::default(),
            steps: [None; 4],
            restart: 0,
        }
    }

    fn segment(&mut self, header: &Header, segment: &Segment) -> Result<(), Fault> {
        match (segment.marker, segment.body) {
            (name::DHT, body) => self.tables.define(body),
            (name::DQT, body) => self.quantisation(body),
            (name::DRI, [high, low]) => {
                self.restart = u16::from_be_bytes([*high, *low]).into();
                Ok(())
            }
            (name::DRI, _) => Err(Fault::Damaged("a restart interval of the wrong length")),
            (name::SOS, _) => self.scan(&header.scan(segment)?, segment),
            _ => Ok(()),
        }
    }

    fn quantisation(&mut self, mut body: &[u8]) -> Result<(), Fault> {
        while let Some((head, rest)) = body.split_first() {
            let wide = head >> 4 != 0;
            let length = if wide { 128 } else { 64 };
            let (Some(table), Some((values, rest))) =
                (self.steps.get_mut(usize::from(head & 15)), rest.split_at_checked(length))
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

    fn scan(&mut self, scan: &Scan, segment: &Segment) -> Result<(), Fault> {
        for (place, ..) in &scan.components {
            let channel = &mut self.channels[*place];
            if channel.steps.is_none() {
                let table = self.steps[usize::from(channel.component.table)];
                channel.steps = Some(table.ok_or(Fault::Damaged("a quantisation table that is missing"))?);
            }
        }
        let mut coded = Coded::new(segment.coded, self.restart);
        match &scan.components[..] {
            // A scan of one component leaves out what fills up the units of several.
            [(place, dc, ac)] => {
                let (columns, rows) = self.channels[*place].own_blocks;
                for y in 0..rows {
                    for x in 0..columns {
                        coded.next_unit()?;
                        self.block(scan, (*place, *dc, *ac), (x, y), &mut coded)?;
                    }
                }
            }
            several => {
                for unit_y in 0..self.units.1 {
                    for unit_x in 0..self.units.0 {
                        coded.next_unit()?;
                        for (place, dc, ac) in several {
                            let Component { h, v, .. } = self.channels[*place].component;
                            let (h, v) = (usize::from(h), usize::from(v));
                            for y in unit_y * v..(unit_y + 1) * v {
                                for x in unit_x * h..(unit_x + 1) * h {
                                    self.block(scan, (*place, *dc, *ac), (x, y), &mut coded)?;
                                }
                            }
                        }
                    }
                }
            }
        }
        // A file that was made in full length before it was written ends with zeros, which are codes too.
        let filled = segment.coded.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        match !segment.coded_ends && coded.bits.consumed() > filled + FINAL_ZEROS {
            true => Err(Fault::CutOff),
            false => Ok(()),
        }
    }

    /// The next block of the scan, which lies at column and row `at` of its component.
    fn block(
        &mut self,
        scan: &Scan,
        (place, dc, ac): (usize, u8, u8),
        at: (usize, usize),
        coded: &mut Coded,
    ) -> Result<(), Fault> {
        let Coded { bits, last_dc, run, .. } = coded;
        let missing = Fault::Damaged("a Huffman table that is missing");
        let dc = || self.tables.dc[usize::from(dc)].as_ref().ok_or(missing);
        let ac = || self.tables.ac[usize::from(ac)].as_ref().ok_or(missing);
        let last_dc = &mut last_dc[place];
        let channel = &mut self.channels[place];
        let index = at.1 * channel.blocks.0 + at.0;
        if !self.progressive {
            let mut block = [0; 64];
            blocks::sequential(bits, dc()?, ac()?, last_dc, &mut block)?;
            channel.show(&block, at);
            return Ok(());
        }
        let block = &mut channel.coefficients[index];
        let band = (scan.first, scan.last, scan.low);
        match (scan.first, scan.high) {
            (0, 0) => blocks::dc_first(bits, dc()?, scan.low, last_dc, block),
            (0, _) => blocks::dc_refine(bits, scan.low, block),
            (_, 0) => blocks::ac_first(bits, ac()?, band, run, block),
            _ => blocks::ac_refine(bits, ac()?, band, run, block),
        }
    }

    /// The samples of all components.
    fn finish(self) -> Fixed<Plane<'a>, MAX_COMPONENTS> {
        let plane = |mut channel: Channel<'a>| {
            let coefficients = std::mem::take(&mut channel.coefficients);
            for (index, block) in coefficients.iter().enumerate() {
                channel.show(block, (index % channel.blocks.0, index / channel.blocks.0));
            }
            channel.plane
        };
        self.channels.into_iter().map(plane).collect()
    }
}

impl Channel<'_> {
    /// Writes the samples of `block`.
    fn show(&mut self, block: &Block, (x, y): (usize, usize)) {
        let Some(steps) = &self.steps else { return };
        let stride = self.plane.stride;
        transform::samples(block, steps, &mut self.plane.samples[y * 8 * stride + x * 8..], stride);
    }
}

/// The coded data of one scan with what is carried from one block to the next.
struct Coded<'a> {
    bits: Bits<'a>,
    last_dc: [i32; MAX_COMPONENTS],
    /// Blocks that have no coefficients in a progressive scan.
    run: u32,
    /// Units between two restart markers, or 0, and until the next one.
    restart: u32,
    left: u32,
    markers: u8,
}

impl<'a> Coded<'a> {
    fn new(data: &'a [u8], restart: u32) -> Coded<'a> {
        Coded { bits: Bits::new(data), last_dc: [0; MAX_COMPONENTS], run: 0, restart, left: restart, markers: 0 }
    }

    /// Takes a restart marker where one is due.
    fn next_unit(&mut self) -> Result<(), Fault> {
        if self.restart == 0 {
            return Ok(());
        }
        if self.left == 0 {
            self.bits.restart(self.markers)?;
            self.markers = (self.markers + 1) % 8;
            (self.last_dc, self.run, self.left) = ([0; MAX_COMPONENTS], 0, self.restart);
        }
        self.left -= 1;
        Ok(())
    }
}
