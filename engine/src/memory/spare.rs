//! Pages of code that was dropped, for code that is made next.
//!
//! To map pages, to have them cleared and to unmap them is four fifths of what it takes to compile a module of one function. Who compiles
//! again and again, as servers do, need not pay for it again.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::{Mutex, PoisonError};

use super::{Access, MemoryError, Pages};

/// Bytes of memory that are kept, at most: large code is kept nowhere.
const KEPT: usize = 4 << 20;
/// Mappings that are kept, at most.
const COUNT: usize = 8;

static SPARE: Mutex<Spare> = Mutex::new(Spare(Vec::new()));

/// What is kept, in the order in which it was given back. All of it can be written, and none executed.
struct Spare(Vec<Pages>);

impl Spare {
    /// Of what is kept, what holds least and has so much room.
    fn take(&mut self, bytes: usize) -> Option<Pages> {
        let fitting = (0..self.0.len()).filter(|at| self.0[*at].len() >= bytes);
        let least = fitting.min_by_key(|at| self.0[*at].touched)?;
        Some(self.0.remove(least))
    }

    /// Keeps pages, and gives those up for them that were kept longest, if there are too many.
    fn give(&mut self, pages: Pages) -> Vec<Pages> {
        self.0.push(pages);
        let held = |kept: &[Pages]| kept.iter().map(|pages| pages.touched).sum::<usize>();
        let rests = (0..).map(|first| self.0.get(first..).unwrap_or_default());
        let too_many = rests.take_while(|rest| rest.len() > COUNT || held(rest) > KEPT);
        let count = too_many.count();
        self.0.drain(..count).collect()
    }
}

/// At least so many bytes, with anything in them.
pub(super) fn take(bytes: usize, what: &'static str) -> Result<Pages, MemoryError> {
    let kept = SPARE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take(bytes);
    kept.map_or_else(|| Pages::new(bytes, what), Ok)
}

/// Pages that are kept when they are dropped.
#[derive(Debug)]
pub(super) struct Lent(ManuallyDrop<Pages>);

impl From<Pages> for Lent {
    fn from(pages: Pages) -> Self {
        Self(ManuallyDrop::new(pages))
    }
}

impl Deref for Lent {
    type Target = Pages;

    fn deref(&self) -> &Pages {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // SAFETY: this value is not used again.
        let mut pages = unsafe { ManuallyDrop::take(&mut self.0) };
        let all = 0..pages.len();
        if pages.touched <= KEPT && pages.mapping.protect(all, Access::Write).is_ok() {
            // What is given up is unmapped when nobody waits for it any more.
            let _given_up = SPARE
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .give(pages);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(bytes: usize, touched: usize) -> Pages {
        let pages = Pages::new(bytes, "a test").expect("memory");
        Pages { touched, ..pages }
    }

    #[test]
    fn what_has_the_room_and_holds_least_is_taken() {
        let mut spare = Spare(Vec::new());
        assert!(spare.take(1).is_none());
        for (bytes, touched) in [(1 << 20, 3000), (1 << 16, 100), (1 << 18, 2000)] {
            assert!(spare.give(pages(bytes, touched)).is_empty());
        }
        let mut taken = |bytes| spare.take(bytes).map(|pages| (pages.len(), pages.touched));
        assert_eq!(taken(1 << 21), None);
        assert_eq!(taken(1 << 17), Some((1 << 18, 2000)));
        assert_eq!(taken(1 << 17), Some((1 << 20, 3000)));
        assert_eq!(taken(1 << 17), None);
        assert_eq!(taken(1), Some((1 << 16, 100)));
    }

    #[test]
    fn no_more_is_kept_than_is_said() {
        let mut spare = Spare(Vec::new());
        for touched in 0..3 * COUNT {
            spare.give(pages(1, touched));
        }
        let kept = |spare: &Spare| {
            spare
                .0
                .iter()
                .map(|pages| pages.touched)
                .collect::<Vec<_>>()
        };
        assert_eq!(kept(&spare), (2 * COUNT..3 * COUNT).collect::<Vec<_>>());
        assert_eq!(spare.give(pages(1, KEPT - 30)).len(), 7);
        assert_eq!(kept(&spare), [3 * COUNT - 1, KEPT - 30]);
        assert_eq!(spare.give(pages(1, KEPT)).len(), 2);
        assert_eq!(spare.give(pages(1, KEPT + 1)).len(), 2);
        assert!(spare.0.is_empty());
    }
}
