//! IFDs, the folders of TIFF and EXIF: numbered fields, each with a type and values.

/// Longest header of a TIFF: that of BigTIFF.
const LONGEST_HEADER: usize = 16;

/// How the numbers of a TIFF are written, and how wide its places are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    big_endian: bool,
    /// BigTIFF: offsets and counts of 64 bits.
    wide: bool,
}

impl Layout {
    fn number(self, bytes: &[u8]) -> u64 {
        let step = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        match self.big_endian {
            true => bytes.iter().fold(0, step),
            false => bytes.iter().rev().fold(0, step),
        }
    }

    /// Bytes of a place or a count.
    fn word(self) -> usize {
        if self.wide { 8 } else { 4 }
    }
}

/// A folder of a TIFF.
#[derive(Clone, Copy, Debug)]
pub struct Folder<'a> {
    file: &'a [u8],
    layout: Layout,
    /// Its entries, as far as the file has them.
    entries: &'a [u8],
}

/// A field whose values lie within the file.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    pub tag: u16,
    kind: u16,
    pub data: &'a [u8],
    layout: Layout,
}

/// Whether `file` starts like a TIFF or BigTIFF.
pub fn is_tiff(file: &[u8]) -> bool {
    layout(file).is_some()
}

/// Two of these signatures mix the byte orders. As in Pillow, the first two bytes decide.
fn layout(file: &[u8]) -> Option<Layout> {
    let (big_endian, wide) = match file.first_chunk::<4>()? {
        b"II*\0" | b"II\0*" => (false, false),
        b"MM\0*" | b"MM*\0" => (true, false),
        b"II+\0" => (false, true),
        b"MM\0+" => (true, true),
        _ => return None,
    };
    Some(Layout { big_endian, wide })
}

impl<'a> Folder<'a> {
    /// The first folder of the TIFF `file`.
    pub fn first(file: &'a [u8]) -> Option<Folder<'a>> {
        let layout = layout(file)?;
        let header = &file[..file.len().min(LONGEST_HEADER)];
        let at = if layout.wide { header.get(8..16)? } else { header.get(4..8)? };
        Folder::at(file, layout, layout.number(at))
    }

    fn at(file: &'a [u8], layout: Layout, place: u64) -> Option<Folder<'a>> {
        let place = usize::try_from(place).ok()?;
        let rest = file.get(place..)?;
        let (count, rest) = rest.split_at_checked(if layout.wide { 8 } else { 2 })?;
        let entry = 4 + 2 * layout.word();
        let length = usize::try_from(layout.number(count)).ok()?.checked_mul(entry)?;
        Some(Folder { file, layout, entries: &rest[..rest.len().min(length)] })
    }

    /// The folders that `field` points to.
    pub fn all_below(&self, field: &Field<'a>) -> impl Iterator<Item = Folder<'a>> + use<'a> {
        let Folder { file, layout, .. } = *self;
        let width = if matches!(field.kind, 16 | 18) { 8 } else { 4 };
        field.data.chunks_exact(width).filter_map(move |place| Folder::at(file, layout, layout.number(place)))
    }

    /// Offset in the file of the values of `field`, which must belong to this IFD.
    pub fn place_of(&self, field: &Field) -> usize {
        field.data.as_ptr().addr() - self.file.as_ptr().addr()
    }

    /// A number of 16 bits as the file writes it.
    pub fn short(&self, value: u16) -> [u8; 2] {
        if self.layout.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    /// Fields of known types whose values lie within the file.
    pub fn fields(&self) -> impl Iterator<Item = Field<'a>> + use<'a> {
        let Folder { file, layout, entries } = *self;
        entries.chunks_exact(4 + 2 * layout.word()).filter_map(move |entry| {
            let (head, value) = entry.split_at(4 + layout.word());
            let (tag, kind) = (layout.number(&head[..2]) as u16, layout.number(&head[2..4]) as u16);
            let count = usize::try_from(layout.number(&head[4..])).ok()?;
            let length = count.checked_mul(size_of_kind(kind)?)?;
            let data = if length <= value.len() {
                &value[..length]
            } else {
                let from = usize::try_from(layout.number(value)).ok()?;
                file.get(from..from.checked_add(length)?)?
            };
            (!data.is_empty()).then_some(Field { tag, kind, data, layout })
        })
    }

    /// The first field of this number.
    pub fn field(&self, tag: u16) -> Option<Field<'a>> {
        self.fields().find(|field| field.tag == tag)
    }
}

/// Bytes of one value of a type.
fn size_of_kind(kind: u16) -> Option<usize> {
    Some(match kind {
        // 129 is text in UTF-8, since EXIF 3.0.
        1 | 2 | 6 | 7 | 129 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 18 => 8,
        _ => return None,
    })
}

impl<'a> Field<'a> {
    /// All values, taken for numbers of 16 bits.
    pub fn shorts(&self) -> impl Iterator<Item = u16> + use<'a> {
        let layout = self.layout;
        self.data.chunks_exact(2).map(move |value| layout.number(value) as u16)
    }

    /// How many values it has.
    pub fn count(&self) -> usize {
        size_of_kind(self.kind).map_or(0, |size| self.data.len() / size)
    }

    /// The value `index`, if its type is a number and it is finite.
    pub fn number(&self, index: usize) -> Option<f64> {
        let size = size_of_kind(self.kind)?;
        let bytes = self.data.get(index.checked_mul(size)?..)?.get(..size)?;
        let (number, half) = (self.layout.number(bytes), bytes.len() / 2);
        let pair = || (self.layout.number(&bytes[..half]) as u32, self.layout.number(&bytes[half..]) as u32);
        let value = match self.kind {
            1 | 3 | 4 | 13 => number as f64,
            6 => f64::from(number as u8 as i8),
            8 => f64::from(number as u16 as i16),
            9 => f64::from(number as u32 as i32),
            5 => f64::from(pair().0) / f64::from(pair().1),
            10 => f64::from(pair().0 as i32) / f64::from(pair().1 as i32),
            11 => f64::from(f32::from_bits(number as u32)),
            12 => f64::from_bits(number),
            _ => return None,
        };
        value.is_finite().then_some(value)
    }

    /// The first value, if its type is a number and it is whole and not negative.
    ///
    /// Bytes and texts are not numbers: Pillow keeps them as they are.
    pub fn whole(&self) -> Option<u64> {
        let number = |from: usize, to: usize| self.data.get(from..to).map(|bytes| self.layout.number(bytes));
        let fraction = |value: f64| (value >= 0.0 && value.fract() == 0.0 && value < 1e15).then_some(value as u64);
        match self.kind {
            3 => number(0, 2),
            4 | 13 => number(0, 4),
            16 => number(0, 8),
            6 => number(0, 1).filter(|n| *n < 1 << 7),
            8 => number(0, 2).filter(|n| *n < 1 << 15),
            9 => number(0, 4).filter(|n| *n < 1 << 31),
            5 | 10 => {
                let (over, under) = (number(0, 4)?, number(4, 8)?);
                (under != 0 && over % under == 0).then(|| over / under)
            }
            11 => fraction(f32::from_bits(number(0, 4)? as u32).into()),
            12 => fraction(f64::from_bits(number(0, 8)?)),
            _ => None,
        }
    }
}
