//! The bytes of a body while they come in. Those of a large one are mapped, not allocated: pages that nothing was written to
//! cost nothing, and all go back to the system at once when the body does. An allocator keeps what is freed for a while, so that
//! more would be resident than was counted.

use std::io;

use axum::body::Bytes;
use memmap2::{Advice, MmapMut};

/// The bytes of a body that have come so far.
pub struct BodyBuffer {
    /// Bytes that may come at most.
    most: usize,
    /// Bytes up to which nothing is mapped.
    small: usize,
    few: Vec<u8>,
    mapped: Option<Mapped>,
}

struct Mapped {
    map: MmapMut,
    len: usize,
}

impl BodyBuffer {
    /// A buffer of nothing yet, for so many bytes at most. Up to `small` bytes are allocated; more are mapped.
    pub fn new(most: usize, small: usize) -> BodyBuffer {
        BodyBuffer { most, small, few: Vec::new(), mapped: None }
    }

    /// The bytes that have come.
    pub fn bytes(&self) -> &[u8] {
        self.mapped.as_ref().map_or(&self.few, Mapped::as_ref)
    }

    /// How many have come.
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Takes the next bytes. Fails where the system gives no memory, and where more come than was said.
    pub fn push(&mut self, part: &[u8]) -> io::Result<()> {
        if self.mapped.is_none() && self.few.len() + part.len() <= self.small {
            self.few.extend_from_slice(part);
            return Ok(());
        }
        let mapped = match &mut self.mapped {
            Some(mapped) => mapped,
            none => none.insert(Mapped::of(std::mem::take(&mut self.few), self.most)?),
        };
        mapped.push(part)
    }

    /// All of them.
    pub fn into_bytes(self) -> Bytes {
        match self.mapped {
            Some(mapped) => Bytes::from_owner(mapped),
            None => self.few.into(),
        }
    }
}

impl Mapped {
    fn of(few: Vec<u8>, most: usize) -> io::Result<Mapped> {
        let map = MmapMut::map_anon(most.max(few.len()))?;
        // A huge page would be resident as a whole for one byte in it. Where the kernel knows none, there is nothing to say.
        let _ = map.advise(Advice::NoHugePage);
        let mut mapped = Mapped { map, len: 0 };
        mapped.push(&few)?;
        Ok(mapped)
    }

    fn push(&mut self, part: &[u8]) -> io::Result<()> {
        let end = self.len + part.len();
        let space = self.map.get_mut(self.len..end).ok_or(io::ErrorKind::FileTooLarge)?;
        space.copy_from_slice(part);
        self.len = end;
        Ok(())
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.map[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_bytes_and_many_come_out_as_they_came_in() {
        for parts in [&["ab", "c"][..], &["abcd"], &["a", "bcdefgh", "ij"], &["abcdefghij"], &[]] {
            let mut buffer = BodyBuffer::new(10, 4);
            for part in parts {
                buffer.push(part.as_bytes()).unwrap();
            }
            let expected = parts.concat();
            assert_eq!((buffer.bytes(), buffer.len()), (expected.as_bytes(), expected.len()));
            assert_eq!(buffer.mapped.is_some(), expected.len() > 4);
            assert_eq!(buffer.into_bytes(), expected);
        }
        let mut buffer = BodyBuffer::new(10, 4);
        buffer.push(b"abcdefghij").unwrap();
        assert!(buffer.push(b"k").is_err());
    }
}
