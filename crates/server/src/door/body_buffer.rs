//! A buffer for the bytes of a body as they arrive. The buffer of a large body is mapped, not allocated: unwritten pages use no
//! memory, and all pages return to the system when the body is dropped. An allocator would keep freed memory for a while, so
//! that more memory would be resident than was counted.

use std::io;

use axum::body::Bytes;
use memmap2::{Advice, MmapMut};

/// The bytes of a body that have arrived so far.
pub struct BodyBuffer {
    /// The most bytes that may arrive.
    most: usize,
    /// The most bytes for which nothing is mapped.
    small: usize,
    few: Vec<u8>,
    mapped: Option<Mapped>,
}

struct Mapped {
    map: MmapMut,
    len: usize,
}

impl BodyBuffer {
    /// Creates an empty buffer for at most `most` bytes. Up to `small` bytes are allocated; more are mapped.
    pub fn new(most: usize, small: usize) -> BodyBuffer {
        BodyBuffer { most, small, few: Vec::new(), mapped: None }
    }

    /// The bytes that have arrived.
    pub fn bytes(&self) -> &[u8] {
        self.mapped.as_ref().map_or(&self.few, Mapped::as_ref)
    }

    /// The number of bytes that have arrived.
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Appends the next bytes. Fails if the system has no memory, or if there are more bytes than announced.
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

    /// Returns all bytes.
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
        // One byte in a huge page would make all of it resident. If the kernel has no huge pages, the error does not matter.
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
