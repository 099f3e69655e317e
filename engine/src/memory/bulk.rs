//! Bytes of which there may be megabytes, and which are written once.

use std::ops::Deref;

use super::Pages;

/// More bytes than this are in pages of their own. To have one large page, and clear it, takes as long as some sixty small ones.
const APART: usize = 256 << 10;
/// How many times as much room is taken as is needed when there is too little. Address space costs nothing.
const GROWTH: usize = 8;

/// A list of bytes that grows at its end; where there are many, in large pages, if the system has them.
///
/// A fault for each small page (1.5 µs on a virtual machine) is a twentieth of the time that it takes to compile a module of megabytes. A
/// large page may take up to 2 MiB more than the bytes do.
#[derive(Debug)]
pub struct Bulk(Bytes);

#[derive(Debug)]
enum Bytes {
    /// As the allocator has it.
    Few(Vec<u8>),
    /// The first so many of these pages.
    Many { pages: Pages, len: usize },
}

impl Default for Bulk {
    fn default() -> Self {
        Self(Bytes::Few(Vec::new()))
    }
}

impl From<&[u8]> for Bulk {
    fn from(bytes: &[u8]) -> Self {
        let mut bulk = Self::default();
        if bytes.len() > APART {
            bulk.move_to_pages(bytes.len());
        }
        bulk.extend(bytes);
        bulk
    }
}

impl Bulk {
    /// No bytes yet, but about so many are to come: if they are many, they need not be moved then.
    pub fn for_about(bytes: usize) -> Self {
        let mut bulk = Self::default();
        if bytes > APART {
            bulk.move_to_pages(bytes.saturating_mul(GROWTH));
        }
        bulk
    }

    /// Adds bytes at the end.
    ///
    /// # Panics
    /// Where a `Vec` does: if there is no memory.
    pub fn extend(&mut self, bytes: &[u8]) {
        let end = self.len() + bytes.len();
        let room = match &self.0 {
            Bytes::Few(_) => APART,
            Bytes::Many { pages, .. } => pages.len(),
        };
        let moved = end <= room || self.move_to_pages(end.saturating_mul(GROWTH));
        if let (false, Bytes::Many { .. }) = (moved, &self.0) {
            self.0 = Bytes::Few(self.to_vec());
        }
        match &mut self.0 {
            Bytes::Few(list) => list.extend_from_slice(bytes),
            Bytes::Many { pages, len } => {
                pages.bytes_mut()[*len..end].copy_from_slice(bytes);
                *len = end;
            }
        }
    }

    /// Forgets all bytes; their room stays.
    pub fn clear(&mut self) {
        match &mut self.0 {
            Bytes::Few(list) => list.clear(),
            Bytes::Many { len, .. } => *len = 0,
        }
    }

    /// Brings what is there to new pages, at least so many bytes of them, if the system has the address space.
    #[inline(never)]
    fn move_to_pages(&mut self, room: usize) -> bool {
        let Ok(mut pages) = Pages::large(room, "bytes") else {
            return false;
        };
        let len = self.len();
        pages.bytes_mut()[..len].copy_from_slice(self);
        self.0 = Bytes::Many { pages, len };
        true
    }
}

impl Deref for Bulk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Few(list) => list,
            Bytes::Many { pages, len } => &pages.bytes()[..*len],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces of all sizes, across the places at which bytes move.
    #[test]
    fn what_was_added_is_there_wherever_it_lies() {
        let (mut bulk, mut list) = (Bulk::default(), Vec::new());
        for size in [0, 1, 7, APART - 8, 1, 3 * APART, 16 << 20, 5] {
            let piece: Vec<u8> = (0..size).map(|at| (at * 7 + size) as u8).collect();
            bulk.extend(&piece);
            list.extend(&piece);
            assert!(*bulk == *list, "{size} bytes");
            assert!(*Bulk::from(&*list) == *list, "{size} bytes");
            let many = matches!(bulk.0, Bytes::Many { .. });
            assert_eq!(many, list.len() > APART, "{size} bytes");
        }
        assert!(!bulk.move_to_pages(usize::MAX), "more than there is");
        assert!(*bulk == *list);
        bulk.clear();
        assert!(bulk.is_empty());
        bulk.extend(&[1, 2]);
        assert_eq!(*bulk, [1, 2]);
    }
}
