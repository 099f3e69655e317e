//! Random decisions as data: a program is a function of a list of numbers, so shrinking the list shrinks the program.

/// A list of decisions. When it is used up every decision is 0, which generators make the simplest one.
#[derive(Debug)]
pub struct Choices<'c> {
    numbers: &'c [u64],
    next: usize,
}

impl<'c> Choices<'c> {
    /// Decisions from these numbers.
    pub fn new(numbers: &'c [u64]) -> Self {
        Self { numbers, next: 0 }
    }

    /// Whether all decisions are 0 from here on.
    pub fn exhausted(&self) -> bool {
        self.next >= self.numbers.len()
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        let number = self.numbers.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        number
    }

    /// A number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound.max(1) as u64) as usize
    }

    /// True once in `odds` times, but not when the list is used up.
    pub fn one_in(&mut self, odds: usize) -> bool {
        self.below(odds) + 1 == odds.max(2)
    }

    /// One of several; `None` of none.
    pub fn pick<'t, T>(&mut self, items: &'t [T]) -> Option<&'t T> {
        items.get(self.below(items.len()))
    }
}
