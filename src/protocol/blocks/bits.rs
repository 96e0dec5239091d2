//! Owns writing and reading numbers of any width, packed bit by bit from the
//! lowest of each byte. Never allocates on reading. Called by `columns`.
//! Invariant: what was written is read back; what ends too early is an error.

use super::BlockError;

/// Appends bits to a vector; [`finish`](Self::finish) fills the last byte with
/// zeros.
pub struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    pending: u64,
    /// Bits in `pending`, below 8 between calls.
    filled: u32,
}

impl<'a> BitWriter<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> BitWriter<'a> {
        BitWriter { out, pending: 0, filled: 0 }
    }

    /// The low `width` bits of `value`, at most 64.
    pub fn write(&mut self, value: u64, width: u32) {
        if width > 32 {
            self.write(value & 0xFFFF_FFFF, 32);
            return self.write(value >> 32, width - 32);
        }
        self.pending |= (value & ((1 << width) - 1)) << self.filled;
        self.filled += width;
        while self.filled >= 8 {
            self.out.push((self.pending & 0xFF) as u8);
            self.pending >>= 8;
            self.filled -= 8;
        }
    }

    pub fn flag(&mut self, on: bool) {
        self.write(u64::from(on), 1);
    }

    /// An exponential Golomb code of order `k` (J. Teuhola, 1978): short for
    /// small numbers, twice the logarithm for large ones. `value` below 2^60.
    pub fn golomb(&mut self, value: u64, k: u32) {
        let shifted = value + (1 << k);
        let width = shifted.ilog2();
        let ones = width - k;
        // `ones` ones and a zero, then what is below the leading bit.
        self.write((1 << ones) - 1, ones);
        self.write(0, 1);
        self.write(shifted, width);
    }

    /// A signed number as [`golomb`](Self::golomb): 0, −1, 1, −2, …
    pub fn signed(&mut self, value: i64, k: u32) {
        self.golomb(((value << 1) ^ (value >> 63)) as u64, k);
    }

    pub fn finish(self) {
        if self.filled > 0 {
            self.out.push((self.pending & 0xFF) as u8);
        }
    }
}

/// Takes bits from bytes of anybody's.
#[derive(Clone, Debug)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    /// Bits read so far.
    at: usize,
}

impl<'a> BitReader<'a> {
    pub fn new(bytes: &'a [u8]) -> BitReader<'a> {
        BitReader { bytes, at: 0 }
    }

    /// Bits that are left.
    pub fn left(&self) -> usize {
        self.bytes.len() * 8 - self.at
    }

    /// A number of `width` bits, at most 64.
    pub fn read(&mut self, width: u32) -> Result<u64, BlockError> {
        if width > 32 {
            let low = self.read(32)?;
            return Ok(low | self.read(width - 32)? << 32);
        }
        if self.left() < width as usize {
            return Err(BlockError::Short);
        }
        let (first, skipped) = (self.at / 8, self.at % 8);
        // Up to 39 bits: five bytes, fewer at the end.
        let bytes = self.bytes[first..].iter().take(5);
        let word = bytes.rev().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
        self.at += width as usize;
        Ok(word >> skipped & ((1 << width) - 1))
    }

    pub fn flag(&mut self) -> Result<bool, BlockError> {
        Ok(self.read(1)? == 1)
    }

    /// See [`BitWriter::golomb`].
    pub fn golomb(&mut self, k: u32) -> Result<u64, BlockError> {
        let mut width = k;
        while self.flag()? {
            width += 1;
            if width > 60 {
                return Err(BlockError::Value("a number below 2^60"));
            }
        }
        Ok((1_u64 << width | self.read(width)?) - (1 << k))
    }

    /// See [`BitWriter::signed`].
    pub fn signed(&mut self, k: u32) -> Result<i64, BlockError> {
        let code = self.golomb(k)?;
        Ok((code >> 1) as i64 ^ -((code & 1) as i64))
    }

    /// The number of items that follow, each of at least `bits`; refused when
    /// they cannot be there.
    pub fn count(&mut self, k: u32, bits: usize) -> Result<usize, BlockError> {
        let count = self.golomb(k)?;
        match usize::try_from(count) {
            Ok(count) if count <= self.left() / bits => Ok(count),
            _ => Err(BlockError::Short),
        }
    }

    /// Nothing but the zeros of the last byte may be left.
    pub fn finish(mut self) -> Result<(), BlockError> {
        let left = self.left();
        if left >= 8 || self.read(left as u32)? != 0 {
            return Err(BlockError::Trailing);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reads_what_was_written(
            items in prop::collection::vec((any::<u64>(), 0..=64_u32, 0..20_u32), 0..50),
        ) {
            let mut bytes = Vec::new();
            let mut writer = BitWriter::new(&mut bytes);
            for &(value, width, k) in &items {
                writer.write(value, width);
                writer.golomb(value >> 5, k);
                writer.signed((value as i64) >> 6, k);
            }
            writer.finish();
            let mut reader = BitReader::new(&bytes);
            for &(value, width, k) in &items {
                let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
                prop_assert_eq!(reader.read(width), Ok(value & mask));
                prop_assert_eq!(reader.golomb(k), Ok(value >> 5));
                prop_assert_eq!(reader.signed(k), Ok((value as i64) >> 6));
            }
            prop_assert_eq!(reader.finish(), Ok(()));
        }

        #[test]
        fn any_bytes_are_numbers_or_an_error(bytes: Vec<u8>, k in 0..20_u32, width in 0..=64_u32) {
            let mut reader = BitReader::new(&bytes);
            while reader.golomb(k).is_ok() && reader.read(width).is_ok() && reader.signed(k).is_ok() {}
            let _ = reader.finish();
        }
    }

    #[test]
    fn small_numbers_have_short_codes() {
        let bits = |value| {
            let mut bytes = Vec::new();
            (0..8).fold(BitWriter::new(&mut bytes), |mut writer, _| {
                writer.golomb(value, 2);
                writer
            });
            bytes.len()
        };
        assert_eq!([0, 3, 4, 11, 12].map(bits), [3, 3, 5, 5, 7]);
    }
}
