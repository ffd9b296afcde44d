//! The sorted part of a state file: blocks of keys on disk, and an index in memory that finds the right block.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use crate::source::watch::identity::Key;

/// Bytes of a block: keys, their number, and a checksum.
pub const BLOCK: usize = 4096;
/// Keys of a block.
const KEYS: usize = (BLOCK - 8) / 8;

/// Most first keys of blocks in memory. With more blocks, only every second, third, … block is indexed.
const FENCES: usize = 1 << 16;

/// Bytes of memory that [`Blocks`] take, including a merge.
pub const BYTES: usize = 4 * FENCES * 8 + 4 * BLOCK;

/// Index of the blocks.
#[derive(Debug, Default)]
pub struct Blocks {
    count: u32,
    /// The first key of every `stride`-th block.
    fences: Vec<Key>,
    stride: u32,
}

impl Blocks {
    /// Blocks in the file.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Reads `count` blocks from `start` on. Returns whether all are whole. If not, the whole ones can be merged but
    /// not searched.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn load(&mut self, file: &File, start: u64, count: u32) -> io::Result<bool> {
        (self.count, self.stride) = (count, stride(count));
        self.fences.clear();
        let there = there(file, start, count)?;
        let (mut whole, mut last) = (there == count, None);
        for block in 0..there {
            let Some(keys) = read_after(file, start, block, last)? else {
                whole = false;
                continue;
            };
            last = keys.last().copied();
            if block.is_multiple_of(self.stride) {
                self.fences.extend(keys.first());
            }
        }
        Ok(whole)
    }

    /// Whether `key` is in a block of `file`, whose blocks begin at `start`.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn contains(&self, file: &File, start: u64, key: Key) -> io::Result<bool> {
        let after = self.fences.partition_point(|fence| *fence <= key) as u32;
        let Some(group) = after.checked_sub(1) else { return Ok(false) };
        let first = group * self.stride;
        let mut bytes = [0; BLOCK];
        for block in first..self.count.min(first + self.stride) {
            file.read_exact_at(&mut bytes, start + u64::from(block) * BLOCK as u64)?;
            let keys = keys_of(&bytes);
            let found = keys.binary_search(&key);
            if found.is_ok() || keys.last().is_none_or(|last| *last > key) {
                return Ok(found.is_ok());
            }
        }
        Ok(false)
    }

    /// Writes the keys of the blocks in `old` and `more`, which is sorted, to blocks in `new`, both from `start` on. Blocks
    /// that are damaged are left out.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn merge(&self, old: &File, more: &[Key], new: &File, start: u64) -> io::Result<Blocks> {
        let mut writer = Writer::new(new, start)?;
        let mut more = more.iter().copied().peekable();
        let mut last = None;
        for block in 0..there(old, start, self.count)? {
            let keys = read_after(old, start, block, last)?.unwrap_or_default();
            last = keys.last().copied().or(last);
            for key in keys {
                while let Some(first) = more.next_if(|first| *first < key) {
                    writer.push(first)?;
                }
                more.next_if_eq(&key);
                writer.push(key)?;
            }
        }
        more.try_for_each(|key| writer.push(key))?;
        writer.finish()
    }
}

/// Every how many-th of `count` blocks has its first key in memory.
fn stride(count: u32) -> u32 {
    count.div_ceil(FENCES as u32).max(1)
}

/// How many of `count` blocks the file is long enough for.
///
/// # Errors
/// Errors of the system.
pub fn there(file: &File, start: u64, count: u32) -> io::Result<u32> {
    let room = file.metadata()?.len().saturating_sub(start) / BLOCK as u64;
    Ok(u32::try_from(room).map_or(count, |room| room.min(count)))
}

/// The keys of a block, if they follow `last`, the last key of the previous blocks.
fn read_after(file: &File, start: u64, block: u32, last: Option<Key>) -> io::Result<Option<Vec<Key>>> {
    Ok(read(file, start, block)?.filter(|keys| last.is_none() || keys.first().copied() > last))
}

/// The keys of a block; `None` if it is damaged or missing.
///
/// # Errors
/// Errors of the system.
pub fn read(file: &File, start: u64, block: u32) -> io::Result<Option<Vec<Key>>> {
    let mut bytes = [0; BLOCK];
    match file.read_exact_at(&mut bytes, start + u64::from(block) * BLOCK as u64) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let sum = u32::from_le_bytes([bytes[BLOCK - 4], bytes[BLOCK - 3], bytes[BLOCK - 2], bytes[BLOCK - 1]]);
    let keys = keys_of(&bytes);
    let whole = sum == crc32fast::hash(&bytes[..BLOCK - 4]) && !keys.is_empty() && keys.is_sorted();
    Ok(whole.then(|| keys.to_vec()))
}

fn keys_of(bytes: &[u8; BLOCK]) -> heapless::Vec<Key, KEYS> {
    let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let count = (number(BLOCK - 8) as usize).min(KEYS);
    let key = |bytes: &[u8]| bytes.iter().rev().fold(0, |key, byte| key << 8 | Key::from(*byte));
    bytes[..count * 8].chunks_exact(8).map(key).collect()
}

/// Writes sorted keys to blocks.
struct Writer<'a> {
    out: BufWriter<&'a File>,
    block: heapless::Vec<Key, KEYS>,
    firsts: Vec<Key>,
    /// Every how many-th block's first key is in `firsts`.
    every: u32,
    count: u32,
}

impl<'a> Writer<'a> {
    fn new(file: &'a File, start: u64) -> io::Result<Writer<'a>> {
        let mut out = BufWriter::new(file);
        out.seek(SeekFrom::Start(start))?;
        Ok(Writer { out, block: heapless::Vec::new(), firsts: Vec::new(), every: 1, count: 0 })
    }

    fn push(&mut self, key: Key) -> io::Result<()> {
        if self.block.is_full() {
            self.flush()?;
        }
        // There is room: the block was flushed just now if it was full.
        let _ = self.block.push(key);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(first) = self.block.first() else { return Ok(()) };
        if self.firsts.len() == FENCES {
            let mut at = 0;
            self.firsts.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.every *= 2;
        }
        if self.count.is_multiple_of(self.every) {
            self.firsts.push(*first);
        }
        let mut bytes = [0; BLOCK];
        for (place, key) in bytes.chunks_exact_mut(8).zip(&self.block) {
            place.copy_from_slice(&key.to_le_bytes());
        }
        bytes[BLOCK - 8..BLOCK - 4].copy_from_slice(&(self.block.len() as u32).to_le_bytes());
        let sum = crc32fast::hash(&bytes[..BLOCK - 4]);
        bytes[BLOCK - 4..].copy_from_slice(&sum.to_le_bytes());
        self.out.write_all(&bytes)?;
        self.count += 1;
        self.block.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<Blocks> {
        self.flush()?;
        self.out.flush()?;
        Ok(Blocks { count: self.count, fences: self.firsts, stride: self.every })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys spread over all numbers, as hashes are.
    fn key(i: u64) -> Key {
        i.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    fn sorted(range: std::ops::Range<u64>) -> Vec<Key> {
        let mut keys: Vec<Key> = range.map(key).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn what_is_merged_is_found_and_nothing_else() {
        let (first, second) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let blocks = Blocks::default().merge(&second, &sorted(0..3000), &first, 31).unwrap();
        let blocks = blocks.merge(&first, &sorted(2000..7000), &second, 31).unwrap();
        assert_eq!(blocks.count(), 7000u32.div_ceil(KEYS as u32), "keys that are in both are there once");
        let mut loaded = Blocks::default();
        assert!(loaded.load(&second, 31, blocks.count()).unwrap());
        assert_eq!(loaded.fences, blocks.fences);
        for coarse in [1, 2, 5] {
            let fences = loaded.fences.iter().copied().step_by(coarse as usize).collect();
            let blocks = Blocks { count: blocks.count(), fences, stride: coarse };
            for i in 0..8000 {
                assert_eq!(blocks.contains(&second, 31, key(i)).unwrap(), i < 7000, "{i} by {coarse}");
            }
        }
        for edge in [0, 1, Key::MAX] {
            assert_eq!(blocks.contains(&second, 31, edge).unwrap(), edge == key(0));
        }
        assert!(!Blocks::default().contains(&second, 31, 5).unwrap());
    }

    #[test]
    fn a_damaged_block_costs_its_own_keys() {
        let (file, new) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let keys = sorted(0..2000);
        let blocks = Blocks::default().merge(&new, &keys, &file, 0).unwrap();
        file.write_all_at(&[0xff], BLOCK as u64 + 100).unwrap();
        file.set_len(3 * BLOCK as u64 + 10).unwrap();
        let mut loaded = Blocks::default();
        assert!(!loaded.load(&file, 0, blocks.count()).unwrap());
        let mended = loaded.merge(&file, &[7], &new, 0).unwrap();
        for (i, key) in keys.iter().enumerate() {
            let kept = i / KEYS == 0 || i / KEYS == 2;
            assert_eq!(mended.contains(&new, 0, *key).unwrap(), kept, "{i}");
        }
        assert!(mended.contains(&new, 0, 7).unwrap());
    }

    #[test]
    fn a_block_in_the_wrong_place_costs_its_own_keys() {
        let (file, new) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let keys = sorted(0..1500);
        let blocks = Blocks::default().merge(&new, &keys, &file, 0).unwrap();
        let mut second = [0; BLOCK];
        file.read_exact_at(&mut second, BLOCK as u64).unwrap();
        let mut first = [0; BLOCK];
        file.read_exact_at(&mut first, 0).unwrap();
        file.write_all_at(&second, 0).unwrap();
        file.write_all_at(&first, BLOCK as u64).unwrap();
        let mut loaded = Blocks::default();
        assert!(!loaded.load(&file, 0, blocks.count()).unwrap());
        let mended = loaded.merge(&file, &[7], &new, 0).unwrap();
        for (i, key) in keys.iter().enumerate() {
            assert_eq!(mended.contains(&new, 0, *key).unwrap(), i >= KEYS, "{i}");
        }
        assert!(Blocks::default().load(&new, 0, mended.count()).unwrap() && mended.contains(&new, 0, 7).unwrap());
    }

    #[test]
    fn blocks_that_are_not_there_are_not_looked_for() {
        let file = tempfile::tempfile().unwrap();
        let mut blocks = Blocks::default().merge(&tempfile::tempfile().unwrap(), &sorted(0..600), &file, 31).unwrap();
        assert_eq!(there(&file, 31, u32::MAX).unwrap(), blocks.count());
        assert_eq!(there(&file, 1 << 20, u32::MAX).unwrap(), 0);
        // Four thousand million reads would take an hour.
        assert!(!blocks.load(&file, 31, u32::MAX).unwrap());
        let new = tempfile::tempfile().unwrap();
        assert_eq!(blocks.merge(&file, &[], &new, 31).unwrap().count(), 2);
    }
}
