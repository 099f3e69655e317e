//! Blocks that jump to each other to loops, blocks and conditionals inside each other.
//!
//! The method is Ramsey's ("Beyond Relooper", ICFP 2022): the dominator tree says what lies inside what. A loop's header opens a
//! loop; a block that several ways meet at follows the end of a block around all of them. A way back to a block that does not
//! dominate its origin fits no structure; it leaves compiled code.

use copatch::ValueType;

use crate::helpers::Number;
use crate::ir::{Block, End, Name, Step};

/// The deepest nesting that is followed; beyond, a function stays with the interpreter.
const DEPTH: usize = 400;

/// What a branch can reach.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Around {
    Loop(usize),
    Followed(usize),
    Conditional,
}

struct Structure<'b> {
    blocks: &'b [Block],
    /// Place in reverse postorder; `usize::MAX` for what cannot be reached.
    place: Vec<usize>,
    order: Vec<usize>,
    dominator: Vec<usize>,
    header: Vec<bool>,
    merge: Vec<bool>,
    /// What each block immediately dominates and several ways meet at, the last in order first.
    follow: Vec<Vec<usize>>,
    around: Vec<Around>,
    steps: Vec<Step>,
    depth: usize,
}

/// The steps of a function whose code begins with block 0; `None` if it is nested too deeply.
pub fn structure(blocks: &[Block]) -> Option<Vec<Step>> {
    let mut of = Structure::new(blocks);
    of.find_dominators();
    of.find_meetings();
    of.tree(0)?;
    Some(of.steps)
}

impl<'b> Structure<'b> {
    fn new(blocks: &'b [Block]) -> Self {
        let count = blocks.len();
        let (mut seen, mut postorder) = (vec![false; count], Vec::with_capacity(count));
        let mut open = vec![(0, 0)];
        seen[0] = true;
        while let Some((block, next)) = open.last_mut() {
            let successor = successors(&blocks[*block]).get(*next).copied().flatten();
            *next += 1;
            match successor {
                Some(to) if !seen[to] => {
                    seen[to] = true;
                    open.push((to, 0));
                }
                Some(_) => {}
                None if *next > 2 => {
                    postorder.push(*block);
                    open.pop();
                }
                None => {}
            }
        }
        let order: Vec<usize> = postorder.into_iter().rev().collect();
        let mut place = vec![usize::MAX; count];
        for (at, block) in order.iter().enumerate() {
            place[*block] = at;
        }
        Self {
            blocks,
            place,
            order,
            dominator: vec![usize::MAX; count],
            header: vec![false; count],
            merge: vec![false; count],
            follow: vec![Vec::new(); count],
            around: Vec::new(),
            steps: Vec::new(),
            depth: 0,
        }
    }

    fn edges(&self) -> impl Iterator<Item = (usize, usize)> {
        let blocks = self.blocks;
        self.order.iter().flat_map(move |from| {
            let to = successors(&blocks[*from]).into_iter().flatten();
            to.map(move |to| (*from, to))
        })
    }

    /// Immediate dominators, by iteration (Cooper, Harvey and Kennedy).
    fn find_dominators(&mut self) {
        self.dominator[0] = 0;
        let edges: Vec<(usize, usize)> = self.edges().collect();
        loop {
            let mut changed = false;
            for &(from, to) in &edges {
                if to == 0 || self.dominator[from] == usize::MAX {
                    continue;
                }
                let old = self.dominator[to];
                let new = if old == usize::MAX {
                    from
                } else {
                    self.common(old, from)
                };
                changed |= new != old;
                self.dominator[to] = new;
            }
            if !changed {
                break;
            }
        }
    }

    fn common(&self, mut a: usize, mut b: usize) -> usize {
        while a != b {
            if self.place[a] > self.place[b] {
                a = self.dominator[a];
            } else {
                b = self.dominator[b];
            }
        }
        a
    }

    fn dominates(&self, a: usize, mut b: usize) -> bool {
        while self.place[b] > self.place[a] {
            b = self.dominator[b];
        }
        a == b
    }

    fn find_meetings(&mut self) {
        let mut forward = vec![0; self.blocks.len()];
        for (from, to) in self.edges().collect::<Vec<_>>() {
            if self.place[to] > self.place[from] {
                forward[to] += 1;
            } else if self.dominates(to, from) {
                self.header[to] = true;
            }
        }
        for block in self.order.clone().into_iter().rev() {
            if forward[block] > 1 {
                self.merge[block] = true;
                let above = self.dominator[block];
                self.follow[above].push(block);
            }
        }
    }

    /// A block and everything it dominates.
    fn tree(&mut self, block: usize) -> Option<()> {
        if self.depth > DEPTH {
            return None;
        }
        self.depth += 1;
        let follow = std::mem::take(&mut self.follow[block]);
        if self.header[block] {
            self.open(Step::Loop, Around::Loop(block));
            self.within(block, &follow)?;
            self.close();
        } else {
            self.within(block, &follow)?;
        }
        self.depth -= 1;
        Some(())
    }

    fn within(&mut self, block: usize, follow: &[usize]) -> Option<()> {
        if let Some((last, rest)) = follow.split_first() {
            self.open(Step::Block, Around::Followed(*last));
            self.within(block, rest)?;
            self.close();
            return self.tree(*last);
        }
        let of = &self.blocks[block];
        self.steps.extend_from_slice(&of.steps);
        match of.end {
            End::Goto(to) => self.go(block, to),
            End::Again(to, exit) => self.again(block, to, exit),
            End::If(yes, no) => self.choose(block, yes, no),
            End::Left | End::Unknown => Some(()),
        }
    }

    fn choose(&mut self, block: usize, yes: usize, no: usize) -> Option<()> {
        if let Some(depth) = self.reach(block, yes) {
            self.steps.push(Step::BrIf(depth));
            return self.go(block, no);
        }
        if let Some(depth) = self.reach(block, no) {
            self.steps.extend([Step::Not, Step::BrIf(depth)]);
            return self.go(block, yes);
        }
        self.open(Step::If, Around::Conditional);
        self.go(block, yes)?;
        self.steps.push(Step::Else);
        self.go(block, no)?;
        self.close();
        Some(())
    }

    /// Goes back, and looks first whether somebody wants attention, which is rare. What the block forgets last the exit may still read.
    fn again(&mut self, from: usize, to: usize, exit: u32) -> Option<()> {
        let is_read = |step: &Step| !matches!(step, Step::Forget(_));
        let end = self.steps.iter().rposition(is_read).map_or(0, |at| at + 1);
        let forgotten = self.steps.split_off(end);
        self.steps
            .extend([Step::Op(Name::Interrupted), Step::Not, Step::If]);
        self.steps.extend_from_slice(&forgotten);
        if let Some(depth) = self.reach(from, to) {
            // The conditional is a level more.
            self.steps.push(Step::Br(depth + 1));
        }
        self.steps.extend([
            Step::Else,
            Step::Helper(Number::Attend, 1, &[ValueType::I32]),
            Step::ExitIf(exit),
        ]);
        self.steps.extend(forgotten);
        self.steps.push(Step::End);
        self.go(from, to)
    }

    fn go(&mut self, from: usize, to: usize) -> Option<()> {
        if let Some(depth) = self.reach(from, to) {
            self.steps.push(Step::Br(depth));
            return Some(());
        }
        if self.place[to] <= self.place[from] {
            self.steps.push(Step::Exit(self.blocks[to].refuge));
            return Some(());
        }
        self.tree(to)
    }

    /// How many levels out a branch to that block goes; `None` if the block's code comes here, or cannot be reached so.
    fn reach(&self, from: usize, to: usize) -> Option<u32> {
        let back = self.place[to] <= self.place[from];
        if !back && !self.merge[to] {
            return None;
        }
        let wanted = if back {
            Around::Loop(to)
        } else {
            Around::Followed(to)
        };
        let at = self.around.iter().rev().position(|open| *open == wanted)?;
        Some(at as u32)
    }

    fn open(&mut self, step: Step, around: Around) {
        self.steps.push(step);
        self.around.push(around);
    }

    fn close(&mut self) {
        let closed = self.around.pop();
        // Who branches to an end that comes next anyway goes on.
        let ends = self
            .steps
            .iter()
            .rev()
            .take_while(|step| **step == Step::End);
        let ends = ends.count();
        let last = self.steps.len().saturating_sub(ends + 1);
        if self.steps.get(last) == Some(&Step::Br(ends as u32))
            && !matches!(closed, Some(Around::Loop(_)))
        {
            self.steps.remove(last);
        }
        self.steps.push(Step::End);
    }
}

fn successors(block: &Block) -> [Option<usize>; 2] {
    match block.end {
        End::Goto(to) | End::Again(to, _) => [Some(to), None],
        End::If(yes, no) => [Some(yes), Some(no)],
        End::Left | End::Unknown => [None, None],
    }
}
