//! Boxes.

/// A box in pixels of a frame as it is stored, clipped to the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Area {
    /// First column.
    pub x: i32,
    /// First row.
    pub y: i32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Area {
    /// The part of it that lies in a frame of this size; empty (0 columns or rows) where none does.
    pub fn clipped(self, width: u32, height: u32) -> Area {
        let side = |start: i32, length: u32, most: u32| {
            let from = i64::from(start).clamp(0, i64::from(most));
            let to = (i64::from(start) + i64::from(length)).clamp(0, i64::from(most));
            (from as i32, (to - from).max(0) as u32)
        };
        let ((x, width), (y, height)) = (side(self.x, self.width, width), side(self.y, self.height, height));
        Area { x, y, width, height }
    }

    /// Whether it has no pixels.
    pub fn is_empty(self) -> bool {
        self.width == 0 || self.height == 0
    }

    /// Pixels in it.
    pub fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// The longer side.
    pub fn size(self) -> u32 {
        self.width.max(self.height)
    }

    /// The pixel in its middle.
    pub fn center(self) -> (i32, i32) {
        (self.x.saturating_add_unsigned(self.width / 2), self.y.saturating_add_unsigned(self.height / 2))
    }

    /// Whether the pixel lies in it.
    pub fn holds(self, x: i32, y: i32) -> bool {
        let inside = |at: i32, start: i32, length: u32| {
            (i64::from(start)..i64::from(start) + i64::from(length)).contains(&i64::from(at))
        };
        inside(x, self.x, self.width) && inside(y, self.y, self.height)
    }

    /// What both have in common; empty where that is nothing.
    pub fn common(self, other: Area) -> Area {
        let side = |a: i32, al: u32, b: i32, bl: u32| {
            let (a, b) = (i64::from(a), i64::from(b));
            let from = a.max(b);
            let to = (a + i64::from(al)).min(b + i64::from(bl));
            (from as i32, (to - from).max(0) as u32)
        };
        let (x, width) = side(self.x, self.width, other.x, other.width);
        let (y, height) = side(self.y, self.height, other.y, other.height);
        Area { x, y, width, height }
    }

    /// Pixels between both, along the side where there are more; 0 where they touch or overlap.
    pub fn gap(self, other: Area) -> u32 {
        let side = |a: i32, al: u32, b: i32, bl: u32| {
            let (a, b) = (i64::from(a), i64::from(b));
            (a.max(b) - (a + i64::from(al)).min(b + i64::from(bl))).clamp(0, u32::MAX.into()) as u32
        };
        side(self.x, self.width, other.x, other.width).max(side(self.y, self.height, other.y, other.height))
    }

    /// The smallest box around both; the other where one is empty.
    pub fn around(self, other: Area) -> Area {
        if self.is_empty() {
            return other;
        }
        if other.is_empty() {
            return self;
        }
        let side = |a: i32, al: u32, b: i32, bl: u32| {
            let (a, b) = (i64::from(a), i64::from(b));
            let to = (a + i64::from(al)).max(b + i64::from(bl));
            (a.min(b) as i32, (to - a.min(b)).min(i64::from(u32::MAX)) as u32)
        };
        let (x, width) = side(self.x, self.width, other.x, other.width);
        let (y, height) = side(self.y, self.height, other.y, other.height);
        Area { x, y, width, height }
    }
}
