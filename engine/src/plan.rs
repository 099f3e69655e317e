//! What a linear pre-scan of a function tells the builder: where variables are last read, and which of them a loop
//! should keep in registers.
//!
//! A plan changes only the speed of code, never its meaning, as long as its positions are right; an empty plan is
//! always correct.

/// A variable inside a loop counts this many times as much for the loop around it.
const NESTING: u64 = 8;
/// A call costs a variable in a register as much as this many uses from its slot.
const CALL: u64 = 3;
/// A loop keeps at most this many candidates; the builder takes as many as there are registers for.
const CANDIDATES: usize = 16;
/// Marks a variable whose first use in a loop is a write that every iteration performs.
const KILLED: u64 = 1 << 63;
/// Marks a variable that a loop writes.
const WRITTEN: u64 = 1 << 62;
/// The bits of a weight that count. There are fewer positions than 2^32, so that what is counted one by one does not fill them.
const COUNT: u64 = WRITTEN - 1;
/// The most that a weight is when a loop inside has been added to it.
const MOST: u64 = 1 << 40;

/// A variable that a loop should keep in a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub var: u32,
    /// Whether the loop writes it.
    pub written: bool,
}

/// What the pre-scan found; borrowed from a [`Planner`].
#[derive(Debug, Default)]
pub struct Plan {
    /// For each variable the last position at which it may be read; missing entries mean "always live".
    last_use: Vec<u32>,
    /// For each loop, in the order of their beginnings: the range of its candidates.
    loops: Vec<(u32, u32)>,
    /// Variables worth a register, most wanted first.
    candidates: Vec<Candidate>,
    /// Whether anything is called. Only a planned function can be known to be a leaf.
    calls: bool,
    planned: bool,
}

impl Plan {
    /// Becomes a copy of another plan without giving up its memory.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.last_use.clone_from(&other.last_use);
        self.loops.clone_from(&other.loops);
        self.candidates.clone_from(&other.candidates);
        self.calls = other.calls;
        self.planned = other.planned;
    }

    /// The last position at which `var` may be read.
    pub(crate) fn last_use(&self, var: usize) -> u32 {
        self.last_use
            .get(var)
            .copied()
            .unwrap_or(if self.planned { 0 } else { u32::MAX })
    }

    /// The candidates of the loop that began as the `index`-th, most wanted first.
    pub(crate) fn candidates(&self, index: usize) -> &[Candidate] {
        let Some((start, end)) = self.loops.get(index) else {
            return &[];
        };
        self.candidates
            .get(*start as usize..*end as usize)
            .unwrap_or(&[])
    }

    /// Whether the function calls nothing.
    pub(crate) fn leaf(&self) -> bool {
        self.planned && !self.calls
    }
}

#[derive(Debug, Default)]
struct Loop {
    /// Its index in the plan.
    index: usize,
    /// Depth of its frame among all frames.
    frame: usize,
    /// For each variable its weight; the top bits are [`KILLED`] and [`WRITTEN`].
    weights: Vec<u64>,
    /// Variables whose weight is not zero.
    touched: Vec<u32>,
    calls: u64,
}

/// Collects a [`Plan`] in one linear pass; reused from function to function without allocating.
///
/// Positions must ascend and be the ones the builder is told with `at`.
#[derive(Debug, Default)]
pub struct Planner {
    plan: Plan,
    vars: usize,
    /// Whether each open frame is a loop.
    frames: Vec<bool>,
    /// The innermost open loop; outside loops one that has no weights, so that nothing is counted.
    innermost: Loop,
    /// The open loops around it, beginning with the one without weights.
    around: Vec<Loop>,
    /// Kept for their memory.
    spare: Vec<Loop>,
    /// What marks a variable that is written first here: [`KILLED`] directly in a loop's body, else nothing.
    killed: u64,
    /// The most loops that were open at once.
    deepest: usize,
    /// See [`Planner::work`].
    work: usize,
}

impl Planner {
    /// A planner without a plan.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a function of `vars` variables, parameters included.
    pub fn begin(&mut self, vars: usize) {
        self.plan.last_use.clear();
        self.plan.last_use.resize(vars, 0);
        self.plan.loops.clear();
        self.plan.candidates.clear();
        self.plan.calls = false;
        self.plan.planned = true;
        self.vars = vars;
        self.frames.clear();
        self.killed = 0;
        self.deepest = 0;
        self.work = 0;
        while let Some(outer) = self.around.pop() {
            let mut open = std::mem::replace(&mut self.innermost, outer);
            open.touched
                .drain(..)
                .for_each(|var| open.weights[var as usize] = 0);
            self.spare.push(open);
        }
    }

    /// A read of `var`.
    #[inline]
    pub fn get(&mut self, pos: u32, var: u32) {
        if let Some(last) = self.plan.last_use.get_mut(var as usize) {
            *last = pos;
            self.touch(var, 0, 0);
        }
    }

    /// A write of `var`.
    #[inline]
    pub fn set(&mut self, _pos: u32, var: u32) {
        self.touch(var, self.killed, WRITTEN);
    }

    /// A write of `var` whose value stays on the stack.
    #[inline]
    pub fn tee(&mut self, pos: u32, var: u32) {
        self.set(pos, var);
        self.get(pos, var);
    }

    #[inline]
    fn touch(&mut self, var: u32, first: u64, always: u64) {
        let open = &mut self.innermost;
        let Some(weight) = open.weights.get_mut(var as usize) else {
            return;
        };
        if *weight == 0 {
            *weight = first;
            open.touched.push(var);
        }
        *weight = (*weight | always) + 1;
    }

    /// A call of anything, helpers included. Tail calls do not count: the function is over then.
    pub fn call(&mut self, _pos: u32) {
        self.calls(1);
    }

    /// So many calls, perhaps, in a part of the function that is only estimated: [`Planner::cut`] has to follow.
    pub fn calls(&mut self, count: u32) {
        self.plan.calls |= count != 0;
        self.innermost.calls = self.innermost.calls.saturating_add(u64::from(count));
    }

    /// A read or write of `var`, perhaps, in a part of the function that is only estimated: [`Planner::cut`] has to follow.
    #[inline]
    pub fn use_(&mut self, var: u32, written: bool) {
        self.touch(var, 0, if written { WRITTEN } else { 0 });
    }

    /// A block begins.
    #[inline]
    pub fn block(&mut self, _pos: u32) {
        self.frames.push(false);
        self.killed = 0;
    }

    /// So many blocks begin, one directly inside the other.
    pub fn blocks(&mut self, _pos: u32, count: usize) {
        self.frames.resize(self.frames.len() + count, false);
        self.killed = 0;
    }

    /// A conditional begins.
    #[inline]
    pub fn if_(&mut self, _pos: u32) {
        self.frames.push(false);
        self.killed = 0;
    }

    /// The other arm of a conditional.
    pub fn else_(&mut self, _pos: u32) {}

    /// A loop begins.
    pub fn loop_(&mut self, _pos: u32) {
        let mut open = self.spare.pop().unwrap_or_default();
        open.index = self.plan.loops.len();
        open.frame = self.frames.len();
        open.calls = 0;
        open.weights.resize(self.vars, 0);
        self.around
            .push(std::mem::replace(&mut self.innermost, open));
        // Whether or not there are counters from functions before: what becomes of a function depends on itself alone.
        if self.around.len() > self.deepest {
            self.deepest = self.around.len();
            self.work += self.vars;
        }
        self.plan.loops.push((0, 0));
        self.frames.push(true);
        self.killed = KILLED;
    }

    /// The innermost block, conditional or loop ends. Gives false, and does nothing, if none is open: the function ends.
    #[inline]
    pub fn end(&mut self, pos: u32) -> bool {
        match self.frames.pop() {
            Some(true) => self.end_loop(pos),
            Some(false) => {}
            None => return false,
        }
        let directly = !self.around.is_empty() && self.innermost.frame + 1 == self.frames.len();
        self.killed = if directly { KILLED } else { 0 };
        true
    }

    fn end_loop(&mut self, pos: u32) {
        let Some(outer) = self.around.pop() else {
            return;
        };
        let mut open = std::mem::replace(&mut self.innermost, outer);
        let outer = &mut self.innermost;
        let start = self.plan.candidates.len();
        let price = open.calls.saturating_mul(CALL);
        let weights = &open.weights;
        let weight = |var: u32| weights[var as usize] & COUNT;
        self.plan
            .candidates
            .extend(
                open.touched
                    .iter()
                    .filter(|var| weight(**var) > price)
                    .map(|var| Candidate {
                        var: *var,
                        written: weights[*var as usize] & WRITTEN != 0,
                    }),
            );
        let chosen = &mut self.plan.candidates[start..];
        let order = |a: &Candidate, b: &Candidate| {
            weight(b.var).cmp(&weight(a.var)).then(a.var.cmp(&b.var))
        };
        if chosen.len() > CANDIDATES {
            chosen.select_nth_unstable_by(CANDIDATES, order);
            self.plan.candidates.truncate(start + CANDIDATES);
        }
        self.plan.candidates[start..].sort_unstable_by(order);
        self.plan.loops[open.index] = (start as u32, self.plan.candidates.len() as u32);
        outer.calls = outer
            .calls
            .saturating_add(open.calls.saturating_mul(NESTING));
        self.work += open.touched.len();
        for var in open.touched.drain(..) {
            let weight = std::mem::take(&mut open.weights[var as usize]);
            if weight & KILLED == 0 {
                // The next iteration may read what this one left.
                let last = &mut self.plan.last_use[var as usize];
                *last = (*last).max(pos);
            }
            if let Some(sum) = outer.weights.get_mut(var as usize) {
                if *sum == 0 {
                    outer.touched.push(var);
                }
                let inner = (weight & COUNT).min(MOST) * NESTING;
                let added = ((*sum & COUNT) + inner).min(MOST);
                *sum = *sum & !COUNT | weight & WRITTEN | added;
            }
        }
        self.spare.push(open);
    }

    /// The rest of the function will not be looked at: what was seen so far stands for it. Nothing is known of where variables are
    /// last read, nor whether anything is called; open loops keep what they have used most.
    pub fn cut(&mut self, pos: u32) {
        while self.end(pos) {}
        self.plan.last_use.fill(u32::MAX);
        self.plan.calls = true;
    }

    /// What this function cost beyond its calls so far: counters made for open loops, and added to those of the loops around.
    /// Many variables in loops deep inside each other make it grow faster than the function; whoever wants time in
    /// proportion gives up the plan when there is more than what the function's size warrants.
    #[inline]
    pub fn work(&self) -> usize {
        self.work
    }

    /// The plan.
    pub fn finish(&mut self) -> &Plan {
        &self.plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_of_a_loop_is_live_to_its_end_unless_each_iteration_writes_it_first() {
        let mut planner = Planner::new();
        planner.begin(3);
        planner.set(0, 0);
        planner.loop_(1);
        planner.get(2, 0);
        planner.set(3, 1);
        planner.get(4, 1);
        planner.block(5);
        planner.set(6, 2);
        planner.end(7);
        planner.get(8, 2);
        planner.end(9);
        let plan = planner.finish();
        assert_eq!([0, 1, 2].map(|var| plan.last_use(var)), [9, 4, 9]);
        assert!(plan.leaf());
    }

    #[test]
    fn inner_uses_outweigh_outer_ones_and_calls_outweigh_few_uses() {
        let mut planner = Planner::new();
        planner.begin(3);
        planner.loop_(0);
        planner.get(1, 0);
        planner.get(2, 0);
        planner.loop_(3);
        planner.get(4, 1);
        planner.end(5);
        planner.end(6);
        planner.loop_(7);
        planner.get(8, 2);
        planner.call(9);
        planner.end(10);
        let plan = planner.finish();
        let vars = |index| {
            plan.candidates(index)
                .iter()
                .map(|candidate| candidate.var)
                .collect::<Vec<_>>()
        };
        assert_eq!(vars(0), [1, 0]);
        assert_eq!(vars(1), [1]);
        assert!(vars(2).is_empty());
        assert!(!plan.leaf());
    }

    #[test]
    fn what_is_left_open_does_not_leak_into_the_next_function() {
        let mut planner = Planner::new();
        planner.begin(1);
        planner.loop_(0);
        planner.get(1, 0);
        planner.begin(1);
        planner.end(2);
        planner.loop_(3);
        planner.end(4);
        assert_eq!(planner.finish().candidates(0), []);
    }
}
