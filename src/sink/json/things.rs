//! JSON fields of things.

use serde::Serialize;

use super::units::millis;
use crate::things::{Area, EventThing, ThingStats};

/// A box: first column, first row, columns, rows, in pixels of the source.
pub type Box = (i32, i32, u32, u32);

/// The box in JSON.
pub fn box_of(area: Area) -> Box {
    (area.x, area.y, area.width, area.height)
}

/// `thing` of an event.
#[derive(Debug, Serialize)]
pub struct ThingFields<'a> {
    id: u64,
    r#box: Box,
    first_box: Box,
    last_box: Box,
    path: Path<'a>,
    seen: u32,
    crops: u32,
    merged: u32,
}

impl<'a> ThingFields<'a> {
    pub fn new(of: EventThing<'a>) -> ThingFields<'a> {
        let EventThing { thing, best, crops } = of;
        ThingFields {
            id: thing.id,
            r#box: box_of(best),
            first_box: box_of(thing.first_area),
            last_box: box_of(thing.last_area),
            path: Path(&thing.path),
            seen: thing.seen,
            crops,
            merged: thing.merged,
        }
    }
}

/// Points with their times in milliseconds of the monotonic clock.
#[derive(Debug)]
struct Path<'a>(&'a [crate::things::Step]);

impl Serialize for Path<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|step| (millis(step.time), step.x, step.y)))
    }
}

/// `things` of statistics.
#[derive(Debug, Serialize)]
pub struct ThingsFields {
    state: &'static str,
    present: u32,
    seen: u64,
    crowded: u64,
    blind: u64,
    cuts: CutsFields,
}

#[derive(Debug, Serialize)]
struct CutsFields {
    asked: u64,
    classified: u64,
    skipped: u64,
}

impl ThingsFields {
    pub fn new(of: ThingStats) -> ThingsFields {
        let ThingStats { state, present, seen, crowded, blind, cuts } = of;
        let cuts = CutsFields { asked: cuts.asked, classified: cuts.classified, skipped: cuts.skipped };
        ThingsFields { state: state.name(), present, seen, crowded, blind, cuts }
    }
}
